"""Throw-away environments, made by the real uv of wheels that are written here: no index is asked but where marked."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_machines import MACHINES, audit

from audit.errors import AuditError, TargetError
from audit.targets import engine, environments
from audit.targets.environments import Environments
from audit.targets.prefix import PrefixTarget
from reports import codec, proof
from reports.reproduction import Reproduction

try:
    UV = environments.find_uv()
except AuditError:
    UV = ""

pytestmark = pytest.mark.skipif(not UV, reason="no uv here")

Wheels = Callable[..., str]
Make = Callable[..., Environments]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where environments are made in this test; nothing may be left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    yield folder
    assert os.listdir(folder) == []


@pytest.fixture
def wheels(tmp_path: Path) -> Wheels:
    """Writes wheels "NAME VERSION" into a folder, which it returns. tag: for which Pythons and machines."""

    def write(*packages: str, tag: str = "py3-none-any") -> str:
        folder = tmp_path / "wheels"
        folder.mkdir(exist_ok=True)
        for package in packages:
            name, version = package.split()
            files = {
                f"{name}.py": f"version = {version!r}\n",
                f"{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
                "Requires-Dist: never-there\n",
                f"{name}-{version}.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
            }
            record = [f"{path},sha256={digest(text)},{len(text)}" for path, text in files.items()]
            files[f"{name}-{version}.dist-info/RECORD"] = "\n".join([*record, f"{name}-{version}.dist-info/RECORD,,\n"])
            with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as archive:
                for path, text in files.items():
                    archive.writestr(path, text)
        return str(folder)

    return write


def digest(text: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def audited(tmp_path: Path, wheels: Wheels) -> str:
    """The interpreter of an environment with `one` and `two`, both 1.0, and an editable `mine`."""
    folder = wheels("one 1.0", "two 1.0")
    place, tree = tmp_path / "an environment's", tmp_path / "tree"
    subprocess.run([UV, "venv", "-q", "--python", sys.executable, str(place)], check=True)
    python = str(place / "bin" / "python")
    words = ["pip", "install", "-q", "--no-deps", "--no-index", "--find-links", folder, "--python", python]
    subprocess.run([UV, *words, "one", "two"], check=True)
    tree.mkdir()
    (tree / "mine.py").write_text("")
    (next(place.glob("lib/*/site-packages")) / "mine.pth").write_text(f"{tree}\n")
    return python


@pytest.fixture
def make(audited: str) -> Iterator[Make]:
    made = []

    def new(wheels: str | None, prefix: list[str] | None = None, python: str = audited) -> Environments:
        made.append(Environments(PrefixTarget(prefix or [], python), wheels, lambda *_: None))
        return made[-1]

    yield new
    for one in made:
        one.close()


def imported(target: PrefixTarget, *names: str) -> list[str]:
    # -B: Python itself would write its bytecode beside what it imports
    code = f"import mine, {', '.join(names)}; print({', '.join(f'{name}.version' for name in names)})"
    done = subprocess.run([*target.command(), "-B", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def state(folder: Path) -> dict[str, tuple[float, int]]:
    return {str(path): (path.lstat().st_mtime, path.lstat().st_size) for path in folder.rglob("*")}


# -- what is in them --------------------------------------------------------------------------------------------------


def test_what_is_asked_for_is_another_and_nothing_else(make: Make, wheels: Wheels, audited: str) -> None:
    before = state(Path(audited).parents[1])
    found = make(wheels("one 2.0", "two 2.0"))
    assert found.available({"one": "2.0", "two": "2.0"}) == {"one": "2.0", "two": "2.0"}
    assert imported(found.target({"one": "2.0"}), "one", "two") == ["2.0", "1.0"]
    assert imported(found.target({"two": "2.0"}), "one", "two") == ["1.0", "2.0"]
    assert imported(found.target({"one": "2.0", "two": "2.0"}), "one", "two") == ["2.0", "2.0"]
    assert imported(found.original, "one", "two") == ["1.0", "1.0"]
    assert state(Path(audited).parents[1]) == before


def test_one_environment_for_the_same_versions(make: Make, wheels: Wheels, temporary: Path) -> None:
    found = make(wheels("one 2.0", "two 2.0"))
    first = found.target({"one": "2.0", "two": "2.0"})
    assert found.target({"two": "2.0", "one": "2.0"}).python == first.python
    assert found.target({"one": "2.0"}).python != first.python
    (folder,) = temporary.iterdir()
    assert len(os.listdir(folder)) == 3  # one has nothing of its own: what can be had is asked of it


def test_facts_are_those_of_the_new_environment(make: Make, wheels: Wheels) -> None:
    target = make(wheels("one 2.0")).target({"one": "2.0"})
    facts: dict[str, Any] = {}
    for record in target.launch({"work": "facts", "machine": True}):
        facts.update(record.get("machine", {}))
    assert facts["packages.one.version"]["value"] == "2.0"
    assert facts["packages.one.installer"]["value"] == "uv"
    assert facts["packages.two.version"]["value"] == "1.0"


@pytest.mark.parametrize("prefix", [["env", "A=1"], ["nice"], ["sh", "-c", 'echo a banner; exec "$@"', "sh"]])
def test_a_prefix_on_this_machine_stays(prefix: list[str], make: Make, wheels: Wheels) -> None:
    target = make(wheels("one 2.0"), prefix).target({"one": "2.0"})
    assert target.prefix == prefix
    assert imported(target, "one")[-1] == "2.0"


@pytest.mark.emulated
def test_an_emulated_cpu(make: Make, wheels: Wheels) -> None:
    target = make(wheels("one 2.0"), ["qemu-x86_64-static", "-cpu", "Haswell"]).target({"one": "2.0"})
    assert imported(target, "one") == ["2.0"]


@pytest.mark.docker
def test_another_machine_is_refused(engine: Any, make: Make, wheels: Wheels) -> None:
    elsewhere = ["docker", "run", "--rm", "-i", "--network", "none", "audit-bookworm"]
    with pytest.raises(TargetError, match="--via reaches another; run audit there"):
        make(wheels("one 2.0"), elsewhere, "python3").begin()


@pytest.mark.parametrize("version", ["3.8", "3.13"])
def test_other_pythons(version: str, interpreter: Callable[[str], str], wheels: Wheels) -> None:
    one = Environments(PrefixTarget([], interpreter(version)), wheels("one 2.0"), lambda *_: None)
    target = one.target({"one": "2.0"})
    code = "import one, sys; print(one.version, sys.version)"
    done = subprocess.run([target.python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"2.0 {version}")
    one.close()


# -- what cannot be had -----------------------------------------------------------------------------------------------


def test_each_that_cannot_be_had_has_its_reason(make: Make, wheels: Wheels) -> None:
    wheels("three 3.0", tag="cp27-cp27m-win32")
    many = {f"p{number}": "1.0" for number in range(9)}
    found = make(wheels("one 2.0", *(f"{name} {version}" for name, version in many.items())))
    asked = {"one": "2.0", "two": "9.9", "three": "3.0", "absent": "1.0", **many}
    assert found.available(asked) == {"one": "2.0", **many}
    assert found.unavailable == {
        "two": "9.9: there is no such version in --wheels",
        "three": "3.0: no wheel for this Python and machine in --wheels",
        "absent": "1.0: there is no such package in --wheels",
    }


def test_a_source_distribution_is_never_built(make: Make, wheels: Wheels, tmp_path: Path) -> None:
    folder = Path(wheels())
    tree = tmp_path / "one-2.0"
    tree.mkdir()
    (tree / "setup.py").write_text(f"open({str(tmp_path / 'built')!r}, 'w')\n")
    (tree / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: one\nVersion: 2.0\n")
    subprocess.run(["tar", "-czf", str(folder / "one-2.0.tar.gz"), "-C", str(tmp_path), "one-2.0"], check=True)
    found = make(str(folder))
    assert found.available({"one": "2.0"}) == {}
    assert list(found.unavailable) == ["one"]
    assert not (tmp_path / "built").exists()


def test_a_path_that_stands_before_everything_is_said(
    make: Make, wheels: Wheels, audited: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site,) = Path(audited).parents[1].glob("lib/*/site-packages")
    monkeypatch.setenv("PYTHONPATH", str(site))
    with pytest.raises(TargetError, match=r"one 2\.0 was installed, but 1\.0 is found; PYTHONPATH is set"):
        make(wheels("one 2.0")).target({"one": "2.0"})


def test_no_such_folder_and_no_uv(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="--wheels /nowhere: no such folder"):
        make("/nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(AuditError, match="pip install uv"):
        make(None)


# -- how uv is asked --------------------------------------------------------------------------------------------------


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a shell script in uv's place; where it writes its arguments, a line each."""

    def put(body: str) -> Path:
        path, told = tmp_path / "uv", tmp_path / "told"
        path.write_text(
            f'#!/bin/sh\nfor word; do echo "$word"; done >>"{told}"; env >"{told}.env"; pwd >>"{told}.env"\n{body}'
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(environments, "find_uv", lambda: str(path))
        return told

    return put


def test_the_index_is_the_users_own_and_nothing_is_built(
    stub: Callable[[str], Path], make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "uv.toml").write_text('index-url = "http://evil"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mine.example/simple")
    monkeypatch.setenv("UV_SYSTEM_PYTHON", "1")
    told = stub("exit 0\n")
    found = make(None)
    with pytest.raises(TargetError):  # the script makes no environment
        found.begin()
    found._made[()] = "/the/python"
    assert found.available({"one": "2.0"}) == {"one": "2.0"}
    words = told.read_text().split("\n")
    assert words[words.index("pip") :] == ["pip", "install", "--dry-run", "--python", "/the/python", "--no-deps",
                                           "--no-build", "--no-python-downloads", "--", "one==2.0", ""]  # fmt: skip
    given = Path(f"{told}.env").read_text().splitlines()
    assert "UV_DEFAULT_INDEX=https://mine.example/simple" in given
    assert not [line for line in given if line.startswith("UV_SYSTEM_PYTHON")]
    assert given[-1] == "/"


def test_wheels_are_taken_from_the_folder_alone(stub: Callable[[str], Path], make: Make, tmp_path: Path) -> None:
    told = stub("exit 0\n")
    found = make(str(tmp_path))
    found._asked, found._made[()] = {"python": "p", "sites": []}, "/the/python"
    found.available({"one": "2.0"})
    words = told.read_text().split("\n")
    assert words[words.index("--no-index") : words.index("--")] == [
        "--no-index",
        "--offline",
        "--find-links",
        str(tmp_path),
    ]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("error: Request failed after 3 retries", "1.0: where uv looks cannot be reached"),
        (
            "  × No solution found\n  ╰─▶ Because there is no version of one==1.0 and",
            "1.0: there is no such version where uv looks",
        ),
        ("error: something new\x1b[31m", "1.0: something new\x1b[31m"),
        ("", "1.0: uv ended with status 2"),
    ],
)
def test_what_uv_says(said: str, reason: str, stub: Callable[[str], Path], make: Make) -> None:
    stub(f"printf '%s' '{said}' >&2; exit 2\n")
    found = make(None)
    found._asked, found._made[()] = {"python": "p", "sites": []}, "/the/python"
    assert found.available({"one": "1.0"}) == {}
    assert found.unavailable == {"one": reason}


