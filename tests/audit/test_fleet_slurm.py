"""`audit fleet slurm` on a real Slurm of three nodes, which are processes of this machine. A script in the place of the
interpreter sees by SLURMD_NODENAME which of them it is on."""

from __future__ import annotations

import calendar
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reports import codec
from tests.slurm import DOWN, NODES, Slurm, missing

pytestmark = pytest.mark.slurm

QEMU = "qemu-x86_64-static"


@pytest.fixture(scope="module")
def slurm(lacking: Callable[[str], None]) -> Iterator[Slurm]:
    why = missing()
    if why:
        lacking(why)
    folder = Path(tempfile.mkdtemp(prefix="audit-slurm-"))
    folder.chmod(0o755)  # munge is another user
    try:
        with Slurm(folder) as one:
            yield one
    finally:
        shutil.rmtree(folder)


class Fleet:
    """Runs `audit fleet slurm` into a new folder."""

    def __init__(self, slurm: Slurm, folder: Path) -> None:
        self.slurm = slurm
        self.folder = folder
        self.out = folder / "nodes"

    def python(self, **of: str) -> str:
        """A script that does something else on the nodes named, before or instead of being the interpreter."""
        cases = "".join(f"{name}) {what} ;;\n" for name, what in of.items())
        path = self.folder / "python3"
        path.write_text(f'#!/bin/sh\ncase "$SLURMD_NODENAME" in\n{cases}esac\nexec "{sys.executable}" "$@"\n')
        path.chmod(0o755)
        return str(path)

    def command(self, *options: str, python: str = sys.executable) -> list[str]:
        audit = [sys.executable, "-m", "audit", "fleet", "slurm", "-o", str(self.out), "--python", python]
        return [*audit, *options]

    def run(self, *options: str, python: str = sys.executable, before: tuple[str, ...] = ()) -> Any:
        return subprocess.run(
            [*before, *self.command(*options, python=python)],
            env=self.slurm.environment, capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    def reports(self, folder: str = "") -> list[str]:
        """Whose reports there are; each is a valid one of that label."""
        labels = []
        for path in sorted((self.out / folder).glob("*.json")):
            if path.name != "failed.json":
                labels.append(codec.read(str(path))[0].label)
                assert path.name == f"{labels[-1]}.json"
        return labels

    @property
    def failed(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.out / "failed.json").read_text())
        return found


@pytest.fixture
def fleet(slurm: Slurm, tmp_path: Path) -> Iterator[Fleet]:
    yield Fleet(slurm, tmp_path)
    for _ in range(100):  # a job that has ended may complete for a moment
        if not slurm.jobs():
            break
        time.sleep(0.1)
    assert slurm.jobs() == []


FACTS = ("--job", "none", "--retest", "0")


@pytest.mark.emulated
def test_one_node_of_another_cpu_is_named_with_the_root(fleet: Fleet) -> None:
    if not shutil.which(QEMU):
        pytest.skip(f"no {QEMU}")
    python = fleet.python(n3=f'exec {QEMU} -cpu Haswell "{sys.executable}" "$@"')
    done = fleet.run("--job", "operators", "--repeat", "1", "--retest", "1", "--format", "json", python=python)
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    (one,) = told["classes"]
    assert one["reference"] == ["n1", "n2"]
    (outlier,) = one["outliers"]
    assert outlier["labels"] == ["n3"]
    assert outlier["verdict"] == "confirmed"
    assert outlier["root"].startswith("cpu.")
    assert fleet.reports() == list(NODES)
    assert set(fleet.reports("retests/1")) > {"n3"}


def test_a_report_is_as_one_of_audit_run(fleet: Fleet) -> None:
    done = fleet.run("--nodes", "n[1-2]", "--job", "operators", "--repeat", "2")
    assert fleet.reports() == ["n1", "n2"]
    assert done.returncode == 0, done.stdout + done.stderr
    report = codec.read(str(fleet.out / "n2.json"))[0]
    (target,) = report.targets
    assert (target.name, target.via, target.chosen) == ("host", "srun", "as --python says")
    assert target.battery
    assert target.battery.runs == 2
    assert target.facts["limits.affinity"].value == len(os.sched_getaffinity(0))
    assert (fleet.out / "expected.txt").read_text() == "n1\nn2\n"
    assert "2 of 2 reports; all agree" in done.stderr


