"""A folder of reports: groups, their roots, what cannot be used, and one process a CPU that leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit import reading
from audit.cli import main
from audit.errors import ReportError
from fixtures import many
from probes import assemble

ROOTS = {"haswell": "cpu.model", "nehalem": "cpu.model", "trixie": "os.release", "host!": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty nodes, three of them of other classes, and a broken one."""
    made = tmp_path_factory.mktemp("cluster") / "nodes"
    for _ in many.write(made, 20):
        pass
    (made / "node00249.json").write_bytes(many.report(249))
    return made


def diff(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = main(["diff", *arguments, "--format", "json"])
    return status, json.loads(capsys.readouterr().out)


def test_a_folder_is_all_reports_in_it_and_each_group_has_its_own_root(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, found = diff(capsys, str(folder))
    assert status == 1
    expected = {**many.expected(20), "host!": ["node00249"]}
    groups = {tuple(group["labels"]): group for group in found["groups"]}
    assert set(groups) == {tuple(labels) for labels in expected.values()}
    assert found["groups"][0]["labels"] == expected["host"]
    for name, labels in expected.items():
        group = groups[tuple(labels)]
        if name != "host":
            assert group["root"] == ROOTS[name.split("~")[-1]]
            assert group["first_divergence"]["labels"] == ["node00000", labels[0]]
    haswell = groups[tuple(expected[many.CLASSES[3]])]
    assert haswell["only"]["blas.kernel"] == "Haswell"
    assert "memory.total" not in haswell["only"]
    # Each job has groups of its own: the broken node's operator moved no training.
    (python,) = [job for job in found["results"]["jobs"] if job["name"] == "python"]
    assert python["groups"][0] == sorted([*expected["host"], "node00003", "node00249"])


def test_what_a_person_sees_of_many(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    golden: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder.parent)
    assert main(["diff", "nodes"]) == 1
    shown = capsys.readouterr()
    golden("many.txt", shown.out)
    assert len(shown.out.splitlines()) <= 25
    assert main(["diff", "nodes", "--all"]) == 1
    assert "node[00000-00002,00004-00006,00008-00010,00012-00019]" in capsys.readouterr().out
    assert main(["diff", "nodes", "--format", "markdown"]) == 1
    golden("many.md", capsys.readouterr().out)


def test_files_and_folders_mix_and_their_order_changes_no_group(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, once = diff(capsys, str(folder))
    files = sorted(map(str, folder.iterdir()), reverse=True)
    _, again = diff(capsys, *files)
    assert [sorted(group["labels"]) for group in again["groups"][:1]] == [once["groups"][0]["labels"]]
    assert {(tuple(sorted(group["labels"])), group["root"]) for group in once["groups"]} == {
        (tuple(sorted(group["labels"])), group["root"]) for group in again["groups"]
    }


def test_a_bad_report_of_a_folder_costs_only_itself(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for node in ("node00000.json", "node00001.json", "node00002.json"):
        shutil.copy(folder / node, tmp_path)
    (tmp_path / "cut.json").write_bytes((folder / "node00004.json").read_bytes()[:1000])
    (tmp_path / ".audit-half").write_text("being written")
    (tmp_path / "notes.txt").write_text("no report")
    status, found = diff(capsys, str(tmp_path))
    assert (status, found["verdict"], len(found["reports"])) == (3, "incomplete", 3)
    assert found["environment"]["not_compared"][0]["fact"] == "report cut.json"
    main(["diff", str(tmp_path)])
    assert "INCOMPLETE. What could be compared agrees bit for bit. Missing: report cut.json: " in (
        " ".join(capsys.readouterr().out.split())
    )
    shutil.copy(folder / "node00003.json", tmp_path)
    assert diff(capsys, str(tmp_path))[0] == 1
    # A file that was named is wanted: without it there is no answer.
    assert main(["diff", str(tmp_path), str(tmp_path / "cut.json")]) == 2


def test_a_folder_without_a_usable_report_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(tmp_path)]) == 2
    assert "no report in this folder" in capsys.readouterr().err
    (tmp_path / "a.json").write_text("{")
    assert main(["diff", str(tmp_path)]) == 2
    assert "none of its 1 files can be used; the first: " in capsys.readouterr().err
    (tmp_path / "b.json").write_bytes(many.report(0))
    assert main(["diff", str(tmp_path)]) == 2
    assert "has one target (host) (1 other files of the folder cannot be used)" in capsys.readouterr().err


def test_one_report_many_times_is_said_once(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(12):
        shutil.copy(folder / "node00000.json", tmp_path / f"copy{number}.json")
    status, found = diff(capsys, str(tmp_path))
    assert (status, found["verdict"]) == (0, "same")
    assert len(found["notes"]) == 3
    assert found["notes"][2] == "9 more reports are given twice"
    assert [report["label"] for report in found["reports"]] == sorted(f"copy{number}" for number in range(12))


def test_a_report_that_changes_while_it_is_compared_is_refused(folder: Path, tmp_path: Path) -> None:
    paths = []
    for number in range(reading.FEW + 1):
        paths.append(str(shutil.copy(folder / f"node{number:05d}.json", tmp_path)))
    files = list(reading.read(paths, False, lambda *_: None))
    assert isinstance(files[0], reading.File)
    stored = files[0].targets[0]
    assert stored.whole().outline.digest == stored.outline.digest
    Path(paths[0]).write_bytes(many.report(1))
    with pytest.raises(ReportError, match="changed while it was being compared"):
        stored.whole()


def test_few_and_many_files_give_one_outline(folder: Path) -> None:
    """Few are kept whole, many are read by other processes: what the engine is told is the same."""
    paths = sorted(map(str, folder.iterdir()))
    assert len(paths) > reading.FEW
    many_files = list(reading.read(paths, False, lambda *_: None))
    few_files = list(reading.read(paths[: reading.FEW], False, lambda *_: None))
    for few, more in zip(few_files, many_files, strict=False):
        assert isinstance(few, reading.File)
        assert isinstance(more, reading.File)
        assert [one.outline for one in few.targets] == [one.outline for one in more.targets]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_comparison_leaves_no_process(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "0.json").write_bytes(many.report(0))
    for copy in range(1, 600):  # long enough to be met, and small on the disk
        os.link(tmp_path / "nodes" / "0.json", tmp_path / "nodes" / f"{copy}.json")
    marker = f"AUDIT_TEST_MARKER=many{int(number)}"
    command = ["env", marker, sys.executable, "-m", "audit", "diff", str(tmp_path / "nodes")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 40
    while len(running(marker)) < 3 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    assert len(running(marker)) >= 3, "no reading processes were seen"
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    if number != signal.SIGKILL:
        assert process.returncode == 2
        assert errors.splitlines()[-1].startswith("audit diff: interrupted")
        assert "Traceback" not in errors
    while running(marker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert running(marker) == []


def test_a_reading_process_whose_parent_is_gone_already_ends() -> None:
    """The parent can be killed between the fork and the request to be told of its death."""
    begin = "from audit.reading import _begin; _begin({}); print('reads')"
    for parent, status, said in (("__import__('os').getppid()", 0, "reads\n"), ("0", 1, "")):
        done = subprocess.run([sys.executable, "-c", begin.format(parent)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (status, said, "")


def running(marker: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:  # it is gone, or another user's
            continue
    return found


def test_targets_of_one_report_go_by_their_own_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trees = [json.loads(many.report(number)) for number in (0, 3)]
    trees[0]["targets"].append({**trees[1]["targets"][0], "name": "my/image:1"})
    trees[0]["digest"] = assemble.digest(trees[0])
    path = tmp_path / "both.json"
    path.write_text(assemble.to_text(trees[0]))
    for arguments in ([str(path)], [f"{path}#host", f"{path}#my/image:1"]):
        status, found = diff(capsys, *arguments)
        assert status == 1
        assert [one["label"] for one in found["reports"]] == ["host", "my/image:1"]
        # What is in an image is changed by its recipe: the experiment is one for the host.
        assert found["next"].startswith("on host:  audit reproduce ")
        assert "both.json#my/image:1" in found["next"]
