"""What `audit fleet` says while reports arrive, and what it makes of what engines say; the engines themselves are in
`test_fleet_slurm.py` and `test_fleet_ray.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from audit import inputs
from audit.cli import main
from audit.compare.side import Outline
from audit.errors import TargetError
from audit.fleet.auditing import _half
from audit.fleet.engine import Engine, Node
from audit.fleet.gather import Gathered, Shown, gather, request, summary
from audit.fleet.ray import labelled
from audit.fleet.slurm import Asked, Slurm
from audit.progress import Progress
from audit.targets.prefix import PrefixTarget
from audit.targets.target import NotPython
from probes.session import Died
from reports import codec

MACHINES = Path(__file__).parent.parent.parent / "fixtures" / "machines"
KERNEL, CPU = "host~blas=variables.OPENBLAS_CORETYPE", "host~blas+numpy=cpu.model~haswell"


def gathered(*nodes: tuple[str, str]) -> Gathered:
    found = Gathered()
    for label, name in nodes:
        outline: Outline = inputs.one(str(MACHINES / f"{name}.json.gz"))[0].outline
        found.add(msgspec.structs.replace(outline, label=label))
    return found


def test_the_summary_while_reports_arrive() -> None:
    usual = [(f"gpu{number:03}", "host") for number in range(1, 6)]
    assert summary(gathered(), 500) == "0 of 500 reports"
    assert summary(gathered(usual[0]), 500) == "1 of 500 reports"
    assert summary(gathered(usual[0], ("gpu017", KERNEL)), 2) == "2 of 2 reports; no two agree"
    assert summary(gathered(*usual), 1500) == "5 of 1,500 reports; all agree"
    found = gathered(*usual, ("gpu017", KERNEL), ("gpu201", CPU), ("gpu202", CPU))
    found.failed = {"gpu400": "its job was cancelled"}
    assert summary(found, 500) == "8 of 500 reports, 1 failed; 3 groups: 5 agree, gpu[201-202], gpu017"


def test_what_is_kept_of_equal_reports_is_kept_once() -> None:
    one, other = gathered(("a", "host"), ("b", "host")).outlines
    assert one.operators is other.operators
    assert not one.facts


# -- nodes that are this machine's own processes ---------------------------------------------------------------------


class Local(Engine):
    """Each node is a script of this machine. It reads what a child is sent, and may be the interpreter in the end."""

    via, python, chosen = "sh", "python3", "as the test says"

    def __init__(self, folder: Path, **scripts: str) -> None:
        self.folder = folder
        self.scripts = scripts

    def nodes(self) -> list[Node]:
        return [Node(name, name) for name in self.scripts]

    def target(self, node: Node) -> PrefixTarget:
        path = self.folder / node.name
        path.write_text(f"#!/bin/sh\n{self.scripts[node.name]}\nexec '{sys.executable}' \"$@\"\n")
        path.chmod(0o755)
        target = PrefixTarget([], str(path), 5)
        target.queue = 3
        return target

    def shown(self, nodes: list[Node]) -> str:
        return ""

    def close(self) -> None:
        pass


ANSWER = """import re, sys
token = re.search("audit-[0-9a-f]{16}", sys.stdin.read()).group()
for record in (sys.argv[1], '{"end": 0}'):
    print("\\n" + token, record)
