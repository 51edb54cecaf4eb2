"""`audit explain`: every name has an explanation in every format, and an unknown one is told what is near."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "reports"))

from test_any import check, check_screen

from audit.causes.settings import SETTINGS
from audit.cli import main
from audit.explaining import explain
from audit.policy import policy
from reports import render
from reports.catalogue import catalogue
from reports.render import findings
from reports.rules import RULES

Golden = Callable[[str, str], None]

NAMES = [*catalogue().components, *RULES, *(row.fact for row in catalogue().rows)]


@pytest.mark.parametrize("format", ["terminal", "markdown", "json"])
def test_everything_can_be_explained_in_every_format(format: str) -> None:
    for name in NAMES:
        for everything in (False, True):
            found = explain(name)
            text = render.explain(found, format, all=everything)
            check(text, format, found)
            if format == "terminal":
                check_screen(text, everything)


@pytest.mark.parametrize("name", ["blas.kernel", "libm", "unknown-class", "variables.OPENBLAS_CORETYPE"])
def test_an_explanation_is_as_committed(
    name: str, golden: Golden, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.explaining._how_many", lambda component: 43)  # another Python has others
    for form, ending in (("terminal", "txt"), ("markdown", "md")):
        assert main(["explain", name, "--format", form]) == 0
        golden(f"explain {name}.{ending}", capsys.readouterr().out)


def test_every_rule_of_a_check_is_explained() -> None:
    assert set(policy.RULES) | {findings.NOTHING} <= set(RULES)
    assert set(findings.INCOMPLETE) <= set(RULES)


def test_what_decides_a_fact_is_followed_up_to_the_roots() -> None:
    above = {named.name: named for named in explain("blas.kernel").decided_by}
    assert {"variables.OPENBLAS_CORETYPE", "cpu.flags", "cpu.model", "blas.version", "packages.numpy.version"} <= set(
        above
    )
    assert above["cpu.model"].root
    assert not above["blas.version"].root
    assert above["packages.numpy.version"].depth == above["blas.version"].depth + 1


def test_every_setting_pins_what_it_says() -> None:
    for setting in SETTINGS:
        assert setting.name in [pin.name for pin in explain(setting.fact).settings]
        assert setting.name in [pin.name for pin in explain(setting.component).settings]
        if setting.how == "variable":
            assert setting.name in [pin.name for pin in explain(f"variables.{setting.name}").settings]


def test_a_fact_says_which_components_it_touches_though_only_through_others() -> None:
    (touched,) = explain("variables.OPENBLAS_CORETYPE").components
    assert touched.name == "blas"
    assert touched.meaning.endswith("(through blas.kernel)")
    assert explain("packages.left-pad.version").family == "packages.*.version"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("blas.kernal", "did you mean blas.kernel, "),
        ("numeric", "did you mean numeric-drift"),
        ("libmm", "did you mean libm"),
        ("", "audit show REPORT --all lists the facts"),
        ("\x1b[2J\n" * 50, "audit show REPORT --all lists the facts"),
    ],
)
def test_an_unknown_name_is_told_what_is_near_in_one_line(
    name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", name]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert "\x1b" not in captured.err


def test_json_has_stable_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "libm.features", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == "audit-explanation"
    assert found["what"] == "numeric"
    assert [pin["name"] for pin in found["settings"]] == ["GLIBC_TUNABLES"]


def test_it_is_instant() -> None:
    """It measures nothing, and so needs nothing of what measures or compares."""
    code = (
        "import sys; from audit.cli import main; main(['explain', 'blas.kernel', '--quiet']);"
        "sys.exit(any(name.split('.')[0] in ('numpy', 'docker', 'deepdiff', 'rich') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
