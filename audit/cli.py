"""The command: parser, subcommands, exit status. Heavy imports stand inside each subcommand's `execute`."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence

from audit import __version__
from audit.commands import bundle, diff, run, show
from audit.errors import CANNOT, AuditError

COMMANDS = (run, show, diff, bundle)

EPILOG = """\
exit status: 0 nothing to report; 1 a difference, drift, divergence or nondeterminism was found;
2 could not do it (usage, unreadable file); 3 not comparable or incomplete"""


def parser() -> argparse.ArgumentParser:
    """The whole command line. Each module in COMMANDS adds its own subcommand."""
    root = argparse.ArgumentParser(
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
    options = parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Unicode shows escapes, and no traceback
    # A scheduler's SIGTERM ends the command as Ctrl-C does: children are ended and nothing is left behind.
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        status: int = options.execute(options)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except AuditError as error:
        print(f"audit {options.command}: {one_line(str(error))}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print(f"audit {options.command}: interrupted; nothing was written", file=sys.stderr)
        return CANNOT
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader (head, less) has seen enough; Python must not complain about it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return CANNOT
        print(f"audit {options.command}: {one_line(str(error))}", file=sys.stderr)
        return CANNOT
    except Exception as error:
        if os.environ.get("AUDIT_TRACEBACK"):
            raise
        # Nothing that a file or a child holds may look like a finding (exit 1), or like a crash.
        what = one_line(f"{type(error).__name__}: {error}")
        print(
            f"audit {options.command}: unexpected {what} (AUDIT_TRACEBACK=1 shows where; please report it)",
            file=sys.stderr,
        )
        return CANNOT


def one_line(message: str) -> str:
    """A message as one safe line: what it quotes may come from a file or a child."""
    from reports.render.escape import visible

    return visible(message)


def _interrupted(signum: int, frame: object) -> None:
    raise KeyboardInterrupt
