"""`audit baseline` and `audit check` as they are typed: files, statuses, refusals. Nothing compared is never a pass."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.cli import main
from probes import assemble
from tests.audit.test_cli import HOST, MACHINES, OTHER, refused

HASWELL = str(MACHINES / "host~blas+numpy=cpu.model~haswell.json.gz")
NEHALEM = str(MACHINES / "host~blas+numpy+libm=cpu.model~nehalem.json.gz")
OLDER = str(MACHINES / "host~blas=packages.numpy.version~2.3.json.gz")
THREADS = str(MACHINES / "host~blas=blas.threads.json.gz")
LIBM = str(MACHINES / "host~libm=variables.GLIBC_TUNABLES.json.gz")
ELSEWHERE = str(MACHINES / "host~none~elsewhere.json.gz")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No policy of this project's own applies."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def held(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    path = str(tmp_path / "held.json")
    assert main(["baseline", HOST, "-o", path]) == 0
    assert "holds 141 facts and 686 operators for 1 class: x86_64 SkylakeX AVX512_ICL" in capsys.readouterr().out
    return path


def check(*arguments: str, status: int, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["check", *arguments, "--format", "json"]) == status
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["exit"] == status
    return found


def rules(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["rule"], one["fact"]) for one in found["findings"]]


# Recorded machines

EXPECTED = {
    HOST: [],
    ELSEWHERE: [],
    OLDER: [("results-changed", "packages.numpy.version")],
    THREADS: [("results-changed", "variables.OPENBLAS_NUM_THREADS")],
    LIBM: [("results-changed", "variables.GLIBC_TUNABLES")],
    OTHER: [("results-changed", "variables.OPENBLAS_CORETYPE")],
    NEHALEM: [("unknown-class", "blas.kernel")],
    HASWELL: [("unknown-class", "blas.kernel")],
    str(MACHINES / "host~fpu=variables.LD_PRELOAD.json.gz"): [("results-changed", "variables.LD_PRELOAD")],
    str(MACHINES / "seed1.json.gz"): [("numeric-drift", "variables.PYTHONHASHSEED")],
}


@pytest.mark.parametrize("report", EXPECTED, ids=lambda report: Path(report).name)
def test_a_recorded_machine_gives_its_finding(report: str, held: str, capsys: pytest.CaptureFixture[str]) -> None:
    expected = EXPECTED[report]
    failing = any(rule != "numeric-drift" for rule, _ in expected)
    found = check(report, "--baseline", held, status=int(failing), capsys=capsys)
    assert rules(found) == expected
    assert found["verdict"] == ("fail" if failing else "pass")


def test_a_finding_points_at_the_line_of_the_baseline(held: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = check(OLDER, "--baseline", held, status=1, capsys=capsys)
    lines = Path(held).read_text().splitlines()
    for change in found["findings"][0]["changes"]:
        assert change["fact"] in lines[change["line"] - 1]
    assert '"packages.numpy.version": "2.4.6"' in lines[found["findings"][0]["line"] - 1]


def test_a_finding_says_what_to_type(held: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = check(OLDER, "--baseline", held, status=1, capsys=capsys)["findings"][0]
    assert found["keep"] == "pip install numpy==2.4.6"
    assert found["accept"].startswith("audit baseline ")
    assert found["accept"].endswith(f"--update {held}")
    assert "2 of 122 blas operators give other bits" in found["message"]
    assert "20 other changes" in found["came_with"]


def test_a_whole_report_is_a_baseline_too_and_gives_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    found = check(THREADS, "--baseline", HOST, status=1, capsys=capsys)
    assert rules(found) == EXPECTED[THREADS]
    assert "ULP" in found["findings"][0]["effect"]
    assert found["first_divergence"]["job"] == "numpy"


# The file


def test_it_is_sorted_stable_and_small(held: str, tmp_path: Path) -> None:
    text = Path(held).read_text()
    assert len(text) < 40_000
    assert max(map(len, text.splitlines())) <= 120
    again = str(tmp_path / "again.json")
    assert main(["baseline", ELSEWHERE, "-o", again, "--quiet"]) == 0  # another machine of the class, at another time
    assert Path(again).read_text() == text
    facts = list(json.loads(text)["facts"])
    assert facts == sorted(facts)
    assert text.count('"libc.version"') == 1


def test_known_classes_give_no_finding_and_a_new_one_exactly_one(
    held: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = check(NEHALEM, "--baseline", held, status=1, capsys=capsys)
    assert rules(found) == [("unknown-class", "blas.kernel")]
    assert found["findings"][0]["accept"] == f"audit baseline '{NEHALEM}' --update-new-only {held}"
    before = Path(held).read_text()
    assert main(["baseline", NEHALEM, "--update-new-only", held]) == 0
    assert "new class: x86_64 Nehalem" in capsys.readouterr().out
    for report in (NEHALEM, HOST):
        found = check(report, "--baseline", held, status=0, capsys=capsys)
        assert (found["verdict"], found["findings"]) == ("pass", [])
        assert "of 2 classes in the baseline" in found["fine"][0]
    other = str(tmp_path / "other.json")
    assert main(["baseline", HOST, NEHALEM, "-o", other, "--quiet"]) == 0
    assert Path(other).read_text() == Path(held).read_text()
    kept = [line for line in before.splitlines() if line not in Path(held).read_text().splitlines()]
    assert len(kept) < 3  # a new class is a diff of its own lines


def test_a_class_whose_operators_fail_is_held_without_them(held: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["baseline", HASWELL, "--update-new-only", held, "--quiet"]) == 0
    found = check(HASWELL, "--baseline", held, status=0, capsys=capsys)
    assert (found["verdict"], found["findings"], found["missing"]) == ("pass", [], {})
    assert any("operators: 3 more failed" in note for note in found["notes"])


def test_update_accepts_what_is_there_and_leaves_other_classes(held: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["baseline", NEHALEM, "--update", held, "--quiet"]) == 0
    assert main(["baseline", OLDER, "--update", held, "--quiet"]) == 0
    assert len(json.loads(Path(held).read_text())["classes"]) == 2  # an older numpy names its code paths otherwise
    assert check(OLDER, "--baseline", held, status=0, capsys=capsys)["findings"] == []
    assert check(NEHALEM, "--baseline", held, status=0, capsys=capsys)["findings"] == []
    assert check(HOST, "--baseline", held, status=1, capsys=capsys)["verdict"] == "fail"


def test_update_new_only_changes_no_line(held: str) -> None:
    before = Path(held).read_text()
    assert main(["baseline", OTHER, "--update-new-only", held, "--quiet"]) == 0
    kept = json.loads(Path(held).read_text())
    for section in ("facts", "results", "operators", "unset"):
        assert kept[section] == json.loads(before)[section]


def test_what_was_not_run_stays_as_it_was(held: str, tmp_path: Path) -> None:
    facts_only = saved(tmp_path, lambda target: (target["battery"].update(operators=[]), target.update(jobs=[])))
    assert main(["baseline", facts_only, "--update", held, "--quiet"]) == 0
    tree = json.loads(Path(held).read_text())
    assert len(tree["operators"]) == 686
    assert "job numpy" in tree["results"]


def saved(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """The recorded machine with its target changed, as a file with the right digest."""
    tree = json.loads(gzip.decompress(Path(HOST).read_bytes()))
    change(tree["targets"][0])
    tree["digest"] = assemble.digest(tree)
    path = tmp_path / "changed.json"
    path.write_text(assemble.to_text(tree))
    return str(path)


# Nothing compared is never a pass


def test_operators_that_were_not_run_make_it_incomplete(
    held: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, lambda target: (target["battery"].update(operators=[]), target.update(jobs=[])))
    found = check(path, "--baseline", held, status=3, capsys=capsys)
    assert (found["verdict"], found["operators"]) == ("incomplete", [0, 686])
    assert found["missing"] == {"686 operators": "the operators were not run"}
    assert [one["rule"] for one in found["findings"]] == ["unreadable"]
    found = check(path, "--baseline", held, "--job", "none", status=0, capsys=capsys)
    assert "686 operators are held and were not run" in " ".join(found["notes"])


def test_a_target_that_tells_nothing_is_incomplete(
    held: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, lambda target: (target.update(facts={}, jobs=[]), target.pop("battery")))
    found = check(path, "--baseline", held, "--job", "none", status=3, capsys=capsys)
    assert found["verdict"] == "incomplete"
    assert ("nothing-compared", "results.*") in rules(found)


def test_a_required_fact_that_cannot_be_read_fails(
    held: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("audit.toml").write_text('require = ["gpu.driver"]\n')
    found = check(HOST, "--baseline", held, status=1, capsys=capsys)
    assert rules(found) == [("required-unreadable", "gpu.driver")]


def test_a_job_that_was_asked_for_and_did_not_run_is_incomplete(
    held: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, lambda target: target.update(jobs=[]))
    assert check(path, "--baseline", held, status=0, capsys=capsys)["notes"]
    found = check(path, "--baseline", held, "--job", "numpy", status=3, capsys=capsys)
    assert list(found["missing"]) == ["job numpy"]


def test_another_architecture_is_a_new_class(held: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def arm(target: dict[str, Any]) -> None:
        target["facts"]["cpu.machine"]["value"] = "aarch64"
        target["battery"]["facts"]["fpu.control_word"]["value"] = "0x0"

    found = check(saved(tmp_path, arm), "--baseline", held, status=0, capsys=capsys)
    assert rules(found) == [("unknown-class", "cpu.machine")]
    assert "aarch64" in found["findings"][0]["because"]


# Earlier checks


def test_previous_tells_new_findings_from_known_ones(
    held: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "previous.json")
    assert main(["check", OLDER, "--baseline", held, "--report", f"json={path}", "--quiet"]) == 1
    assert check(OLDER, "--baseline", held, status=1, capsys=capsys)["findings"][0]["new"] is None
    assert check(OLDER, "--baseline", held, "--previous", path, status=1, capsys=capsys)["findings"][0]["new"] is False
    found = check(THREADS, "--baseline", held, "--previous", path, status=1, capsys=capsys)
    assert found["findings"][0]["new"] is True


# What is refused

BAD = {
    "": "empty; make it again",
    "[]": "not a baseline",
    "{": "1: not JSON",
    '{"format": "audit-baseline",\n "version": 1,\n "facts": {,\n': ":3: not JSON",
    '{"format": "audit-baseline", "version": 9, "classes": {}}': "baseline version 9; this audit reads up to 1",
    '{"format": "audit-baseline", "version": 0, "classes": {}}': ":1: there is no baseline version 0",
    '{"format": "audit-baseline", "version": 1, "classes": {}}': "holds nothing, and comparing nothing is never a pass",
    '{"format": "audit-baseline", "version": 1,\n "clases": {}}': ":2: Object contains unknown field `clases`",
    '{"format": "audit-baseline", "version": 1,\n"facts": {\n"libc.versoin": "2"}, "classes": {}}': (
        ":3: there is no fact 'libc.versoin'; did you mean libc.version?"
    ),
    '{"format": "audit-baseline", "version": 1,\n"facts": {"libc.name": "2",\n"libc.name": "3"}, "classes": {}}': (
        ":3: 'libc.name' stands there twice"
    ),
    '{"format": "audit-baseline", "version": 1, "classes": {},\n"results": {"libm": 7}}': ":2: Expected `str`",
    '{"format": "audit-comparison", "version": 1}': "not a valid comparison",
    '{"format": "audit-baseline", "version": 1, "classes": {},\n"results": {"libm": "7"}}': ":2: '7' is no digest of",
    '{"format": "audit-baseline", "version": 1,\n"operators":\n{"libm.exp": ""}, "classes": {}}': ":3: '' is no",
    '{"format": "audit-baseline", "version": 1, "classes": {"a":\n{"known_by": {}}}}': ":2: a class that is known by",
    '{"format": "audit-baseline", "version": 1, "classes": {},\n"facts": {"os.name": "\\ud800"}}': ":2: half of a",
    '{"name": "something else"}': "not a baseline",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_baseline_is_refused_in_one_line(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    assert BAD[text] in refused(capsys, "check", HOST, "--baseline", str(path))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", HOST, "--baseline", "none.json"], "none.json: No such file or directory; make it: audit baseline"),
        (["check", HOST, "--baseline", HOST, "--policy", "none.toml"], "none.toml: No such file"),
        (["check", HOST, "--baseline", HOST, "--policy", "strickt"], "did you mean strict?"),
        (
            ["check", HOST, "--baseline", HOST, "--python", "python3"],
            "a report and --python: check the one or the other",
        ),
        (["check", HOST, "--baseline", HOST, "--previous", HOST], "not a saved check"),
        (["check", "none.json", "--baseline", HOST], "none.json: No such file"),
        (["check", "--baseline", HOST, "--container", "a", "--container", "b"], "one image is checked at a time"),
        (["baseline", HOST], "name the file to write with -o FILE"),
        (["baseline", "-o", "x.json"], "name a report of audit run"),
        (["baseline", HOST, "--update", HOST], "a report, which is never changed"),
        (["baseline", HOST, OLDER, "-o", "x.json"], "are one class of hardware"),
        (["baseline", HOST, "-o", "/no/folder/x.json"], "cannot write /no/folder/x.json"),
    ],
)
def test_refusals(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in refused(capsys, *arguments)


def test_a_baseline_never_replaces_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "host.json.gz"
    copy.write_bytes(Path(HOST).read_bytes())
    assert "would replace a report that was read" in refused(capsys, "baseline", str(copy), "-o", str(copy))


def test_an_edited_result_is_found(held: str, capsys: pytest.CaptureFixture[str]) -> None:
    tree = json.loads(Path(held).read_text())
    tree["results"]["libm"] = "0" * 16
    Path(held).write_text(json.dumps(tree, indent=4))  # another layout is read as well, and its lines are found
    found = check(HOST, "--baseline", held, status=3, capsys=capsys)
    assert rules(found) == [("unreadable", "results.libm")]


# This machine


@pytest.mark.parametrize("job", ["none", "operators"])
def test_this_machine_is_what_it_was_a_moment_ago(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    here = ["--python", sys.executable, "--job", job]
    assert main(["run", *here, "--repeat", "1", "-o", "here.json", "--quiet"]) == 0
    assert main(["baseline", "here.json", "-o", "b.json", "--quiet"]) == 0
    found = check("--baseline", "b.json", *here, "--policy", "strict", status=0, capsys=capsys)
    assert found["findings"] == []
