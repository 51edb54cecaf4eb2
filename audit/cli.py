"""The command: parser, subcommands, exit status. Heavy imports stand inside each subcommand's `execute`."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from audit import __version__
from audit.commands import (
    baseline,
    bundle,
    check,
    completion,
    diff,
    explain,
    fleet,
    history,
    reproduce,
    run,
    screen,
    show,
    vary,
)
from audit.errors import CANNOT, AuditError
from probes import interrupts, streams

COMMANDS = (run, show, diff, check, baseline, explain, reproduce, vary, screen, bundle, fleet, history, completion)

EPILOG = """\
exit status: 0 nothing to report; 1 a difference, drift, divergence or nondeterminism was found;
2 could not do it (usage, unreadable file); 3 not comparable or incomplete"""


class Parser(argparse.ArgumentParser):
    """Refuses in one line: the usage, which may be a screen long, stands in the help."""

    def error(self, message: str) -> NoReturn:
        streams.say(f"{self.prog}: {one_line(message)}; see {self.prog} --help")
        sys.exit(CANNOT)


def parser() -> Parser:
    """The whole command line. Each module in COMMANDS adds its own subcommand."""
    root = Parser(
        prog="audit",
        description="Why does the same code give other results on another machine? audit run on each, then audit diff.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"audit {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.configure(commands)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status. Every refusal is one line on standard error."""
    with interrupts.installed():  # a scheduler's SIGTERM ends the command as Ctrl-C does, and nothing is left behind
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    command = "audit"
    try:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # without Unicode: escapes, and no traceback
        options = _parsed(sys.argv[1:] if arguments is None else list(arguments))
        command = f"audit {options.command}"
        with interrupts.held():  # msgspec's types, torn while they are made, crash when they are used [measured]
            from reports import catalogue, codec  # noqa: F401
        status: int = options.execute(options)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except AuditError as error:
        streams.say(f"{command}: {one_line(str(error))}")
        return error.status
    except KeyboardInterrupt:
        streams.say(f"{command}: interrupted; nothing was written")
    except BrokenPipeError:  # the reader (head, less) has seen enough
        streams.abandon_output()
    except OSError as error:
        streams.say(f"{command}: {one_line(str(error))}")
        streams.abandon_output()
    except Exception as error:
        if os.environ.get("AUDIT_TRACEBACK"):
            raise
        streams.say(f"{command}: {_unexpected(error)}")
    return CANNOT


_WITH_COMMAND = ("run", "reproduce", "vary")


def _parsed(words: list[str]) -> argparse.Namespace:
    """What stands behind the first "--" is a COMMAND's, as it stands: argparse would take a second "--" out of it, and
    does not take it behind an option."""
    root = parser()
    at = words.index("--") if "--" in words and words[0] in _WITH_COMMAND else len(words)
    options, unknown = root.parse_known_args(words[:at])
    if unknown:
        root.prog += f" {options.command}"  # the subcommand does not refuse it
        root.error(f"unrecognized arguments: {' '.join(unknown)}")
    if at < len(words):
        options.program += words[at + 1 :]
    return options


def _unexpected(error: Exception) -> str:
    """Nothing that a file or a child holds may look like a finding (exit 1), or like a crash."""
    if isinstance(error, MemoryError) or "failed to map segment" in str(error):
        return "out of memory; a limit may be set (ulimit -v, or a container's)"
    what = one_line(f"{type(error).__name__}: {error}")
    return f"unexpected {what} (AUDIT_TRACEBACK=1 shows where; please report it)"


def one_line(message: str) -> str:
    """A message as one safe line: what it quotes may come from a file or a child."""
    from reports.render.escape import visible

    return visible(message)