def test_an_index_that_cannot_be_reached_is_asked_once(stub: Callable[[str], Path], make: Make) -> None:
    told = stub("echo 'error: Failed to fetch' >&2; exit 2\n")
    found = make(None)
    found._asked, found._made[()] = {"python": "p", "sites": []}, "/the/python"
    assert found.available({f"p{number}": "1.0" for number in range(100)}) == {}
    assert len(found.unavailable) == 100
    assert told.read_text().split("\n").count("--dry-run") == 1


def test_a_uv_that_hangs_is_given_up(stub: Callable[[str], Path], make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stub("exec sleep 1000\n")
    monkeypatch.setattr(environments, "SECONDS_TO_INSTALL", 0.5)
    before = time.monotonic()
    with pytest.raises(TargetError, match="uv took more than 0 s"):
        make(None).begin()
    assert time.monotonic() - before < 10


# -- nothing is left --------------------------------------------------------------------------------------------------


def test_a_folder_whose_maker_was_killed_is_removed(make: Make, wheels: Wheels, temporary: Path) -> None:
    where = engine.owner().split(":")[0]
    gone = temporary / f"audit-environments-{where}-{2**22 + 1}-12345-abc"
    others = temporary / f"audit-environments-{'0' * 12}-{2**22 + 1}-12345-abc"
    for folder in (gone, others):
        (folder / "0").mkdir(parents=True)
    make(wheels("one 2.0"))
    assert not gone.exists()
    assert others.exists()
    (others / "0").rmdir()
    others.rmdir()


def test_an_interruption_while_an_environment_is_made(tmp_path: Path) -> None:
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(
        '#!/bin/sh\ncase "$*" in *dry-run*) exit 0;;\n'
        f'*install*) touch "{tmp_path}/begun"; exec sleep 765;; esac\nexec "{UV}" "$@"\n'
    )
    uv.chmod(0o755)
    code = f"import sys; from audit.targets import environments; environments.find_uv = lambda: {str(uv)!r}; "
    code += "from audit import cli; sys.exit(cli.main(sys.argv[1:]))"
    report = str(MACHINES / "host~blas=packages.numpy.version~2.3.json.gz")
    words = ["reproduce", report, "--packages", "--python", sys.executable, "--save", str(tmp_path / "proof.json")]
    process = subprocess.Popen([sys.executable, "-c", code, *words], text=True, stdout=-1, stderr=-1)
    deadline = time.monotonic() + 120
    while not (tmp_path / "begun").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    if process.poll() is not None:
        pytest.skip("this machine's numpy gives that report's bits")
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert said.startswith("INTERRUPTED.")
    assert subprocess.run(["pgrep", "-f", "sleep 765"], capture_output=True, check=False).returncode == 1


# -- the whole, with wheels from the index ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def numpys() -> Callable[..., str]:
    """Makes an environment with these packages ("numpy==2.3.5") in the fixtures' cache; its interpreter."""
    from fixtures.environments import CACHE

    def made(*pins: str) -> str:
        folder = CACHE / ("environment-" + hashlib.sha256(" ".join(pins).encode()).hexdigest()[:12])
        if not (folder / "complete").exists():
            subprocess.run([UV, "venv", "-q", "--clear", "--python", sys.executable, str(folder)], check=True)
            subprocess.run([UV, "pip", "install", "-q", "--python", str(folder / "bin" / "python"), *pins], check=True)
            (folder / "complete").touch()
        return str(folder / "bin" / "python")

    return made


def reproduced(report: str, python: str, folder: Path, *more: str) -> Reproduction:
    saved = str(folder / "proof.json")
    audit("reproduce", report, "--quiet", "--python", python, "--packages", "--save", saved, *more)
    found, _ = codec.read_any(saved)
    assert isinstance(found, Reproduction)
    assert proof.missing(found) == ""
    return found


AVX512 = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL"
HERE = ("numpy==2.4.6", "packaging==24.2", "six==1.17.0")


@pytest.mark.fresh
@pytest.mark.parametrize(
    ("pins", "via", "settings"),
    [
        (("numpy==2.3.5", "packaging==23.2", "six==1.16.0"), "", set()),
        (("numpy==2.3.5",), "env OPENBLAS_CORETYPE=Haswell", {"OPENBLAS_CORETYPE"}),
        (("numpy==1.26.4",), f"env NPY_DISABLE_CPU_FEATURES='{AVX512}'", {"NPY_DISABLE_CPU_FEATURES"}),
    ],
    ids=["two-others", "and-a-kernel", "and-its-own-features"],
)  # fmt: skip
def test_the_package_that_changed_the_bits(
    pins: tuple[str, ...], via: str, settings: set[str], numpys: Callable[..., str], tmp_path: Path
) -> None:
    if via and "avx512f" not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip("this CPU has nothing that these settings take away")
    report = str(tmp_path / "there.json")
    more = ["--via", via, "--job", "operators"] if via else ["--job", "numpy"]
    audit("run", "--quiet", "--repeat", "1", "-o", report, "--python", numpys(*pins), *more)
    found = reproduced(report, numpys(*HERE), tmp_path)
    assert found.packages == {"numpy": pins[0].partition("==")[2]}
    assert set(found.settings) == settings
    assert found.causes[0].status == "proven"
