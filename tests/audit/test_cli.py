"""The command line's edges: refusals are one line and exit 2, outputs never replace inputs, nothing is a traceback."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from audit.cli import main
from audit.commands import options
from probes import assemble
from reports import render

MACHINES = Path(__file__).parent.parent.parent / "fixtures" / "machines"
HOST = str(MACHINES / "host.json.gz")
OTHER = str(MACHINES / "host~blas=variables.OPENBLAS_CORETYPE.json.gz")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["diff", HOST], "has one target (host); name a second report"),
        (["diff", HOST, "none.json"], "none.json: No such file"),
        (["diff", HOST, HOST + "#image"], "no target 'image'; it has: host"),
        (["show", "."], "a folder, not a report"),
        (["run", "--python", "/no/python"], "no such command"),
        (["run", "-o", "/no/folder/x.json"], "no folder /no/folder"),
        (["run", "--via", "'"], "--via: No closing quotation"),
        (["bundle", "-o", "/no/folder/x.pyz"], "cannot write /no/folder/x.pyz"),
    ],
)
def test_refusals(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["diff"], "audit diff: the following arguments are required: REPORT[#TARGET]; see audit diff --help"),
        (["diff", HOST, "--fail-on"], "audit diff: argument --fail-on: expected one argument; see audit diff --help"),
        (["run", "--jub", "--", "x", "-y"], "audit run: unrecognized arguments: --jub; see audit run --help"),
        (["run", "--j\x1b[31m\n"], "audit run: unrecognized arguments: --j\\x1b[31m\\n; see audit run --help"),
        (
            ["show", HOST, "--plot", "x.PNG"],
            "audit show: argument --plot: x.PNG: pictures are drawn as SVG; name it x.svg; see audit show --help",
        ),
    ],
)
def test_misuse_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert (ended.value.code, *capsys.readouterr()) == (2, "", said + "\n")


def test_a_rendering_never_replaces_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "host.json.gz"
    copy.write_bytes(Path(HOST).read_bytes())
    assert "would replace a report that was read" in refused(capsys, "diff", str(copy), OTHER, "-o", str(copy))
    assert copy.read_bytes() == Path(HOST).read_bytes()


def test_one_report_given_twice_is_said_and_not_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", HOST, HOST]) == 0
    assert "are the same report" in " ".join(capsys.readouterr().out.split())


def test_quiet_leaves_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", HOST, OTHER, "--quiet"]) == 1
    assert capsys.readouterr().out == ""


def test_a_saved_comparison_is_shown_with_its_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = str(tmp_path / "c.json")
    assert main(["diff", HOST, OTHER, "--format", "json", "-o", saved]) == 1
    assert main(["diff", HOST, OTHER]) == 1
    direct = capsys.readouterr().out
    assert main(["show", saved]) == 1
    assert capsys.readouterr().out == direct


@pytest.mark.parametrize(
    "change",
    [
        {"tree": []},
        {"digests": ["!!"] * 100},
        {"digests": ["AAAA"] * 100},
        {"steps": 10**9},
        {"sequence": {"0": [10**6]}},
        {"rows": []},
    ],
    ids=str,
)
def test_a_trace_that_does_not_hold_together_is_refused(
    change: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = json.loads(gzip.decompress(Path(HOST).read_bytes()))
    tree["targets"][0]["jobs"][1]["trace"].update(change)
    tree["digest"] = assemble.digest(tree)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(tree))
    assert "not a valid report: $.targets[0].jobs" in refused(capsys, "diff", HOST, str(path))


def test_a_surrogate_in_a_report_is_no_crash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = json.loads(gzip.decompress(Path(HOST).read_bytes()))
    tree["targets"][0]["facts"]["time.zone"]["value"] = "\udcff"
    tree["digest"] = assemble.digest(tree)
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(tree))
    for style in ("terminal", "markdown", "json"):
        assert main(["diff", HOST, str(path), "--format", style, "--all"]) == 0


def test_a_closed_or_full_standard_output_is_no_traceback() -> None:
    for redirection in (">&-", ">/dev/full", "| head -c 1 >/dev/null"):
        command = f'"{sys.executable}" -m audit diff "{HOST}" "{OTHER}" {redirection}'
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, redirection


def test_default_files_never_replace_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["run", "--job", "none", "--label", "box", "--quiet"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["box-2.json", "box.json"]


def test_the_label_is_in_the_file_name_and_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--job", "none", "--label", "../../\x1b[31mevil", "--quiet"]) == 0
    (only,) = tmp_path.iterdir()
    assert only.name == "31mevil.json" or "evil" in only.name


def test_the_formats_of_the_command_line_are_those_that_can_be_rendered() -> None:
    """They stand there twice, because importing the renderings would make `audit --help` slow."""
    assert options.FORMATS == render.FORMATS
