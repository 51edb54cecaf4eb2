"""Who should have reported and who did: lists of nodes, the folder that reports are gathered in, what is said of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import expect
from audit.cli import main
from audit.errors import AuditError
from audit.expect import Arrived, judge
from audit.targets import bundle
from fixtures import many
from probes import assemble
from reports import codec
from reports.comparison import NodeFinding
from reports.render.pages.ranges import folded

MACHINES = Path(__file__).parent.parent.parent / "fixtures" / "machines"
NOON = 1_790_000_000


def listed(text: str, tmp_path: Path) -> list[str]:
    file = tmp_path / "hosts.txt"
    file.write_text(text, "utf-8")
    return expect.read(str(file))


# -- lists of nodes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("gpu01\ngpu02\n", ["gpu01", "gpu02"]),
        ("gpu[001-003,005]", ["gpu001", "gpu002", "gpu003", "gpu005"]),
        ("rack[1-2]n[3-4]\n", ["rack1n3", "rack1n4", "rack2n3", "rack2n4"]),
        ("a[9-11]b, c ,d[0-1]", ["a9b", "a10b", "a11b", "c", "d0", "d1"]),
        ("# all\r\n\r\n  a # the first\r\nb#1\r\n", ["a", "b#1"]),
        ("\ufeffa\nb\na\n", ["a", "b"]),
        ("n[098-101]", ["n098", "n099", "n100", "n101"]),
        ("n[1,001]", ["n1", "n001"]),
        ("узел[1-2]", ["узел1", "узел2"]),
    ],
)
def test_what_a_list_stands_for(text: str, labels: list[str], tmp_path: Path) -> None:
    assert listed(text, tmp_path) == labels


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\nb[1-", "hosts.txt:2: a bracket without its other one"),
        ("b]", "a bracket without"),
        ("a[[1]]", "a bracket without"),
        ("a[]", "[] is no range of numbers"),
        ("a[1-2-3]", "[1-2-3] is no range"),
        ("a[x]", "[x] is no range"),
        ("a[٣]", "is no range of numbers"),
        ("a[3-1]", "3-1 is no range: its end is smaller"),
        ("a[001-9]", "fewer digits"),
        ("a[1-100001]", "a range of more than 100,000 names"),
        ("a[1-1000][1-1000]", "a range of more than 100,000 names"),
        ("a[1-60000]\nb[1-60000]", "hosts.txt:2: more than 100,000 names"),
        ("a[1-99999]," * 5000 + "a", "more than 100,000 names"),
        ("a[1-9999999999999999]", "is no range of numbers"),
        ("a,,b", "no name before a comma"),
        ("a,", "no name behind a comma"),
        ("gpu01 ansible_host=x", "a space within a name"),
        ("a\tb", "a control character"),
        ("a\x1b[31mb", "a control character"),
        ("a\u202eb", "a control character"),
        ("a" * 256, "a name of more than 255 characters"),
        ("a," * 40_000 + "a", "more than 65,536 characters"),
        ("# nobody\n", "it names no node"),
    ],
)
def test_what_is_no_list_is_refused_in_one_line(text: str, words: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(AuditError) as refused:
        listed(text, tmp_path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert time.monotonic() - began < 10


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path, words in (
        (tmp_path / "binary", "not text in UTF-8"),
        (tmp_path, "Is a directory"),
        (tmp_path / "none", "No such file"),
        (Path("/dev/zero"), "more than 16 MB"),
    ):
        with pytest.raises(AuditError, match=words):
            expect.read(str(path))


NAMES = st.from_regex(r"[a-z]{1,3}[0-9]{1,4}[a-z]?(?:-[0-9]{1,2})?", fullmatch=True)


@given(st.lists(NAMES, min_size=1, max_size=40))
def test_what_is_folded_can_be_read_again(labels: list[str]) -> None:
    assert sorted(expect.expanded(",".join(folded(labels)))) == sorted(set(labels))


# -- the judgement ----------------------------------------------------------------------------------------------------


def arrived(label: str, hours: float = 0.0, **how: str) -> Arrived:
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOON + hours * 3600))
    return Arrived(f"nodes/{label}.json", NOON + hours * 3600, label, **{"created": made, **how})


def test_every_kind_of_finding() -> None:
    found = judge(
        ["a1", "a2", "a3", "a4", "a5", "a6", "a7"],
        [
            arrived("a1"),
            arrived("a2", incomplete="operator fpu.ftz: SIGSEGV"),
            arrived("a3", hours=5),
            arrived("a4", hours=-80),
            arrived("a5", created="2019-01-01T00:00:00Z"),
            Arrived("nodes/a6.json", NOON, unusable="cut short"),
            arrived("login1"),
            Arrived("nodes/other.json", NOON, unusable="cut short"),
        ],
    )
    assert (found.expected, found.reported, found.whole) == (7, 5, False)
    assert [(one.kind, one.labels) for one in found.findings] == [
        ("missing", ["a7"]),
        ("unusable", ["a6"]),
        ("incomplete", ["a2"]),
        ("late", ["a3"]),
        ("stale", ["a4"]),
        ("unexpected", ["login1"]),
        ("clock", ["a5"]),
    ]
    assert [one.reason for one in found.findings[3:5]] == ["5 h after most", "3 days before most"]
    assert "its clock is wrong by 2,8" in found.findings[6].reason


def test_a_wrong_clock_or_a_copied_folder_costs_nothing() -> None:
    labels = [f"a{n}" for n in range(9)]
    wrong = judge(labels, [arrived(one, created="1970-01-01T00:00:00Z" if one == "a3" else "") for one in labels])
    assert wrong.whole
    # All were copied years later: every report is as much older than its file.
    copied = [Arrived(f"{one}.json", 2 * NOON, one, arrived(one).created) for one in labels]
    assert judge(labels, copied).findings == []
    nonsense = [arrived(one, created="yesterday") for one in labels]
    assert judge(labels, nonsense).findings == []


def test_a_report_is_that_of_its_label_else_of_its_file() -> None:
    renamed = Arrived("nodes/gpu01.json", NOON, "machine-123456")
    assert judge(["gpu01"], [renamed]).whole
    # A copy of another node's report is no report of this one.
    copy = Arrived("nodes/gpu02.json.gz", NOON, "gpu01")
    assert judge(["gpu01", "gpu02"], [copy]).findings == [NodeFinding("missing", ["gpu02"])]
    assert judge(["a b"], [Arrived("nodes/a-b.json", NOON, unusable="cut")]).findings[0].kind == "unusable"


def test_of_two_files_of_one_node_the_newer_counts() -> None:
    fresh = [arrived(f"a{n}") for n in range(5)]
    again = Arrived("nodes/old.json", NOON - 90_000, "a3")
    assert judge([f"a{n}" for n in range(5)], [*fresh, again]).whole
    cut = Arrived("nodes/a3.json", NOON + 90_000, unusable="cut short")
    assert judge([f"a{n}" for n in range(5)], [*fresh, cut]).whole


@given(st.lists(st.integers(-3600, 3600), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_files_written_within_an_hour_are_one_round_in_any_order(offsets: list[int], shuffle: object) -> None:
    half = [arrived(f"a{n}", hours=offset / 7200) for n, offset in enumerate(offsets)]
    assert judge([one.label for one in half], half).findings == []


# -- audit diff FOLDER --expect ---------------------------------------------------------------------------------------


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three recorded machines and what befell others, in a folder that all of them write into."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "nodes"
    folder.mkdir()
    for number in (0, 1, 2):
        (folder / f"{many.label(number)}.json").write_bytes(many.report(number))
    (folder / "node00004.json").write_bytes(many.report(4)[:1000])
    (folder / "failed.json").write_text('{"node00005": "no Python"}')
    (folder / ".audit-x.json").write_text("being written")
    old = time.time() - 4 * 86400
    os.utime(folder / "node00002.json", (old, old))
    (tmp_path / "hosts.txt").write_text("# rack 7\nnode[00000-00002,00004]\nnode[00005-00007]\n")
    return folder


@pytest.mark.usefixtures("nodes")
def test_what_a_person_sees(capsys: pytest.CaptureFixture[str], golden: Callable[[str, str], None]) -> None:
    for name, arguments in (("expect.txt", []), ("expect.md", ["--format", "markdown"])):
        assert main(["diff", "nodes", "--expect", "hosts.txt", *arguments]) == 3
        golden(name, capsys.readouterr().out)
    assert main(["diff", "nodes", "--expect", "hosts.txt", "--format", "json"]) == 3
    found = json.loads(capsys.readouterr().out)
    golden(
        "expect.json", json.dumps({name: found[name] for name in ("verdict", "attendance", "next")}, indent=1) + "\n"
    )
    assert main(["diff", "nodes", "--expect", "hosts.txt", "--format", "html"]) == 3
    assert "node[00005-00007]" in capsys.readouterr().out


def test_a_saved_comparison_says_it_again(nodes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "nodes", "--expect", "hosts.txt", "--format", "json", "-o", "c.json"]) == 3
    assert main(["diff", "nodes", "--expect", "hosts.txt"]) == 3
    direct = capsys.readouterr().out
    assert main(["show", "c.json"]) == 3
    assert capsys.readouterr().out == direct
    assert isinstance(codec.read_any(str(nodes.parent / "c.json"))[0].exit, int)


def test_other_results_outweigh_who_is_missing(nodes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nodes / "node00003.json").write_bytes(many.report(3))
    assert main(["diff", "nodes", "--expect", "hosts.txt"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("DIFFERENT RESULTS.")
    assert "3 of 7 nodes did not report: node[00005-00007]" in " ".join(lines[:3])
    assert len(lines) <= 25


def test_all_there_is_no_finding(nodes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("node00002.json", "node00004.json"):
        (nodes / name).unlink()
    Path("few.txt").write_text("node[00000-00001]")
    assert main(["diff", "nodes", "--expect", "few.txt"]) == main(["diff", "nodes"]) == 0
    capsys.readouterr()
    assert main(["diff", "nodes", "--expect", "few.txt", "--within", "1s", "--quiet"]) in (0, 3)


@pytest.mark.parametrize(("kept", "words"), [(1, "Only node00000 reported"), (0, "Nobody reported")])
def test_one_report_or_none_hides_no_finding(
    kept: int, words: str, nodes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted(nodes.glob("node*.json"))[kept:]:
        path.unlink()
    assert main(["diff", "nodes", "--expect", "hosts.txt"]) == 3
    shown = " ".join(capsys.readouterr().out.split())
    assert f"NOT COMPARABLE. {7 - kept} of 7 nodes did not report: node[" in shown
    assert f"{words}: there is nothing to compare." in shown
    assert main(["diff", "nodes", "--expect", "hosts.txt", "--all", "--format", "html"]) == 3


def test_the_list_may_come_from_standard_input(nodes: Path) -> None:
    command = [sys.executable, "-m", "audit", "diff", str(nodes), "--expect", "-", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(MACHINES.parent.parent)}
    done = subprocess.run(command, input=b"node[00000-00007]\n", env=environment, check=False)
    assert done.returncode == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--expect", "none.txt"], "none.txt: No such file"),
        (["--within", "2h"], "--within goes with --expect"),
    ],
)
@pytest.mark.usefixtures("nodes")
def test_refusals(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "nodes", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("text", ["", "1", "h", "0h", "-1h", "1.5h", "9999999999s", "1w", "²h"])
def test_a_time_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["diff", "a", "b", "--expect", "c", f"--within={text}"])
    assert ended.value.code == 2
    assert "90m, 2h or 3d" in capsys.readouterr().err


# -- the folder that nodes write into ---------------------------------------------------------------------------------


def test_a_node_writes_into_the_folder_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURMD_NODENAME", "gpu017")
    assert main(["run", "--job", "none", "--quiet", "-o", "nodes/"]) == 0
    assert main(["run", "--job", "none", "--quiet", "-o", "nodes", "--label", "rack 1"]) == 0
    assert main(["run", "--job", "none", "--quiet", "-o", "single.json"]) == 0
    assert sorted(path.name for path in (tmp_path / "nodes").iterdir()) == ["gpu017.json", "rack-1.json"]
    labels = [codec.read(name)[0].label for name in ("nodes/gpu017.json", "nodes/rack-1.json", "single.json")]
    assert labels == ["gpu017", "rack 1", assemble.default_label()]
    before = (tmp_path / "nodes" / "gpu017.json").stat().st_ino
    assert main(["run", "--job", "none", "--quiet", "-o", "nodes/"]) == 0  # a new round takes the place of the old
    assert (tmp_path / "nodes" / "gpu017.json").stat().st_ino != before
    monkeypatch.delenv("SLURMD_NODENAME")
    assert assemble.place("nodes/", None) == (
        assemble.default_label(),
        os.path.join("nodes/", assemble.default_label() + ".json"),
    )


def test_the_summary_says_what_to_do_on_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--job", "none", "-o", "nodes/", "--label", "gpu01"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "Next, on the other machines:  audit run -o nodes/    # then: audit diff nodes/"


def test_two_tasks_of_one_node_at_once_break_nothing(tmp_path: Path) -> None:
    """As `srun -n2 python3 probes.pyz -o DIR/` on one node: both write the same report, one after the other."""
    (tmp_path / "probes.pyz").write_bytes(bundle.pyz())
    environment = {**os.environ, "SLURMD_NODENAME": "n1"}
    command = [sys.executable, "probes.pyz", "--quiet", "--job", "none", "-o", "nodes/"]
    running = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in running:
        out, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, b"")
        assert out.startswith(b"Saved nodes/n1.json (")
    assert [path.name for path in (tmp_path / "nodes").iterdir()] == ["n1.json"]
    assert codec.read(str(tmp_path / "nodes" / "n1.json"))[0].label == "n1"


@pytest.mark.parametrize("name", ["file/", "none/nodes/"])
def test_a_folder_that_cannot_be_made_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no folder")
    assert main(["run", "--job", "none", "-o", name]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"audit run: cannot write {name}")
    assert "no folder " in captured.err
    assert captured.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_in_which_nothing_can_be_written_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(assemble.tempfile, "mkstemp", full)
    with pytest.raises(OSError, match="No space left"):
        assemble.check_writable(str(tmp_path / "nodes" / "x.json"), make=True)
    assert list(tmp_path.iterdir()) == []
    shutil.rmtree(tmp_path)
