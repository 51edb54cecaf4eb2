"""Many labels in few words: `gpu[001-117,119]`, as Slurm and other cluster tools write and read node lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_NUMBER = re.compile(r"(\d+)", re.ASCII)
_OWN_MEANING = re.compile(r"[\[\],\s]")
"""Characters that mean something in a node list: a label that has one is never folded."""

_LONGEST = 15
"""A number of more digits is no node's number."""


def folded(labels: Iterable[str], most: int = 0) -> list[str]:
    """The labels, those that differ in one number only as one range each; order by first appearance.

    most: so many runs of numbers are shown in one range, then how many labels follow (0: all).
    """
    named = list(dict.fromkeys(labels))
    split = {label: _NUMBER.split(label) for label in named}
    buckets: dict[tuple[str, str, int], list[tuple[str, str]]] = {}
    for label, field in zip(named, _fields(list(split.values())), strict=True):
        parts = split[label]
        if field < 0 or _OWN_MEANING.search(label) or len(parts[field]) > _LONGEST:
            buckets[label, "", -1] = []
        else:
            around = ("".join(parts[:field]), "".join(parts[field + 1 :]), 0)
            buckets.setdefault(around, []).append((parts[field], label))
    found = []
    for (prefix, suffix, _), numbers in buckets.items():
        found += [_range(prefix, suffix, one, most) for one in _of_one_width(numbers)] if numbers else [prefix]
    return found


def _fields(split: Sequence[list[str]]) -> list[int]:
    """For each split label the part that is its number: the one whose removal leaves the fewest different names."""
    best: dict[int, int] = {}
    for count in {len(parts) for parts in split}:
        alike = [parts for parts in split if len(parts) == count]
        leftovers = {
            field: len({tuple(parts[:field] + parts[field + 1 :]) for parts in alike}) for field in range(1, count, 2)
        }
        best[count] = min(leftovers, key=lambda field: (leftovers[field], -field), default=-1)
    return [best[len(parts)] for parts in split]


def _of_one_width(numbers: list[tuple[str, str]]) -> list[list[str]]:
    """Numbers that can stand in one range: those padded with zeros to one width, and those that are not padded."""
    widths = {len(digits) for digits, _ in numbers if len(digits) > 1 and digits[0] == "0"}
    classes: dict[int, list[str]] = {}
    for digits, _ in numbers:
        classes.setdefault(len(digits) if len(digits) in widths else 0, []).append(digits)
    return list(classes.values())


def _range(prefix: str, suffix: str, numbers: list[str], most: int) -> str:
    if len(numbers) == 1:
        return prefix + numbers[0] + suffix
    ordered = sorted(numbers, key=int)
    runs = [[ordered[0], ordered[0]]]
    sizes = [1]
    for digits in ordered[1:]:
        if int(digits) == int(runs[-1][1]) + 1:
            runs[-1][1] = digits
            sizes[-1] += 1
        else:
            runs.append([digits, digits])
            sizes.append(1)
    shown = [first if first == last else f"{first}-{last}" for first, last in runs]
    if most and len(shown) > most:
        shown = [*shown[:most], f"... {sum(sizes[most:])} more"]
    return f"{prefix}[{','.join(shown)}]{suffix}"
