"""The native libraries and extension modules mapped into this process after its work: identity, version, owner.

The interpreter's own extension modules are left out, because its build speaks for them, except those that compute.
"""

from typing import Any, Dict, List, Optional, Tuple

from ..facts import Absent, Facts
from .sources import elf, mapped, owners

SCOPE = "effect"
NAMES = ("libraries.count",)

_COMPUTING = ("math", "cmath")


def capture(facts: Facts, options: Any = None) -> None:
    """Record `libraries.<name>.build_id`, `.version` and `.owner` for every mapped file."""
    listed: Dict[str, str] = {}

    def count() -> int:
        listed.update({name: path for name, path in mapped.by_name().items() if _wanted(name, path)})
        return len(listed)

    facts.read("libraries.count", mapped.SOURCE, count)
    wheels = owners.of_wheels(list(listed.values()))
    system, reason = _of_system([path for path in listed.values() if path not in wheels])
    for name, path in listed.items():
        owner = wheels.get(path) or system.get(path)
        key = "libraries." + name
        facts.read(key + ".build_id", "mapped file", lambda path=path: elf.identity(path))  # type: ignore[misc]
        _record_owner(facts, key, owner, reason)
        _record_version(facts, key, mapped.version(path), owner)


def _wanted(name: str, path: str) -> bool:
    return "/lib-dynload/" not in path or name in _COMPUTING


def _of_system(paths: List[str]) -> Tuple[Dict[str, str], str]:
    try:
        return owners.of_system(paths), "no package owns it"
    except Absent as error:
        return {}, str(error)
    except OSError as error:
        return {}, "the package database could not be read ({})".format(error.strerror)


def _record_owner(facts: Facts, key: str, owner: Optional[str], reason: str) -> None:
    if owner:
        facts.add(key + ".owner", owner, "package database")
    else:
        facts.missing(key + ".owner", "absent", reason)


def _record_version(facts: Facts, key: str, version: Optional[str], owner: Optional[str]) -> None:
    if version:
        facts.add(key + ".version", version, "the file's name")
    elif owner and " " in owner:
        facts.add(key + ".version", owner.split(" ", 1)[1], "the owner")
    else:
        facts.missing(key + ".version", "absent", "neither its name nor an owner tells")
