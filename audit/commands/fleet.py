"""`audit fleet`: a report from every node of an engine that is there already, and which nodes give other bits."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from audit.commands.options import FORMATS, seconds
from audit.commands.run import JOBS, count
from probes.session import SECONDS_WITHOUT_PROGRESS

if TYPE_CHECKING:
    from audit.fleet.engine import Engine

AT_ONCE, MOST_AT_ONCE = 64, 128
"""Each takes some of the 1,024 files that a process may usually have open."""

CHUNK = 16
RETESTS = 2
SECONDS_FOR_A_PLACE = 60


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "fleet", help="audit every node of a cluster: which give other bits than their class?"
    )
    engines = command.add_subparsers(dest="engine", metavar="ENGINE", required=True, help="where the nodes are")
    _slurm(engines.add_parser("slurm", help="one srun a node, or batch jobs"))
    _ray(engines.add_parser("ray", help="one task a node of a running Ray cluster"))
    _report(engines.add_parser("report", help="read a folder of reports, whoever gathered them"))


def _slurm(command: argparse.ArgumentParser) -> None:
    which = command.add_mutually_exclusive_group()
    which.add_argument("--nodes", metavar="NODELIST", help="these, as Slurm writes them: gpu[001-117,119]")
    which.add_argument(
        "--partition", metavar="P", help="all nodes of it (default: of the allocation, else of the default partition)"
    )
    command.add_argument("--python", metavar="PYTHON", default="python3", help="the Python there (default: python3)")
    command.add_argument(
        "--srun-option",
        action="append",
        default=[],
        metavar="OPTION",
        help="what srun (or sbatch) is given besides: --srun-option=--account=ml; --srun-option=--oversubscribe: "
        "measure beside other jobs",
    )
    command.add_argument(
        "--batch",
        action="store_true",
        help="submit jobs that go on by themselves; nodes must have DIR, too (re-tests are attached)",
    )
    command.add_argument(
        "--chunk", type=count, default=CHUNK, metavar="N", help=f"with --batch: so many nodes a job (default: {CHUNK})"
    )
    _gathering(command)
    command.set_defaults(execute=execute, start=_start_slurm)


def _ray(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--address", metavar="HOST:PORT", default="auto", help="the cluster (default: RAY_ADDRESS, or the one here)"
    )
    command.add_argument(
        "--python",
        metavar="INTERPRETER",
        help="one that has the cluster's Ray, for the driver (default: the active environment's)",
    )
    command.add_argument(
        "--node-python", metavar="PYTHON", help="the Python to audit on the nodes (default: that of Ray's workers)"
    )
    _gathering(command)
    command.set_defaults(execute=execute, start=_start_ray)


def _report(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", metavar="DIR", help="a folder of reports, with its re-tests")
    command.add_argument(
        "--expect",
        metavar="HOSTS",
        help="who should have reported: a file of labels or ranges (default: DIR/expected.txt)",
    )
    command.add_argument("--allow-edited", action="store_true", help="read reports that were edited after writing")
    _rendering(command)
    command.set_defaults(execute=execute_report)


def _gathering(command: argparse.ArgumentParser) -> None:
    command.add_argument("-o", "--output", required=True, metavar="DIR", help="the folder for the reports, a new one")
    command.add_argument(
        "--at-once", type=_at_once, default=AT_ONCE, metavar="N", help=f"so many nodes at a time (default: {AT_ONCE})"
    )
    command.add_argument("--job", action="append", choices=JOBS, help="what is measured, as audit run has it")
    command.add_argument("--repeat", type=count, default=2, metavar="N", help="fresh runs of everything (default: 2)")
    command.add_argument(
        "--retest",
        type=_whole,
        default=RETESTS,
        metavar="N",
        help=f"measure who gave other bits again so often, every second time on half of the CPUs (default: {RETESTS})",
    )
    command.add_argument(
        "--limit",
        type=seconds,
        default=SECONDS_WITHOUT_PROGRESS,
        metavar="SECONDS",
        help=f"give a node up that shows no progress for so long (default: {SECONDS_WITHOUT_PROGRESS:.0f})",
    )
    command.add_argument(
        "--wait",
        type=_whole,
        default=SECONDS_FOR_A_PLACE,
        metavar="SECONDS",
        help=f"how much longer a busy node may take to begin (default: {SECONDS_FOR_A_PLACE})",
    )
    command.add_argument("--dry-run", action="store_true", help="print what would be started, and start nothing")
    _rendering(command)


def _rendering(command: argparse.ArgumentParser) -> None:
    command.add_argument("--all", action="store_true", help="every node of every list")
    command.add_argument("--format", choices=FORMATS, default="terminal", help="how to show it (default: terminal)")
    command.add_argument(
        "--quiet", action="store_true", help="no progress and no answer; the exit status is the answer"
    )


def _at_once(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MOST_AT_ONCE:
        raise argparse.ArgumentTypeError(f"from 1 to {MOST_AT_ONCE}")
    return number


def _whole(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 86400:
        raise argparse.ArgumentTypeError("from 0 to 86400")
    return number


def execute(options: argparse.Namespace) -> int:
    from audit.fleet import auditing

    return auditing.run(options.start(options), options)


def execute_report(options: argparse.Namespace) -> int:
    from audit.fleet import auditing

    return auditing.read(options)


def _start_slurm(options: argparse.Namespace) -> Engine:
    from audit.fleet import slurm
    from audit.fleet.gather import patience

    limit = patience(options.limit)
    asked = slurm.Asked(options.nodes, options.partition, options.python, limit, options.wait, options.srun_option)
    return slurm.Slurm(asked)


def _start_ray(options: argparse.Namespace) -> Engine:
    from audit.fleet import ray
    from audit.fleet.gather import patience
    from audit.targets.prefix import find_python

    python = find_python(options.python)[0]
    return ray.Ray(ray.Asked(options.address, python, options.node_python, patience(options.limit), options.wait))