def test_a_node_that_is_down_is_not_waited_for(fleet: Fleet) -> None:
    fleet.slurm.ask("scontrol", "update", f"nodename={DOWN}", "state=down", "reason=a fan is broken")
    done = fleet.run("--nodes", f"n1,{DOWN},n9", *FACTS)
    assert done.returncode == 3, done.stderr
    assert fleet.reports() == ["n1"]
    failed = {label: why.replace("*", "") for label, why in fleet.failed.items()}  # *: it has not answered for long
    assert failed == {DOWN: "down (a fan is broken)", "n9": "Slurm knows no such node"}


def test_what_befalls_a_node_costs_its_own_report(fleet: Fleet) -> None:
    """One hangs, one dies, and one prints what nobody asked for."""
    python = fleet.python(n1='printf "welcome\\naudit-0000 {}"', n2="kill -9 $$", n3="sleep 1234")
    done = fleet.run("--limit", "3", "--wait", "5", *FACTS, python=python)
    assert done.returncode == 3, done.stderr
    assert fleet.reports() == ["n1"]
    assert fleet.failed == {"n2": "SIGKILL", "n3": "no progress for 8 s"}
    assert "1 of 3 reports, 2 failed" in done.stderr
    assert subprocess.run(["pgrep", "-f", "sleep 1234"], capture_output=True, check=False).returncode == 1


def test_a_full_disk_and_a_wrong_clock_cost_nothing(fleet: Fleet) -> None:
    """Nothing is written on a node, and the time of a report is that of the machine which writes it."""
    site = fleet.folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import time\ntime.time = lambda: 0.0\ntime.gmtime = lambda *_: (1970,) * 9\n"
    )
    python = fleet.python(n1="ulimit -f 0", n2=f"export PYTHONPATH={site}")
    before = time.time()
    done = fleet.run("--nodes", "n[1-2]", "--job", "operators", "--repeat", "1", python=python)
    assert done.returncode == 0, done.stdout + done.stderr
    created = codec.read(str(fleet.out / "n2.json"))[0].created
    assert before - 1 <= calendar.timegm(time.strptime(created, "%Y-%m-%dT%H:%M:%SZ")) <= time.time()


def test_a_node_without_a_python(fleet: Fleet) -> None:
    done = fleet.run("--nodes", "n1", *FACTS, python="/no/where/python3")
    assert fleet.failed == {"n1": "it has no python3"}
    assert done.returncode == 3
    assert re.search("^n1: it has no python3; it said: .", done.stderr, re.MULTILINE)


def test_a_job_that_slurm_refuses(fleet: Fleet) -> None:
    done = fleet.run("--nodes", "n1", "--srun-option=--partition=nowhere", *FACTS)
    assert done.returncode == 3, done.stderr
    assert fleet.failed == {"n1": "Slurm refused its job"}
    assert "n1: Slurm refused its job; it said: srun: error: " in done.stderr
    shutil.rmtree(fleet.out)
    done = fleet.run("--nodes", "n1", "--batch", "--srun-option=--partition=nowhere", *FACTS)
    assert done.returncode == 2
    assert done.stderr.startswith("audit fleet: sbatch: ")


def test_a_busy_node_is_waited_for_so_long(fleet: Fleet) -> None:
    """What it waits beside is another job's."""
    other = subprocess.Popen(["srun", "-n1", "-w", "n2", "--exclusive", "sleep", "1000"], env=fleet.slurm.environment)
    try:
        while not fleet.slurm.ask("squeue", "--noheader", "--states=RUNNING").strip():
            time.sleep(0.1)
        done = fleet.run("--nodes", "n[1-2]", "--wait", "5", *FACTS)
    finally:
        other.terminate()
        other.wait()
    assert done.returncode == 3, done.stderr
    assert fleet.failed == {"n2": "busy: it had no place within 5 s"}
    assert fleet.reports() == ["n1"]


