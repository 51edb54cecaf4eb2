"""`python3 probes.pyz -o node.json`: a full report from one file, with nothing installed and no network.

Each child is a fork of this process, taken before any framework is loaded: a new process of `sys.executable` would
leave an emulator or a container wrapper that this one runs under.
"""

import argparse
import json
import os
import sys
from typing import Any, Dict, Iterator, List, Optional

from . import VERSION, assemble, child, session
from .jobs import NAMES

TOKEN = "audit"


def main(arguments: Optional[List[str]] = None) -> int:
    """Measure, write the report, say in one line what was done. Exit status as DESIGN section 7."""
    parser = argparse.ArgumentParser(prog="probes.pyz", description="Write a full audit report of this interpreter.")
    parser.add_argument("-o", "--output", metavar="FILE", help="the report (default: LABEL.json)")
    parser.add_argument("--label", metavar="NAME", help="the machine's name in comparisons (default: machine-<digest>)")
    parser.add_argument("--job", action="append", choices=("auto", "none", "operators", *NAMES), help="what to measure")
    parser.add_argument("--repeat", type=int, default=2, metavar="N", help="fresh runs of everything (default: 2)")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args(arguments)
    if not hasattr(os, "fork"):
        print("probes.pyz: this system has no fork; install the auditor and use audit run", file=sys.stderr)
        return 2
    label = options.label or assemble.default_label()
    path = options.output or assemble.file_name(label)
    try:
        target = session.capture(
            session.plan(options.job or ["auto"], max(1, options.repeat)), launch, _notify(options.quiet)
        )
    except session.Died as death:
        print("probes.pyz: the interpreter cannot run the probes: {}".format(death), file=sys.stderr)
        return 2
    target = dict({"name": "host", "interpreter": sys.executable and os.path.basename(sys.executable)}, **target)
    whole = assemble.report(label, [target], {"version": "bundle", "bundle": str(VERSION)})
    try:
        assemble.write(path, assemble.to_text(whole))
    except OSError as error:
        print("probes.pyz: cannot write {}: {}".format(path, error.strerror), file=sys.stderr)
        return 2
    for missing in target.get("incomplete", []):
        print("probes.pyz: incomplete: {}".format(missing), file=sys.stderr)
    print("Saved {} ({} kB). Compare it: audit diff {} OTHER.json".format(path, os.path.getsize(path) // 1000, path))
    return 3 if target.get("incomplete") else 0


def launch(request: session.Request) -> Iterator[session.Record]:
    """Serve one request in a fork. Raises Died if it ends without its last record."""
    sys.stdout.flush()
    sys.stderr.flush()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _serve(request, read, write)
    os.close(write)
    ended = False
    try:
        with os.fdopen(read, "rb") as stream:
            for line in stream:
                if line.startswith(TOKEN.encode() + b" "):
                    record: Dict[str, Any] = json.loads(line[len(TOKEN) + 1 :].decode("ascii"))
                    ended = "end" in record
                    yield record
    finally:
        _, status = os.waitpid(pid, 0)
    if not ended:
        raise session.Died(
            "failed", session.death(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
        )


def _serve(request: session.Request, read: int, write: int) -> None:
    """The forked side; it never returns."""
    status = 1
    try:
        os.close(read)
        os.dup2(2, 1)
        child.serve(request, child.framed(TOKEN, write))
        status = 0
    finally:
        os._exit(status)


def _notify(quiet: bool) -> session.Notify:
    state = {"words": ""}

    def notify(words: str, done: int, total: int) -> None:
        if not quiet and words != state["words"]:
            state["words"] = words
            print(words, file=sys.stderr)

    return notify


if __name__ == "__main__":
    sys.exit(main())
