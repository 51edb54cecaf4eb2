"""Which targets a command line asks for: the host always, and beside it images, recipes and running containers."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from audit.errors import AuditError, TargetError
from audit.targets.prefix import PrefixTarget, find_python
from audit.targets.target import Facts, Target
from probes import interrupts
from probes.program.command import Located, is_python, located
from probes.session import Died, Notify

Part = dict[str, Any]

INTERRUPTED = "interrupted"
"""What the first reason of a part begins with that an interruption ended, there and in `session.capture`."""

OF_PROGRAM = "your program's own"
"""How an interpreter was chosen that COMMAND names, or the first line of its script."""


@dataclass(frozen=True)
class Asked:
    """One target with what the report says of it. outside: facts that it cannot know of itself; still: those that can
    be read without running it; warnings: for the person at the terminal; missing: why COMMAND cannot be run there."""

    name: str
    target: Target
    chosen: str
    via: str | None = None
    outside: Callable[[Part, Notify], Facts] = lambda captured, notify: {}
    still: Callable[[], Facts] = dict
    warnings: list[str] = field(default_factory=list)
    missing: str = ""

    @property
    def python(self) -> str:
        """The interpreter, as this machine or the image calls it."""
        return str(getattr(self.target, "python", "python3"))

    def part(self, captured: Part, notify: Notify, partial: bool) -> Part:
        """The target's part of a report. What can be known of it from outside costs no more than itself.

        Raises KeyboardInterrupt, unless what there is by then is to be kept (partial).
        """
        outside: Facts = {}
        incomplete = list(captured.get("incomplete", []))
        known = {} if incomplete and incomplete[0].startswith(INTERRUPTED) else captured  # then only what is quick
        try:
            with interrupts.allowed():
                outside = self.outside(known, notify)
        except KeyboardInterrupt:
            if not partial:
                raise
            incomplete.insert(0, f"{INTERRUPTED} while its image was looked at")
        except Exception:  # whatever an engine that went away makes of it, what was measured is there
            incomplete.append("what its engine knows of it: the engine did not tell")
        part = {
            "name": self.name,
            "via": self.via,
            "interpreter": interpreter(self.python),
            "chosen": self.chosen,
            **captured,
            "facts": {**captured["facts"], **outside},
            "incomplete": incomplete or None,
        }
        return {key: value for key, value in part.items() if value is not None}

    def unmeasured(self, why: str) -> Part:
        """The part of a target of which nothing is known. It is incomplete, so that it never agrees with another."""
        return {"name": self.name, "facts": {}, "incomplete": [why]}


def asked(options: argparse.Namespace) -> list[Asked]:
    """Host first. Whatever can be known to be missing is refused before anything is measured.

    Raises AuditError, for example where no engine answers or it has no such image.
    """
    for option in ("container", "exec", "dockerfile"):
        if "" in getattr(options, option):
            raise AuditError(f"--{option} is empty; is the variable that should name it set?")
    found = [host(options)]
    found += [_apptainer(name, options) for name in options.container if name.endswith(".sif")]
    images = [name for name in options.container if not name.endswith(".sif")]
    if images or options.exec or options.dockerfile:
        from audit.targets import engined  # it takes longer to import than the facts of the host take

        found += engined.asked(images, options, found)
    else:
        refuse_twice([one.name for one in found])
    return [_led(one, options) for one in found] if getattr(options, "program", None) else found


def refuse_twice(names: list[str]) -> None:
    """Raises AuditError for a target that is asked for twice: in a report each has a name of its own."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise AuditError(f"{twice} is asked for twice; name each target once")


def _led(one: Asked, options: argparse.Namespace) -> Asked:
    """The same target with the interpreter to which COMMAND leads there, or with the reason why it leads to none."""
    if one.name == "host" and not options.via:
        return one  # what leads where on this machine is known
    try:
        with interrupts.allowed():
            records = list(one.target.launch({"work": "command", "command": options.program}))
    except (TargetError, Died):
        return one  # measuring it says what is wrong
    told = next(record["command"] for record in records if "command" in record)
    named = options.python if one.name == "host" else options.container_python
    if not told["python"] or named:
        return replace(one, missing=told["missing"])
    one.target.use(told["python"])
    return replace(one, chosen=OF_PROGRAM)


def _apptainer(name: str, options: argparse.Namespace) -> Asked:
    """A SIF file, run without a daemon. It is given this machine's GPU, home and variables, as its users run it."""
    from audit.targets import sif

    if not os.path.exists(name):
        raise AuditError(f"--container {name}: no such file")
    runtime = next(filter(shutil.which, ("apptainer", "singularity")), None)
    if runtime is None:
        raise AuditError(f"apptainer is not on this machine, nor singularity; --container {name} needs one of them")
    gpu = ["--nv"] if os.path.exists("/proc/driver/nvidia/version") else []
    prefix = [runtime, "exec", *gpu, name]
    target = PrefixTarget(prefix, options.container_python or "python3", options.limit)
    chosen = "as --container-python says" if options.container_python else "python3 in the image"
    return Asked(os.path.basename(name), target, chosen, runtime, outside=sif.Outside(name, prefix))


def host(options: argparse.Namespace) -> Asked:
    """This machine's interpreter, or the one that `--via` reaches; with a COMMAND, the one that it leads to."""
    words = getattr(options, "program", None) or []
    if not options.via:
        led = located(words) if words else Located()
        own = led.python and not options.python
        python, chosen = (led.python, OF_PROGRAM) if own else find_python(options.python)
        warnings = []
        if chosen == "audit's own":
            warnings.append("no active environment: measured audit's own Python; name yours with --python")
        target = PrefixTarget([], python, options.limit)
        return Asked("host", target, chosen, warnings=warnings, missing=led.missing)
    try:
        prefix = shlex.split(options.via)
    except ValueError as error:
        raise AuditError(f"--via: {error}") from None
    if not prefix:
        raise AuditError("--via is empty; give the command to put in front of the interpreter")
    chosen = "as --python says" if options.python else "python3 at the end of --via"
    python = words[0] if words and is_python(words[0]) else "python3"
    return Asked("host", PrefixTarget(prefix, options.python or python, options.limit), chosen, _via(prefix[0]))


_PREFIXES = re.compile(
    r"apptainer|ch-run|chroot|conda|docker|enroot|env|ionice|kubectl|mpirun|nerdctl|nice|nsenter|numactl|oc|podman|"
    r"qemu-\w+(-static)?|setarch|setpriv|sh|singularity|srun|ssh|sudo|taskset|timeout|unshare"
)
"""Commands that stand in front of interpreters everywhere. Any other is somebody's own, and its name is theirs."""


def _via(program: str) -> str:
    """The name of a prefix's program, if it says nothing of a person or project."""
    name = os.path.basename(program)
    return name if _PREFIXES.fullmatch(name) else "(a command)"


def interpreter(path: str) -> str:
    """The interpreter's name, if it says nothing of a person or project: a wrapper script may be called anything."""
    name = os.path.basename(path)
    return name if re.fullmatch(r"(python|pypy)[0-9.]*[a-z]{0,3}(\.exe)?", name) else "(a script)"
