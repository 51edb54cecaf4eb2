"""Orders that no computation decides: of hash tables, of addresses, of directory listings.

Rows whose name is in DECIDED_BY_HASH_SEED are a function of PYTHONHASHSEED: with an explicit seed they are comparable,
with a random one they vary by design and the runner makes them hazards. Orders by address and by file system are always
hazards.
"""

import glob
import os
import tempfile
from typing import Any, Callable, List, Tuple

from .. import inputs
from ..facts import Absent
from . import Operator

COUNT = 499

FILES = 12


def operators() -> List[Operator]:
    """Sets and dictionaries, hashes, addresses, listings."""
    return [
        Operator("ordering." + name, "ordering", function, control=control, hazard=hazard)
        for name, function, control, hazard in ROWS
    ]


def _words() -> List[str]:
    return ["word{}".format(value % 100003) for value in inputs.integers("ordering", COUNT)]


def _set_of_text() -> List[str]:
    return list(set(_words()))


def _set_of_bytes() -> List[str]:
    return [word.decode() for word in {word.encode() for word in _words()}]


def _set_of_tuples() -> List[str]:
    return ["{} {}".format(*pair) for pair in {(word, len(word)) for word in _words()}]


def _frozen_union() -> List[str]:
    words = _words()
    return list(frozenset(words[:300]) | frozenset(words[200:]))


def _set_of_integers() -> List[int]:
    return list({value % 1000003 for value in inputs.integers("ordering", COUNT)})


def _set_of_floats() -> List[float]:
    return list(set(inputs.uniform("ordering", COUNT)))


def _dictionary() -> List[str]:
    table = dict.fromkeys(_words(), 0)
    for word in _words()[::3]:
        table.pop(word, None)
    return list(table)


def _hash_of_text() -> List[int]:
    return [hash(word) for word in _words()[:99]]


class _Thing:
    """Hashed by its address."""


def _set_of_objects() -> List[int]:
    things = [_Thing() for _ in range(99)]
    places = {id(thing): place for place, thing in enumerate(things)}
    return [places[id(thing)] for thing in set(things)]


def _listed(listing: Callable[[str], Any]) -> List[str]:
    """Names in the order in which a fresh directory lists them. Raises Absent where nothing can be written."""
    try:
        with tempfile.TemporaryDirectory(prefix="audit-") as folder:
            for word in _words()[:FILES]:
                with open(os.path.join(folder, word), "wb"):
                    pass
            return [os.path.basename(name) for name in listing(folder)]
    except OSError as error:
        raise Absent("no directory can be written: {}".format(error.strerror)) from None


def _listdir() -> List[str]:
    return _listed(os.listdir)


def _glob() -> List[str]:
    return _listed(lambda folder: glob.glob(os.path.join(glob.escape(folder), "word*")))


def _scandir() -> List[str]:
    def names(folder: str) -> List[str]:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]

    return _listed(names)


_Row = Tuple[str, Callable[[], Any], bool, bool]

ROWS: Tuple[_Row, ...] = (  # name, function, control, hazard
    ("set.str", _set_of_text, False, False),
    ("set.bytes", _set_of_bytes, False, False),
    ("set.tuple", _set_of_tuples, False, False),
    ("set.union", _frozen_union, False, False),
    ("hash.str", _hash_of_text, False, False),
    ("set.int", _set_of_integers, True, False),
    ("set.float", _set_of_floats, True, False),
    ("dict", _dictionary, True, False),
    ("set.object", _set_of_objects, False, True),
    ("listing.listdir", _listdir, False, True),
    ("listing.glob", _glob, False, True),
    ("listing.scandir", _scandir, False, True),
)

DECIDED_BY_HASH_SEED = frozenset(
    "ordering." + name for name in ("set.str", "set.bytes", "set.tuple", "set.union", "hash.str")
)
