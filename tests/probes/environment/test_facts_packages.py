"""Packages: one wheel has one digest however it was installed, and a changed file shows when asked."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from probes.environment import Options, packages
from probes.facts import Absent, Facts

MODULE = b"def answer():\n    return 42\n"


def digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def install(site: Path, extra: tuple[str, ...] = (), installer: str = "pip", name: str = "My.Package_x") -> Path:
    """A distribution as an installer leaves it, with its own notes in RECORD (`extra`)."""
    info = site / f"{name.replace('.', '_')}-1.5.dist-info"
    info.mkdir(parents=True)
    (site / "mine.py").write_bytes(MODULE)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n\nName: not this\n")
    (info / "INSTALLER").write_text(installer + "\n")
    lines = [f"mine.py,sha256={digest(MODULE)},{len(MODULE)}", f"{info.name}/METADATA,sha256=x,9", *extra]
    (info / "RECORD").write_text("\n".join(lines) + "\n")
    return info


def record(site: Path) -> str:
    (found,) = packages.distributions([str(site)])
    return packages.record_digest(packages._record(found))


def test_one_wheel_has_one_digest_however_it_was_installed(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    info = "My_Package_x-1.5.dist-info"
    install(a, ("__pycache__/mine.cpython-311.pyc,,", f"{info}/INSTALLER,sha256=1,4", "../../../bin/mine,sha256=2,3"))
    install(b, (f"{info}/INSTALLER,sha256=9,2", f"{info}/RECORD,,", f"{info}/direct_url.json,sha256=3,3"), "uv")
    assert record(a) == record(b)


def test_another_build_of_one_version_has_another_digest(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    install(a)
    install(b, ("mine.libs/libopenblas.so,sha256=other,25",))
    assert record(a) != record(b)


def test_order_of_lines_is_no_difference() -> None:
    assert packages.record_digest(b"a,1,1\r\nb,2,2\r\n") == packages.record_digest(b"b,2,2\na,1,1\n")


def test_names_are_normalised_and_the_first_on_the_path_wins(tmp_path: Path) -> None:
    install(tmp_path / "a")
    install(tmp_path / "b", name="my-package-x")
    found = list(packages.distributions([str(tmp_path / "none"), str(tmp_path / "a"), str(tmp_path / "b")]))
    assert [(one.name, one.version, one.site) for one in found] == [("my-package-x", "1.5", str(tmp_path / "a"))]


def test_a_folder_without_metadata_is_no_distribution(tmp_path: Path) -> None:
    (tmp_path / "left-1.0.dist-info").mkdir()
    (tmp_path / "file-2.0.egg-info").write_text("Metadata-Version: 1.1\nName: file\nVersion: 2.0\n")
    assert [one.name for one in packages.distributions([str(tmp_path)])] == ["file"]


def test_modified_files_are_named_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, ("gone.py,sha256=abc,1",))
    (tmp_path / "mine.py").write_bytes(MODULE + b"\n")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    quick, asked = Facts(), Facts()
    packages.capture(quick)
    packages.capture(asked, Options(verify=True))
    assert "packages.my-package-x.modified" not in quick.records
    changed = asked.value("packages.my-package-x.modified")
    assert changed == ["My_Package_x-1.5.dist-info/METADATA", "gone.py", "mine.py"]


def test_unchanged_files_match(tmp_path: Path) -> None:
    info = install(tmp_path)
    metadata = (info / "METADATA").read_bytes()
    (info / "RECORD").write_text(
        f"mine.py,sha256={digest(MODULE)},{len(MODULE)}\n{info.name}/METADATA,sha256={digest(metadata)},9\n"
    )
    (found,) = packages.distributions([str(tmp_path)])
    assert packages.modified(found) == []


@pytest.mark.parametrize(
    ("site", "name", "expected"),
    [
        ("/usr/lib/python3/dist-packages", "", "distribution"),
        ("/usr/lib/python3/dist-packages", "debian", "distribution"),
        ("/usr/local/lib/python3.11/site-packages", "pip", "pip"),
        ("/opt/env/lib/python3.11/site-packages", "uv", "uv"),
    ],
)
def test_installer(site: str, name: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "INSTALLER").write_text(name)
    assert packages.installer(packages.Distribution("x", "1", str(tmp_path), site)) == expected


def git(tree: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=x", "-c", "user.email=x@x", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *identity, *arguments], cwd=tree, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "working tree"
    (folder / "src").mkdir(parents=True)
    git(folder, "init")
    (folder / "file").write_text("1")
    git(folder, "add", "file")
    git(folder, "commit", "-m", "x")
    return folder


def test_an_editable_installation_has_its_commit(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = install(tmp_path / "site")
    url = (tree / "src").as_uri()
    (info / "direct_url.json").write_text(json.dumps({"url": url, "dir_info": {"editable": True}}))
    monkeypatch.setattr("sys.path", [str(tmp_path / "site")])
    (tree / "file").write_text("2")
    facts = Facts()
    packages.capture(facts, Options(verify=True))
    key = "packages.my-package-x."
    assert facts.value(key + "editable") is True
    assert facts.value(key + "commit") == git(tree, "rev-parse", "HEAD")
    assert facts.value(key + "dirty") is True
    assert str(tree) not in json.dumps(facts.records)


def test_a_commit_is_found_packed_detached_and_in_a_worktree(tree: Path, tmp_path: Path) -> None:
    head = git(tree, "rev-parse", "HEAD")
    git(tree, "worktree", "add", str(tmp_path / "second"), "-b", "other")
    git(tree, "pack-refs", "--all")
    assert packages.commit(str(tree)) == packages.commit(str(tmp_path / "second")) == head
    git(tree, "checkout", "--detach")
    assert packages.commit(str(tree)) == head


def test_no_commit_outside_a_working_tree(tmp_path: Path) -> None:
    with pytest.raises(Absent, match="not in a git working tree"):
        packages.commit(str(tmp_path))


def test_a_commit_that_pip_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = install(tmp_path)
    origin = {"url": "https://user:secret@example.org/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc123"}}
    (info / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    facts = Facts()
    packages.capture(facts)
    assert facts.value("packages.my-package-x.commit") == "abc123"
    assert "packages.my-package-x.editable" not in facts.records
    assert "secret" not in json.dumps(facts.records)
