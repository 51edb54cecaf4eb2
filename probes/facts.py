"""How a probe says what it saw: a value with its source, or a stated reason why there is none.

A probe that fails costs one fact, never the run; so every reading goes through `Facts.read`.
"""

import os
import subprocess
from typing import Any, Callable, Dict, List, Optional

Value = Any
"""None, bool, int, float, str, a list of those, or a dict from str to those: what JSON can hold without loss."""

COMMAND_SECONDS = 5.0
"""Time limit of an outside command."""


class Absent(Exception):
    """There is nothing to read here; the message is the reason, in words for a person."""


class Facts:
    """The facts that one process captured, by name. `records` has the shape that a report stores."""

    def __init__(self) -> None:
        self.records: Dict[str, Dict[str, Value]] = {}

    def add(self, name: str, value: Value, source: str) -> None:
        """Record `value`; `source` says where it was read, and is never compared."""
        self.records[name] = {"value": value, "source": source}

    def missing(self, name: str, status: str, reason: str) -> None:
        """Record that there is no value; `status` is absent, denied, failed or timeout."""
        self.records[name] = {"status": status, "reason": reason}

    def read(self, name: str, source: str, function: Callable[[], Value]) -> Optional[Value]:
        """Record what `function` returns, or why it could not; the value is handed back for reuse (None if none)."""
        try:
            value = function()
        except Absent as error:
            self.missing(name, "absent", str(error))
        except PermissionError as error:
            self.missing(name, "denied", "{}: {}".format(source, error.strerror or "not permitted"))
        except (FileNotFoundError, NotADirectoryError):
            self.missing(name, "absent", "no {}".format(source))
        except (subprocess.TimeoutExpired, TimeoutError):
            self.missing(name, "timeout", "{} gave no answer in time".format(source))
        except Exception as error:  # the contract above: whatever a reading raises costs this fact only
            self.missing(name, "failed", "{}: {}".format(source, failure(error)))
        else:
            self.add(name, value, source)
            return value
        return None

    def value(self, name: str) -> Optional[Value]:
        """The value already recorded under `name`, or None."""
        return self.records.get(name, {}).get("value")


class Wrong(Exception):
    """A result that no correct machine gives, as its message says: the choice of a code path cannot explain it."""


def failure(error: BaseException) -> str:
    """What a report may say of an unforeseen exception: type and line in the probes, "ValueError (cpu, line 7)".

    Never its message, which may quote a path, a variable or a file's content.
    """
    own, place, step = __name__.rpartition(".")[0] + ".", "", error.__traceback__
    while step is not None:
        module = str(step.tb_frame.f_globals.get("__name__"))
        if module.startswith(own):
            place = " ({}, line {})".format(module.rpartition(".")[2], step.tb_lineno)
        step = step.tb_next
    return type(error).__name__ + place


def text(path: str, limit: int = 1 << 20) -> str:
    """The text of a small file, stripped; at most `limit` bytes. Raises OSError."""
    with open(path, "rb") as file:
        return file.read(limit).decode("utf-8", "replace").strip()


def command(arguments: List[str]) -> str:
    """Standard output of an outside command: an argument list, never a shell; C locale; a time limit.

    Raises Absent if the command does not exist or fails, subprocess.TimeoutExpired if it hangs.
    """
    environment = dict(os.environ, LC_ALL="C", LANGUAGE="C")
    try:
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
            env=environment,
            check=False,
        )
    except FileNotFoundError:
        raise Absent("no command {}".format(arguments[0])) from None
    if done.returncode != 0:
        raise Absent("{} ended with status {}".format(arguments[0], done.returncode))
    return done.stdout.decode("utf-8", "replace")