def test_a_job_that_slurm_ends(fleet: Fleet) -> None:
    python = fleet.python(n2="sleep 1239")
    process = subprocess.Popen(
        fleet.command("--nodes", "n[1-2]", *FACTS, python=python),
        env=fleet.slurm.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not (fleet.out / "n1.json").exists() and process.poll() is None:
        time.sleep(0.1)
    fleet.slurm.ask("scancel", "--nodelist=n2")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 3
    assert fleet.failed == {"n2": "its job was cancelled"}, errors


def test_a_disk_that_is_full_ends_it(fleet: Fleet) -> None:
    """Here, where reports are written: a limit on the size of files stands for the disk."""
    done = fleet.run("--job", "operators", before=("sh", "-c", 'ulimit -f 160; exec "$@"', "sh"))
    assert (done.returncode, done.stdout) == (2, "")
    *_, last = done.stderr.splitlines()
    assert last == f"audit fleet: cannot write {fleet.out}/{last.split('/')[-1].split(':')[0]}: File too large; " + (
        "name another file with -o"
    )
    assert fleet.reports() == []


def test_ctrl_c_ends_the_steps_and_keeps_what_arrived(fleet: Fleet) -> None:
    python = fleet.python(n2="sleep 1235", n3="sleep 1235")
    process = subprocess.Popen(
        fleet.command(*FACTS, python=python),
        env=fleet.slurm.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not (fleet.out / "n1.json").exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (3, "")
    assert errors.splitlines()[-1] == (
        f"audit fleet: interrupted; 1 of 3 reports kept; read them: audit fleet report {fleet.out}"
    )
    assert fleet.failed == dict.fromkeys(("n2", "n3"), "interrupted before it had sent its report")
    assert subprocess.run(["pgrep", "-f", "sleep 1235"], capture_output=True, check=False).returncode == 1


def test_inside_an_allocation_each_is_a_step_of_it(fleet: Fleet) -> None:
    done = fleet.run(*FACTS, before=("salloc", "--quiet", "--nodelist=n[1-2]", "--exclusive"))
    assert fleet.reports() == ["n1", "n2"], done.stderr
    outside = fleet.run("--nodes", "n3", "--dry-run", before=("salloc", "--quiet", "--nodelist=n[1-2]"))
    assert re.search(r"n3: not in this allocation \(job \d+\)", outside.stderr)


def normalised(text: str, fleet: Fleet) -> str:
    text = text.replace(str(fleet.out), "DIR").replace(sys.executable, "PYTHON")
    return re.sub(r"audit-[0-9a-f]{8}", "audit-TOKEN", text)


def test_a_dry_run_shows_the_commands(fleet: Fleet, golden: Callable[[str, str], None]) -> None:
    done = fleet.run("--partition", "all", "--srun-option=--account=my project", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"{DOWN}: ")
    golden("fleet slurm dry run.txt", normalised(done.stdout, fleet))
    assert not fleet.out.exists()


def test_a_dry_run_shows_the_scripts(fleet: Fleet, golden: Callable[[str, str], None]) -> None:
    done = fleet.run("--batch", "--chunk", "2", "--job", "operators", "--dry-run")
    assert done.returncode == 0, done.stderr
    golden("fleet slurm batch.txt", normalised(done.stdout, fleet))
    assert not fleet.out.exists()


def test_jobs_that_are_submitted_write_the_same_folder(fleet: Fleet) -> None:
    python = fleet.python(n2="kill -9 $$")
    done = fleet.run("--batch", "--chunk", "2", *FACTS, python=python)
    assert fleet.reports() == ["n1", "n3"], done.stderr
    assert fleet.failed == {"n2": "its job ended without a report of it; see batch/1.log"}
    assert done.returncode == 3
    assert "Killed" in (fleet.out / "batch" / "1.log").read_text()


def test_ctrl_c_leaves_submitted_jobs(fleet: Fleet) -> None:
    python = fleet.python(n1="sleep 5")
    process = subprocess.Popen(
        fleet.command("--batch", "--nodes", "n[1-2]", *FACTS, python=python),
        env=fleet.slurm.environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not (fleet.out / "n2.json").exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 3
    assert re.search(r"interrupted; . of 2 reports kept; jobs go on \(squeue --name=audit-\w+-batch\)", errors)
    assert len(fleet.slurm.jobs()) == 1
    while not (fleet.out / "n1.json").exists():
        time.sleep(0.1)
    read = subprocess.run(
        [sys.executable, "-m", "audit", "fleet", "report", str(fleet.out)], capture_output=True, text=True, check=False
    )
    assert read.returncode in (0, 3), read.stderr
    assert fleet.reports() == ["n1", "n2"]


def test_a_folder_with_reports_is_not_written_over(fleet: Fleet) -> None:
    fleet.out.mkdir()
    (fleet.out / "n1.json").write_text("{}")
    done = fleet.run(*FACTS)
    assert (done.returncode, done.stdout) == (2, "")
    held = "it holds reports already; name another folder, or read them: audit fleet report"
    assert done.stderr == f"audit fleet: {fleet.out}: {held} {fleet.out}\n"


def test_a_folder_that_cannot_be_written_is_said_before_anything_starts(fleet: Fleet) -> None:
    fleet.out.write_text("a file")
    done = fleet.run(*FACTS)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "cannot write" in done.stderr
