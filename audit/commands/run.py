"""`audit run`: measure this machine, or the one that a prefix reaches, and write the report."""

from __future__ import annotations

import argparse

from audit.commands.options import FORMATS, add_target
from probes.jobs import NAMES
from probes.program.options import add_program

JOBS = ("auto", "none", "operators", *NAMES)


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("run", help="measure a machine and write its report")
    command.add_argument(
        "-o",
        "--output",
        metavar="FILE|DIR/",
        help="the report, or the folder that reports are gathered in: DIR/LABEL.json (default: LABEL.json)",
    )
    command.add_argument(
        "--label",
        metavar="NAME",
        help="the machine's name in comparisons (default: machine-<digest>; in a folder under Slurm: the node's name)",
    )
    add_target(command)
    command.add_argument(
        "--container",
        action="append",
        default=[],
        metavar="IMAGE",
        help="audit this image too, beside the host (or FILE.sif)",
    )
    command.add_argument(
        "--exec", action="append", default=[], metavar="CONTAINER", help="audit this running container too"
    )
    command.add_argument(
        "--dockerfile", action="append", default=[], metavar="DIR", help="build this recipe, twice, and audit its image"
    )
    command.add_argument("--container-python", metavar="PYTHON", help="the interpreter in containers (default: found)")
    command.add_argument("--pull", action="store_true", help="pull images that the engine does not have")
    command.add_argument(
        "--job",
        action="append",
        choices=JOBS,
        help="auto: all that this Python can run (default; with COMMAND: operators); none: facts only; "
        "operators: facts and battery; or one job",
    )
    command.add_argument(
        "--repeat", type=count, metavar="N", help="fresh runs of everything (default: 2; with COMMAND: 1)"
    )
    command.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: run the jobs on a GPU, too")
    command.add_argument(
        "--deterministic", action="store_true", help="operators and jobs use torch's deterministic algorithms"
    )
    command.add_argument("--whole-step", type=_step, metavar="N", help="keep every value of step N, for audit diff")
    command.add_argument(
        "--partial", action="store_true", help="keep what was measured when it is interrupted (exit status 3)"
    )
    command.add_argument("--verify", action="store_true", help="check installed packages against their RECORD")
    command.add_argument("--format", choices=FORMATS, default="terminal", help="of the summary")
    command.add_argument("--quiet", action="store_true", help="no progress and no summary")
    add_program(command)
    command.set_defaults(execute=execute)


def count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("from 1 to 1000")
    return number


def _step(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("a step is counted from 0")
    return number


def execute(options: argparse.Namespace) -> int:
    from audit.running import run

    return run(options)
