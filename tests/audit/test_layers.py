"""Which layer brought what: exports as engines write them, made here by hand, and those that mean harm."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import random
import tarfile
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from audit.causes import layer as layer_of
from audit.targets import archive, layers
from audit.targets.archive import Archive, Layer, Unreadable

NUMPY = "usr/lib/python3/dist-packages/numpy-2.3.5.dist-info/METADATA"
WANTED = layers.Wanted(frozenset({"numpy", "libblas3", "libopenblas"}), "python3.11")


def tar(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT, **links: str) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as written:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            written.addfile(member, io.BytesIO(content))
        for name, link in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, link
            written.addfile(member)
    return target.getvalue()


def config(count: int) -> bytes:
    """A configuration with so many layers, each made by a line of its own and followed by one that makes none."""
    lines = [{"created_by": f"/bin/sh -c pip install p{n}==1.0"} for n in range(count)]
    empty = {"created_by": "/bin/sh -c #(nop)  ENV TZ=UTC", "empty_layer": True}
    entries = [entry for line in lines for entry in (line, empty)]
    return json.dumps({"rootfs": {"diff_ids": digests(count)}, "history": entries}).encode()


def digests(count: int) -> list[str]:
    return [f"sha256:{n}" for n in range(count)]


def classic(*contents: bytes) -> bytes:
    """As Docker's graph drivers export it."""
    names = [f"{n}/layer.tar" for n in range(len(contents))]
    listed = json.dumps([{"Config": "c.json", "Layers": names}]).encode()
    rest = {"0/VERSION": b"1.0", "c.json": config(len(contents)), "manifest.json": listed}
    return tar(dict(zip(names, contents, strict=True)) | rest)


def oci(*contents: bytes) -> bytes:
    """As containerd's store exports it: layers packed, the image of another platform beside it."""
    blobs = {f"blobs/sha256/l{n}": gzip.compress(content) for n, content in enumerate(contents)}
    listed = [{"digest": f"sha256:l{n}"} for n in range(len(contents))]
    other = {"config": {"digest": "sha256:o"}, "layers": listed[:1]}
    own = {"config": {"digest": "sha256:c"}, "layers": listed}
    documents = {"m": json.dumps(own).encode(), "n": json.dumps(other).encode(), "c": config(len(contents)), "o": b"{}"}
    return tar({"index.json": b"{}"} | {f"blobs/sha256/{name}": one for name, one in documents.items()} | blobs)


def read(export: bytes) -> Archive:
    return Archive(io.BytesIO(export).read, WANTED.key)


def brought(export: bytes, count: int) -> dict[str, str]:
    found, configuration = read(export).image(digests(count))
    told = layers._told(count, configuration)
    return {key: told[at] for key, at in layers.topmost(found).items()}


@pytest.mark.parametrize("export", [classic, oci])
def test_the_topmost_layer_counts(export: Callable[..., bytes]) -> None:
    first = tar({NUMPY: b"", "var/lib/dpkg/info/libblas3:amd64.list": b"", "usr/bin/python3.11": b"x" * 2000})
    second = tar({"./" + NUMPY: b"", "etc/os-release": b"", "opt/libopenblas-r0.3.so": b"", "etc/passwd": b""})
    assert brought(export(first, second), 2) == {
        "libblas3": "1 of 2: RUN pip install p0==1.0",
        "python": "1 of 2: RUN pip install p0==1.0",
        "numpy": "2 of 2: RUN pip install p1==1.0",
        "os": "2 of 2: RUN pip install p1==1.0",
    }


@pytest.mark.parametrize("removal", [".wh.numpy-2.3.5.dist-info", ".wh..wh..opq", "numpy-2.3.5.dist-info/.wh.METADATA"])
def test_what_a_layer_removes_is_gone(removal: str) -> None:
    folder = "usr/lib/python3/dist-packages/"
    other = "venv/lib/site-packages/NumPy-1.0.dist-info/METADATA"
    below, above = tar({NUMPY: b"", other: b""}), tar({folder + removal: b""})
    assert brought(classic(below, above), 2) == {"numpy": "1 of 2: RUN pip install p0==1.0"}
    assert brought(classic(tar({NUMPY: b""}), above), 2) == {}
    assert brought(classic(above, tar({NUMPY: b""})), 2) == {"numpy": "2 of 2: RUN pip install p1==1.0"}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names(form: int) -> None:
    layer = tar({f"{'folder/' * 60}libopenblas.so.0": b"x", NUMPY: b""}, form)
    assert set(brought(classic(layer), 1)) == {"libopenblas", "numpy"}


