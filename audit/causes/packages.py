"""Packages that a report has in other versions than this interpreter: what of that may be tried here.

A report is untrusted. All that it can choose is the released version of a package that is installed here too; where
that comes from is the business of whoever runs the auditor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from audit.compare.side import Measured
from reports.render.pages.words import listed

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,98}[a-z0-9])?")
"""A package's name as PEP 503 normalises it."""

VERSION = re.compile(
    r"(?P<release>\d{1,8}(?:\.\d{1,8}){0,5})(?:(?:a|b|rc)\d{1,4})?(?:\.post\d{1,4})?"
    r"(?:\+[a-z0-9]{1,32}(?:\.[a-z0-9]{1,32}){0,3})?",
    re.ASCII,
)
"""A version as PEP 440 normalises it, without epochs and development releases, which no index keeps."""

_FACT = re.compile(rf"packages\.({NAME.pattern})\.version")


@dataclass(frozen=True)
class Differing:
    """versions: the other's, by name, that may be tried; refused: those that may not, with the reason; notes: what
    no version of these can change."""

    versions: dict[str, str]
    refused: dict[str, str]
    notes: list[str]


def differing(here: Measured, there: Measured) -> Differing:
    """What the other has in another version."""
    mine, its = _versions(here), _versions(there)
    versions: dict[str, str] = {}
    refused: dict[str, str] = {}
    for name in sorted(mine.keys() & its.keys()):
        if _same(mine[name], its[name]):
            continue
        if not VERSION.fullmatch(its[name]):
            refused[name] = "what the report gives as its version is no release"
        elif there.fact(f"packages.{name}.editable") is True:
            refused[name] = f"{its[name]} is a working tree there"
        else:
            versions[name] = its[name]
    return Differing(versions, refused, [*_other_python(here, there), *_one_sided(mine, its)])


def rebuilt(here: Measured, there: Measured) -> list[str]:
    """In a sentence, packages of the same version that are not known to have the same files: another build of it."""
    mine, its = _versions(here), _versions(there)
    names = []
    for name in mine.keys() & its.keys():
        one, two = (side.fact(f"packages.{name}.record") for side in (here, there))
        if mine[name] == its[name] and one and one != two:
            names.append(name)
    return [f"of the same version but not shown to be the same build: {listed(sorted(names))}"] if names else []


def _versions(side: Measured) -> dict[str, str]:
    found = ((_FACT.fullmatch(name), fact) for name, fact in side.target.facts.items())
    return {match[1]: str(fact.value) for match, fact in found if match and fact.status is None}


def _same(one: str, two: str) -> bool:
    return _key(one) == _key(two)


def _key(version: str) -> str:
    match = VERSION.fullmatch(version)
    if match is None:
        return version
    release = match["release"]
    return re.sub(r"(\.0+)+$", "", release) + version[len(release) :]


def _other_python(here: Measured, there: Measured) -> list[str]:
    pythons = [(str(side.fact("python.implementation")), str(side.fact("python.version"))) for side in (here, there)]
    kinds = [(name, version.split(".")[:2]) for name, version in pythons]
    if kinds[0] == kinds[1]:
        return []
    mine, its = (" ".join(one) for one in pythons)
    return [f"environments are made with this {mine}; what {its} does otherwise by itself, no package can change"]


def _one_sided(mine: dict[str, str], its: dict[str, str]) -> list[str]:
    told = [("only in the report", its.keys() - mine.keys()), ("only here", mine.keys() - its.keys())]
    return [f"packages that are {where}, not tried: {listed(sorted(names))}" for where, names in told if names]
