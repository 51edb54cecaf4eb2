"""`python3 probes.pyz -o node.json`: a full report from one file, with nothing installed and no network.

Each child is a fork of this process, taken before any framework is loaded: a new process of `sys.executable` would
leave an emulator or a container wrapper that this one runs under.
"""

import argparse
import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

from . import VERSION, assemble, child, interrupts, orphans, session, streams
from .jobs import NAMES
from .program import command
from .program.options import Unfit, add_program, program

_MARK = b"audit "


def run(arguments: Optional[List[str]] = None) -> int:
    """Measure, write the report, say in one line what was done. Exit status as DESIGN section 7."""
    options = _options(arguments)
    if not hasattr(os, "fork"):
        return _refuse("this system has no fork; install the auditor and use audit run")
    interrupts.hold()  # signals are taken up while something is measured or waits for a reader; all else is short
    label, path = assemble.place(options.output, options.label)
    try:
        own = program(options, "probes.pyz")
        if own and command.located(list(own.command)).missing:
            return _refuse("cannot start {}: {}".format(own.command[0], command.located(list(own.command)).missing))
        assemble.check_writable(path, make=(options.output or "").endswith("/"))
        target = _capture(options, own)
        target = dict({"name": "host", "interpreter": os.path.basename(sys.executable or "")}, **target)
        whole = assemble.report(label, [target], {"version": "bundle", "bundle": str(VERSION)})
        size = assemble.write(path, assemble.to_text(whole))
    except Unfit as error:
        return _refuse(str(error))
    except session.Died as death:
        return _refuse("this Python cannot run the probes: {}".format(death))
    except KeyboardInterrupt:
        hint = "before anything was measured" if options.partial else "--partial keeps what was measured"
        return _refuse("interrupted; nothing was written ({})".format(hint))
    except OSError as error:
        return _refuse("cannot write {}: {}; name another file with -o".format(path, error.strerror or error))
    for missing in target.get("incomplete", []):
        streams.say("probes.pyz: incomplete: {}".format(missing))
    compare = options.output if options.output and path != options.output else path + " OTHER.json"
    try:
        streams.show("Saved {} ({} kB). Compare it: audit diff {}\n".format(path, size // 1000, compare))
    except OSError as error:
        return _refuse("saved {}, but cannot print that: {}".format(path, error.strerror or error))
    return 3 if target.get("incomplete") else 0


def _options(arguments: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="probes.pyz", description="Write a full audit report of this interpreter.")
    parser.add_argument(
        "-o", "--output", metavar="FILE|DIR/", help="the report, or the folder for it (default: LABEL.json)"
    )
    parser.add_argument(
        "--label",
        metavar="NAME",
        help="the machine's name in comparisons (default: machine-<digest>; in a folder under Slurm: the node's name)",
    )
    parser.add_argument("--job", action="append", choices=("auto", "none", "operators", *NAMES), help="what to measure")
    parser.add_argument(
        "--repeat", type=int, metavar="N", help="fresh runs of everything (default: 2; with COMMAND: 1)"
    )
    parser.add_argument(
        "--partial", action="store_true", help="keep what was measured when it is interrupted (exit status 3)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    add_program(parser)
    return parser.parse_args(arguments)


def _refuse(words: str) -> int:
    streams.say("probes.pyz: " + words)
    return 2


def _capture(options: argparse.Namespace, own: Optional[session.Program]) -> Dict[str, Any]:
    jobs = options.job or (["operators"] if own else ["auto"])
    repeat = max(1, options.repeat or (1 if own else 2))
    wanted = session.plan(jobs, repeat, partial=options.partial, program=own)
    with orphans.ended():
        return session.capture(wanted, launch, _notify(options.quiet))


def _notify(quiet: bool) -> session.Notify:
    state = {"words": ""}

    def notify(words: str, done: int, total: int) -> None:
        if not quiet and words != state["words"]:
            state["words"] = words
            streams.say(words)

    return notify


def launch(request: session.Request, limit: Optional[float] = None) -> Iterator[session.Record]:
    """Serve one request in a fork. limit: how many seconds it may be silent (default: as everywhere). Raises Died if it
    ends or falls silent before its last record."""
    with interrupts.held():  # no signal may come between a start and its end
        with contextlib.suppress(OSError, AttributeError):
            sys.stdout.flush()
        child = _fork(request, limit or session.SECONDS_WITHOUT_PROGRESS)
        try:
            if request["work"] == "program":  # a signal first asks it to end: it tells what it has
                yield from _records(child)
            else:
                with interrupts.allowed():
                    yield from _records(child)
            return
        except EOFError:
            pass
        finally:
            status = _end(child.pid)
            os.close(child.records)
            os.close(child.line)
        raise session.Died("failed", session.death(status))


class _Child(NamedTuple):
    """A fork: its process number, where its records come, the other end of its line (`program/launch.py`), and how many
    seconds it may be silent."""

    pid: int
    records: int
    line: int
    limit: float


def _fork(request: session.Request, limit: float) -> _Child:
    """Start a child. Raises Died if there can be none."""
    try:
        read, write = os.pipe()
        end, line = os.pipe()
        pid = os.fork()
    except OSError as error:
        why = "no process can be started: {}; a limit may be reached (ulimit -a shows them)".format(error.strerror)
        raise session.Died("failed", why) from None
    if pid == 0:
        os.close(read)
        os.close(line)
        _serve(request, write, end)
    os.close(write)
    os.close(end)
    return _Child(pid, read, line, limit)


def _records(child: _Child) -> Iterator[session.Record]:
    """What it sends, its last record the last. Raises EOFError if it ends before that, Died if it is silent."""
    for line in _lines(child):
        record: session.Record = json.loads(line.decode("ascii"))
        yield record
        if "end" in record:
            return
    raise EOFError


def _lines(child: _Child) -> Iterator[bytes]:
    """What follows the mark of each record's line, until the child closes its end. Raises Died if it is silent. Where
    signals are held, the first asks the child to end its work, and the second raises KeyboardInterrupt."""
    buffer = b""
    asked = False
    while True:
        try:
            with interrupts.allowed():
                ready, _, _ = select.select([child.records], [], [], child.limit)
        except KeyboardInterrupt:
            if asked or not interrupts.holding():
                raise
            asked = True
            streams.say("\n" + session.ENDING)
            os.write(child.line, b"\n")
            continue
        if not ready:
            raise session.Died("timeout", "no progress for {:.0f} s".format(child.limit))
        data = os.read(child.records, 1 << 20)
        if not data:
            return
        *lines, buffer = (buffer + data).split(b"\n")
        yield from (line[len(_MARK) :] for line in lines if line.startswith(_MARK))


def _end(pid: int) -> int:
    """The exit status of a child that closed its end, or is given up: then it and what is in its group are ended."""
    for number, seconds in ((0, 0.2), (signal.SIGTERM, 1.0), (signal.SIGKILL, 1.0)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            time.sleep(0.002)
    return 1


def _serve(request: session.Request, write: int, line: int) -> None:
    """The forked side; it never returns. Out of the terminal's group: a Ctrl-C there is for the parent to act upon."""
    status = 1
    try:
        os.setpgid(0, 0)
        interrupts.uninstall()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        child.serve(request, child.framed(_MARK.decode().strip(), write), line)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException as error:  # it has nobody to go to but the person who reads standard error
        streams.say("probes.pyz: {}: {}".format(type(error).__name__, error))
    finally:
        os._exit(status)