"""
"""A node that sends a record of its own."""


def round_of(engine: Local, folder: Path, at_once: int = 4) -> Gathered:
    with Progress(quiet=True) as progress:
        nodes = engine.nodes()
        return gather(engine, nodes, request(["none"], 1, 5), str(folder), at_once, Shown(progress, len(nodes)))


def test_what_a_node_sends_costs_only_its_own_report(tmp_path: Path) -> None:
    (tmp_path / "answer.py").write_text(ANSWER)

    def sent(record: str) -> str:
        return f"exec '{sys.executable}' '{tmp_path}/answer.py' '{record}'"

    engine = Local(
        tmp_path,
        well="",
        a_list=sent('{"target": [1]}'),
        no_report=sent('{"target": {"facts": 7}}'),
        another_name=sent('{"target": {"name": "../../x", "via": "me", "facts": {}}}'),
        nothing=sent("{}"),
        died=sent('{"died": {"status": "failed", "reason": "it sent no facts"}}'),
        died_oddly=sent('{"died": 7}'),
        old=sent('{"too_old": "3.6.8"}'),
    )
    out = tmp_path / "nodes"
    out.mkdir()
    found = round_of(engine, out)
    assert sorted(path.name for path in out.iterdir()) == ["another_name.json", "well.json"]
    assert codec.read(str(out / "another_name.json"))[0].targets[0].name == "host"
    assert found.failed.keys() == engine.scripts.keys() - {"well", "another_name"}
    assert found.failed["a_list"] == found.failed["nothing"] == "it sent no report"
    assert found.failed["died"] == "it sent no facts"
    assert found.failed["died_oddly"] == "unexpected AttributeError"
    assert "Python 3.6.8; the probes need 3.8" in found.failed["old"]


def test_a_node_may_wait_for_its_place_besides_its_limit(tmp_path: Path) -> None:
    out = tmp_path / "nodes"
    out.mkdir()
    found = round_of(Local(tmp_path, slow="sleep 6", hung="sleep 600"), out)
    assert (found.failed, [path.name for path in out.iterdir()]) == ({"hung": "no progress for 5 s"}, ["slow.json"])


def test_the_rounds_alternate_between_the_whole_machine_and_its_halves() -> None:
    assert [_half(number) for number in range(1, 8)] == [None, 1, None, 2, None, 1, None]


SLURM = Slurm(Asked(None, None, "/opt/python3.12", 120, 60), {})


NOT_STARTED, OLD = NotPython("", "exit status 1"), "its python3.12 is Python 3.6.8; the probes need 3.8 or newer"
TIME = "its job reached Slurm's time limit"
REFUSED = "srun: error: Unable to allocate resources: "


@pytest.mark.parametrize(
    ("error", "said", "why"),
    [
        (NOT_STARTED, f"{REFUSED}Requested nodes are busy", "busy: it had no place within 60 s"),
        (NOT_STARTED, f"{REFUSED}Access/permission denied", "Slurm refused its job"),
        (NOT_STARTED, "execve(): python3.12: No such file or directory", "it has no python3.12"),
        (NOT_STARTED, "Welcome to n1", "exit status 1"),
        (Died("failed", "exit status 1"), "srun: error: Node failure on n1", "Slurm lost the node"),
        (Died("failed", "SIGTERM"), "*** STEP 1.0 ON n1 CANCELLED AT 10:00 DUE TO TIME LIMIT ***", TIME),
        (Died("failed", "SIGSEGV"), "my secret path: No such file or directory", "SIGSEGV"),
        (TargetError(OLD), "", OLD),
    ],
)
def test_why_slurm_has_no_report(error: Exception, said: str, why: str) -> None:
    assert SLURM.why(error, said) == why


@pytest.mark.parametrize(
    ("state", "lost"),
    [
        ("idle", ""), ("mixed", ""), ("allocated+", ""), ("completing", ""), ("idle~", ""), ("planned", ""),
        ("idle*", "idle*"), ("down* (Not responding)", "down* (Not responding)"),
        ("drained (a fan)", "drained (a fan)"), ("unknown", "unknown"), ("maint", "maint"),
    ],
)  # fmt: skip
def test_which_states_take_a_job(state: str, lost: str) -> None:
    assert SLURM._lost("n1", {"n1": state}, {"n1"}) == lost


def test_nodes_of_one_name_are_told_apart() -> None:
    told = [("192.0.2.7", "aaaaaaaa11"), ("gpu/01", "bb"), ("192.0.2.7", "aaaaaaab22")]
    nodes = labelled([{"name": name, "id": number} for name, number in told])
    assert nodes == [
        Node("192.0.2.7-aaaaaaaa", "aaaaaaaa11"), Node("192.0.2.7-aaaaaaab", "aaaaaaab22"), Node("gpu-01", "bb")
    ]  # fmt: skip


def test_an_engine_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["fleet", "slurm", "-o", str(tmp_path / "nodes")]) == 2
    assert capsys.readouterr().err == "audit fleet: no sinfo on this machine; run it where Slurm's commands are\n"
    assert not (tmp_path / "nodes").exists()


@pytest.mark.parametrize("content", ['{"n1": 1}', "[", "[]", '{"n1": "\\udcff'])
def test_a_table_of_failures_that_is_none(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "failed.json").write_text(content)
    assert main(["fleet", "report", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"audit fleet: {tmp_path}/failed.json: not what audit fleet writes: labels, each with why it has no report\n"
    )
