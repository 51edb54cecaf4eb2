"""Rules as data: what they change, and that every mistake in them is one line with file, line and remedy."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path

import pytest

from audit.errors import AuditError
from audit.policy import baseline, policy
from audit.policy.policy import BUILT_IN, RULES, Policy
from reports.catalogue import catalogue
from tests.audit.test_drift import FTZ, GLIBC, NEWER_NUMPY, NUMPY, TODAY, TORCH, checked, held, machine

LATER, BEFORE = TODAY + datetime.timedelta(days=1), TODAY - datetime.timedelta(days=1)


def read(text: str, folder: Path, name: str = "audit.toml") -> Policy:
    (folder / name).write_text(text)
    return policy.read(folder / name)


def levels(rules: Policy, changes: dict[str, object], **planted: object) -> list[tuple[str, str, str]]:
    found = checked(machine(changes, **planted), rules)  # type: ignore[arg-type]
    return [(one.rule, one.fact, "waived" if one.waived else one.severity) for one in found.findings]


# Severity

STACK = {"limits.stack": 1}


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        ('severity.facts = {"limits.*" = "error"}', STACK, [("performance-drift", "limits.stack", "error")]),
        ('severity.facts = {"limits.*" = "off"}', STACK, []),
        (
            'severity.facts = {"limits.*" = "off", "limits.stack" = "info"}',
            STACK,
            [("performance-drift", "limits.stack", "info")],
        ),
        ('severity.kinds = {performance = "off"}', STACK, []),
        ('severity.rules = {numeric-drift = "error"}', NEWER_NUMPY, [("numeric-drift", NUMPY, "error")]),
        ('severity.components = {libm = "error"}', GLIBC, [("numeric-drift", "os.release", "error")]),
        ('severity.facts = {"os.kernel" = "info"}', {"os.kernel": "7"}, [("identity-drift", "os.kernel", "info")]),
        ('extends = "strict"', STACK, [("performance-drift", "limits.stack", "error")]),
        ('extends = "results-only"', {**STACK, **NEWER_NUMPY}, []),
    ],
)
def test_severity(text: str, changes: dict[str, object], expected: list[tuple[str, str, str]], tmp_path: Path) -> None:
    assert levels(read(text, tmp_path), changes) == expected


def test_results_only_still_fails_for_results() -> None:
    found = levels(BUILT_IN["results-only"], NEWER_NUMPY, operators={"blas": 3})
    assert found == [("results-changed", NUMPY, "error")]


def test_a_component_whose_results_do_not_matter(tmp_path: Path) -> None:
    rules = read('severity.components = {random = "off"}', tmp_path)
    assert levels(rules, {}, operators={"random": 3}) == []
    assert [one[2] for one in levels(rules, {}, operators={"blas": 3})] == ["error"]


# Ranges of versions


def test_a_version_may_move_within_its_range_where_operators_agree(tmp_path: Path) -> None:
    rules = read('extends = "strict"\nversions = {numpy = ">=2.4,<2.5"}', tmp_path)
    assert levels(rules, NEWER_NUMPY) == []
    assert levels(rules, NEWER_NUMPY, operators={"blas": 1}) == [("results-changed", NUMPY, "error")]


@pytest.mark.parametrize(
    ("wanted", "fact"),
    [
        ('numpy = ">=2.5"', NUMPY),
        ('torch = ">=2.5"', "packages.torch.version"),
        ('python = "==3.12.*"', "python.version"),
        ('"gpu.driver" = ">=570"', "gpu.driver"),
    ],
)
def test_what_is_out_of_its_range_fails_though_nothing_changed(wanted: str, fact: str, tmp_path: Path) -> None:
    assert levels(read(f"versions = {{{wanted}}}", tmp_path), {}) == [("version-out-of-range", fact, "error")]


def test_a_version_that_moved_out_of_its_range_is_one_finding(tmp_path: Path) -> None:
    rules = read('versions = {numpy = "<2.4.7"}', tmp_path)
    assert levels(rules, NEWER_NUMPY) == [("version-out-of-range", NUMPY, "error")]


# Tolerances


def test_a_tolerance_needs_values_and_says_so(tmp_path: Path) -> None:
    rules = read("tolerance.components = {libm = {ulp = 2}}", tmp_path)
    found = checked(machine(GLIBC, {"libm": 2}), rules)
    assert found.verdict == "fail"
    assert "give a whole report to --baseline" in found.findings[0].effect


def test_operators_within_a_tolerance_pass(tmp_path: Path) -> None:
    from audit import inputs
    from tests.audit.test_check import HOST, MACHINES

    there = baseline.read(HOST)
    now = inputs.one(str(MACHINES / "host~blas=packages.numpy.version~2.3.json.gz"))[0]
    assert checked(now, Policy(), there).verdict == "fail"
    for text in ("components = {blas = {ulp = 500}}", 'operators = {"blas.*" = {rtol = 1e-3, atol = 1e-3}}'):
        found = checked(now, read(f"tolerance.{text}", tmp_path), there)
        assert (found.verdict, [one.rule for one in found.findings]) == ("pass", ["numeric-drift"]), text
        assert any(line.startswith("tolerance:") for line in found.fine)
    for text in (
        'components = {blas = "bits"}',
        "components = {blas = {rtol = 1e-18}}",
        "components = {libm = {ulp = 500}}",
    ):
        assert checked(now, read(f"tolerance.{text}", tmp_path), there).verdict == "fail", text


def test_a_fact_that_is_a_number_may_be_near(tmp_path: Path) -> None:
    rules = read('tolerance.facts = {"limits.*" = {rtol = 0.1}}', tmp_path)
    assert levels(rules, {"limits.open_files": 19_000}) == []
    assert len(levels(rules, {"limits.open_files": 10_000})) == 1


# Required facts


@pytest.mark.parametrize(
    "fact", ["gpu.kernel_driver", "gpu.*.architecture", "packages.torch.version", "openmp.threads"]
)
def test_what_is_required_and_cannot_be_read_fails(fact: str, tmp_path: Path) -> None:
    found = checked(machine({}), read(f'require = ["{fact}"]', tmp_path))
    assert [(one.rule, one.fact) for one in found.findings] == [("required-unreadable", fact)]
    assert (found.verdict, found.exit) == ("fail", 1)


def test_what_is_required_and_there_is_fine(tmp_path: Path) -> None:
    assert levels(read('require = ["libc.version", "os.kernel"]', tmp_path), {}) == []


# Waivers


def waiver(fact: str, until: datetime.date, more: str = "") -> str:
    return f'[[waivers]]\nfact = "{fact}"\nreason = "CVE fix"\nuntil = {until}\n{more}'


@pytest.mark.parametrize("fact", [NUMPY, "packages.*", "results.blas"])
def test_a_waived_finding_does_not_fail(fact: str, tmp_path: Path) -> None:
    found = checked(machine(NEWER_NUMPY, {"blas": 3}), read(waiver(fact, LATER), tmp_path))
    assert (found.verdict, found.exit, len(found.findings)) == ("pass", 0, 1)
    assert found.findings[0].waived
    assert found.findings[0].waiver == f"until {LATER}: CVE fix ({tmp_path / 'audit.toml'}:1)"


def test_the_last_day_counts_and_the_day_after_does_not(tmp_path: Path) -> None:
    assert levels(read(waiver(NUMPY, TODAY), tmp_path), NEWER_NUMPY) == [("numeric-drift", NUMPY, "waived")]
    found = levels(read(waiver(NUMPY, BEFORE), tmp_path), NEWER_NUMPY)
    assert found == [("numeric-drift", NUMPY, "warning"), ("stale-waiver", NUMPY, "warning")]


def test_a_waiver_that_nothing_needs_is_said(tmp_path: Path) -> None:
    assert levels(read(waiver(NUMPY, LATER), tmp_path), {}) == [("stale-waiver", NUMPY, "info")]


@pytest.mark.parametrize(
    ("more", "waived"),
    [
        ('rule = "numeric-drift"', True),
        ('rule = "results-changed"', False),
        ('now = "2.4.7"', True),
        ('before = "2.4.6"\nnow = "2.4.8"', False),
    ],
)
def test_a_waiver_can_be_of_one_rule_and_one_change(more: str, waived: bool, tmp_path: Path) -> None:
    found = levels(read(waiver(NUMPY, LATER, more), tmp_path), NEWER_NUMPY)
    assert (found[0] == ("numeric-drift", NUMPY, "waived")) is waived


def test_one_waiver_leaves_other_findings(tmp_path: Path) -> None:
    found = levels(read(waiver(NUMPY, LATER), tmp_path), {**NEWER_NUMPY, **FTZ}, operators={"fpu": 9})
    assert found == [("results-changed", "fpu.mxcsr", "error"), ("numeric-drift", NUMPY, "waived")]


def test_a_gap_passes_only_if_just_that_is_waived(tmp_path: Path) -> None:
    gone = {"gpu.driver": None, "gpu.cuda_driver": None}
    assert checked(machine(gone)).exit == 3
    assert checked(machine(gone), read(waiver("gpu.*", LATER), tmp_path)).exit == 0
    for fact in ("gpu.driver", "gpu.cuda_driver", "libc.version"):
        assert checked(machine(gone), read(waiver(fact, LATER), tmp_path)).exit == 3


# Where it is from


def test_extends_lays_one_policy_over_another(tmp_path: Path) -> None:
    (tmp_path / "central").mkdir()
    (tmp_path / "central" / "all.toml").write_text(
        'extends = "strict"\nrequire = ["libc.version"]\nseverity.kinds = {performance = "warning", identity = "off"}\n'
    )
    pin = hashlib.sha256((tmp_path / "central" / "all.toml").read_bytes()).hexdigest()
    for written in ('"central/all.toml"', f'{{path = "central/all.toml", sha256 = "{pin}"}}'):
        found = read(
            f'extends = [{written}]\nrequire = ["os.kernel"]\nseverity.kinds = {{identity = "info"}}', tmp_path
        )
        assert found.require == ("libc.version", "os.kernel")
        assert found.kinds == {"numeric": "error", "performance": "warning", "identity": "info"}
        assert len(found.files) == 2


def test_it_is_found_in_the_project(tmp_path: Path) -> None:
    assert policy.chosen(None, tmp_path) == Policy()
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert policy.chosen(None, tmp_path) == Policy()
    (tmp_path / "pyproject.toml").write_text("[tool.audit]\nrequire = ['libc.version']\n")
    assert policy.chosen(None, tmp_path).require == ("libc.version",)
    (tmp_path / "audit.toml").write_text("[tool.audit]\nrequire = ['os.name']\n")
    assert policy.chosen(None, tmp_path).require == ("os.name",)
    assert policy.chosen("results-only", tmp_path) is BUILT_IN["results-only"]


def test_what_a_policy_speaks_of_is_held(tmp_path: Path) -> None:
    rules = read('severity.facts = {"os.kernel" = "warning"}\nhold = ["cpu.microcode"]', tmp_path)
    facts = next(iter(held(rules.also_held).classes.values())).facts
    assert {"os.kernel", "cpu.microcode"} <= facts.keys()
    assert "os.kernel" not in next(iter(held().classes.values())).facts


def test_what_changes_by_itself_may_be_required(tmp_path: Path) -> None:
    rules = read('require = ["time.load"]', tmp_path)
    assert levels(rules, {}) == []
    assert levels(rules, {"time.load": None}) == [("required-unreadable", "time.load", "error")]


# Mistakes

W = 'fact = "libc.version", reason = "r", until = 2027-01-31'

MISTAKES = {
    "requires = []": ":1: there is no 'requires'; did you mean require?",
    "require = 7": ":1: require is a list of names",
    'require = [\n"libc.versoin"]': ":2: there is no fact 'libc.versoin'; did you mean libc.version?",
    "[severity]\nfact = {}": ":2: there is no 'fact' in severity; did you mean facts?",
    '[severity.facts]\n"libc.*" = "eror"': ":2: severity.facts.libc.*: there is no 'eror'; did you mean error?",
    '[severity.kinds]\nnumerical = "off"': ":2: severity.kinds: there is no 'numerical'; did you mean numeric?",
    'hold = ["os.kernel",\n"time.load"]': ":2: time.load changes by itself, so no baseline holds it",
    '[severity.facts]\n"gpu.0.power" = "error"': ":2: gpu.0.power changes by itself, so no baseline holds it",
    '[severity.kinds]\nvolatile = "error"': ":2: severity.kinds: there is no 'volatile'",
    '[severity.rules]\nvolatile-drift = "error"': ":2: severity.rules: there is no 'volatile-drift'",
    '[severity.rules]\nresult-changed = "off"': "did you mean results-changed?",
    '[severity.components]\nlibn = "off"': ":2: severity.components: there is no 'libn'; did you mean libm?",
    'severity = "strict"': ":1: severity is a table",
    '\n\nversions = {numpy = ">2.4 <3"}': ":3: versions.numpy = '>2.4 <3': no range of versions",
    "versions = {numpy = 2}": ":1: a range of versions is text",
    'versions = {numpy = ""}': "it allows every version",
    "tolerance.components = {libm = {ulps = 2}}": "no 'ulps' in tolerance.components.libm; did you mean ulp?",
    "tolerance.components = {libm = {ulp = 1.5}}": "ulp is a number from 0 without a fraction",
    "tolerance.components = {libm = {rtol = -1.0}}": "rtol is a number from 0",
    "tolerance.components = {libm = {rtol = inf}}": "rtol is a number from 0",
    "tolerance.components = {libm = 2}": 'a tolerance is "bits", or a table such as {ulp = 2}',
    f"waivers = [{{{W}, untill = 1}}]": ":1: a waiver has no 'untill'; did you mean until?",
    'waivers = [{fact = "libc.version", until = 2027-01-31}]': "no reason",
    'waivers = [{fact = "libc.version", reason = "x"}]': "no until",
    'waivers = [\n{fact = "libc.version", reason = "x", until = "soon"}]': ":2: until = 'soon' is no day",
    'waivers = [{fact = "libc.versio", reason = "x", until = 2027-01-31}]': "did you mean libc.version?",
    f'waivers = [{{{W}, rule = "drift"}}]': "there is no rule 'drift'",
    "waivers = 7": ":1: waivers is a list of tables",
    'extends = "stric"': ":1: extends 'stric', which is not there; did you mean strict?",
    'extends = "audit.toml"': "extends itself: ",
    'extends = {path = "audit.toml"}': "sha256 is 64 hexadecimal digits",
    "require = [": ":1: not TOML",
    "a = 1\na = 2": ":2: not TOML: Cannot overwrite a value",
    "tool = {audit = 7}": "[tool.audit] is no table",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_line_with_file_and_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(AuditError) as caught:
        read(text, tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "audit.toml"))
    assert MISTAKES[text] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_circle_of_policies_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "b.toml"')
    (tmp_path / "b.toml").write_text('extends = "c.toml"')
    (tmp_path / "c.toml").write_text('extends = "b.toml"')
    with pytest.raises(AuditError, match=r"c\.toml: extends itself: .*a\.toml -> .*b\.toml -> .*c\.toml -> .*b\.toml"):
        policy.read(tmp_path / "a.toml")


def test_another_policy_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "central.toml").write_text('require = ["os.name"]')
    with pytest.raises(AuditError, match=r"not the policy that .* extends; its sha256 is "):
        read(f'extends = {{path = "central.toml", sha256 = "{"0" * 64}"}}', tmp_path)


def test_every_rule_can_be_explained() -> None:
    assert all(name == name.lower() and " " not in name for name in RULES)
    assert all(catalogue().row(name) for name in TORCH)
