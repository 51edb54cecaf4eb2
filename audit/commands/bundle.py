"""`audit bundle`: the probes as one file, for a machine where nothing can be installed."""

from __future__ import annotations

import argparse

from audit.commands.options import writing
from audit.errors import SAME


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("bundle", help="write the probes as one file that any Python 3.8+ runs offline")
    command.add_argument("-o", "--output", metavar="FILE", default="probes.pyz", help="the file (default: probes.pyz)")
    command.add_argument("--quiet", action="store_true", help="print nothing")
    command.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    from audit.targets import bundle
    from probes import assemble

    content = bundle.pyz()
    with writing(options.output, "-o"):
        assemble.write_bytes(options.output, content)
    if not options.quiet:
        print(f"Saved {options.output} ({len(content) // 1000} kB). On the other machine, nothing installed:")
        print(f"python3 {options.output} -o node.json")
    return SAME