def test_equal_layers_are_links() -> None:
    listed = json.dumps([{"Config": "c.json", "Layers": ["0/layer.tar", "1/layer.tar"]}]).encode()
    files = {"0/layer.tar": tar({NUMPY: b""}), "c.json": config(2), "manifest.json": listed}
    assert brought(tar(files, **{"1/layer.tar": "../0/layer.tar"}), 2) == {"numpy": "2 of 2: RUN pip install p1==1.0"}


def test_what_a_running_container_changed_is_a_layer_of_its_own() -> None:
    below = Layer()
    below.add(NUMPY, True, WANTED.key)
    changed = [{"Path": "/opt/libopenblas.so", "Kind": 1}, {"Path": "/" + NUMPY, "Kind": 2}]
    assert layers.topmost([below, layers._own(changed, WANTED)]) == {"libopenblas": 1}


def test_names_that_lead_elsewhere_lead_nowhere() -> None:
    export = classic(tar({f"../../{NUMPY}": b"", f"a/../{NUMPY}": b"", f"/{NUMPY}": b""}))
    assert set(brought(export, 1)) == {"numpy"}
    assert len(read(export).image(digests(1))[0][0].files) == 1


def numbered(size: bytes) -> bytes:
    """A header with a size of its own."""
    header = bytearray(tar({"layer.tar": b""})[:512])
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def test_harmful_archives_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = classic(tar({NUMPY: b"x" * 5000}))
    pax = numbered(b"%011o\0" % 600)[:156] + b"x"
    for export, words in (
        (whole[:3000], "ends too early"),
        (b"no archive at all" * 100, "no tar"),
        (numbered(b"\x80" + b"\xff" * 11), "8 GB"),
        (numbered(b"zzzzzzzzzzz\0"), "no tar"),
        (pax, "ends too early"),
        (tar({"layer": b"\x1f\x8b" + b"x" * 600}), "packed wrongly"),
        (tar({"layer": b"\x28\xb5\x2f\xfd" + b"x" * 600}), "zstd"),
        (tar({"manifest.json": b"[" * 100_000}), "does not hold"),
        (tar({"manifest.json": b'[{"Config": 1, "Layers": [[1]]}]'}), "does not hold"),
    ):
        with pytest.raises(Unreadable, match=words):
            read(export).image(digests(1))
    for limit, words in (("MOST_MEMBERS", "files"), ("MOST_KEPT", "removes"), ("MOST_DOCUMENTS", "documents")):
        with monkeypatch.context() as patch:
            patch.setattr(archive, limit, 0)
            with pytest.raises(Unreadable, match=words):
                read(whole)


def test_damaged_archives_raise_nothing_else() -> None:
    whole = bytearray(oci(tar({NUMPY: b"x" * 100, f"{'long/' * 50}x": b""}), tar({".wh.x": b""})))
    choose = random.Random(7)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(choose.randrange(1, 20)):
            damaged[choose.randrange(len(damaged))] = choose.randrange(256)
        with contextlib.suppress(Unreadable):
            read(bytes(damaged)).image(digests(2))


def test_gigabytes_of_nothing_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 64 << 20)
    packed = gzip.compress(tar({NUMPY: b"", "zeros": bytes(40 << 20)}), compresslevel=1)
    export = tar({f"{n}.tar.gz": packed for n in range(5)})
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match="GB"):
            read(export)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("fact", "key"),
    [
        ("packages.numpy.version", "numpy"),
        ("packages.ruamel.yaml.record", "ruamel.yaml"),
        ("packages.count", ""),
        ("libraries.libgomp.build_id", "libgomp"),
        ("libraries.numpy._core._multiarray_umath.build_id", "numpy"),
        ("blas.kernel", "libblas3"),
        ("blas.libopenblas.version", "scipy"),
        ("libm.features", "libm"),
        ("python.version", "python"),
        ("os.release", "os"),
        ("variables.OPENBLAS_CORETYPE", ""),
        ("cpu.model", ""),
    ],
)
def test_a_fact_leads_to_what_brought_it(fact: str, key: str) -> None:
    owners: dict[str, object] = {"blas.owner": "libblas3 3.11.0-2", "blas.libopenblas.owner": "scipy 1.17"}
    assert layer_of.key(fact, owners.get) == key


def test_what_is_looked_for_is_what_the_facts_name() -> None:
    def facts(**values: str) -> dict[str, Any]:
        return {name.replace("__", "."): {"value": value} for name, value in values.items()}

    captured = {
        "facts": facts(packages__numpy__version="2.3.5", packages__count="1", python__version="3.11.2"),
        "battery": {"facts": facts(blas__owner="libblas3 3.11.0-2", libraries__libm__build_id="x")},
        "jobs": [{"facts": {"libraries.numpy._core.x.build_id": {"value": "y"}, "lapack.owner": {"status": "absent"}}}],
    }
    assert layers.Wanted.by(captured) == layers.Wanted(frozenset({"numpy", "libblas3", "libm"}), "python3.11")
