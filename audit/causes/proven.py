"""`audit diff --proof`: a suspected cause becomes a proven one, if a reproduction proves it for these very results.

A saved reproduction is untrusted: its verdict is worked out again from its digests, and its settings must be ours.
"""

from __future__ import annotations

from msgspec.structs import replace

from audit.causes import settings
from audit.causes.laboratory import results
from audit.causes.packages import NAME, VERSION
from audit.compare.programs import cut
from audit.compare.side import Measured, Side
from audit.errors import AuditError, ReportError
from reports import codec, proof
from reports.comparison import Cause, Comparison
from reports.reproduction import Reproduction


def read(path: str) -> Reproduction:
    """A saved reproduction. Raises ReportError if it is none, or names what no reproduction can have set."""
    try:
        found, _ = codec.read_any(path)
    except codec.CodecError as error:
        raise ReportError(str(error)) from None
    if not isinstance(found, Reproduction):
        raise ReportError(f"{path}: no reproduction; audit reproduce REPORT --save FILE writes one")
    check(path, found)
    return found


def check(path: str, found: Reproduction) -> None:
    """Refuse names that are not in our table. Raises ReportError."""
    under = [(one.settings, one.packages) for one in found.children] + [(found.settings, found.packages)]
    for values, packages in under:
        unknown = [name for name in values if name not in settings.BY_NAME]
        unknown += [name for name in packages if not NAME.fullmatch(name)]
        unknown += [version for version in packages.values() if not VERSION.fullmatch(version)]
        if unknown:
            raise ReportError(f"{path}: no reproduction of ours: {unknown[0][:40]!r} is nothing that it could have set")


def applied(comparison: Comparison, sides: list[Side], found: Reproduction, path: str) -> Comparison:
    """The comparison, with what is proven said so.

    Raises AuditError where the proof is not whole, or is not about these results.
    """
    lacks = proof.missing(found)
    if lacks:
        raise AuditError(f"--proof {path}: it proves nothing: it lacks {lacks}")
    there = next((side for side in sides if _is_there(side, found)), None)
    here = next((side for side in sides if side is not there and _is_here(side.whole(), found)), None)
    if there is None or here is None:
        which = found.there.label if there is None else "the machine on which it was made, as it was"
        raise AuditError(f"--proof {path}: it is about other results: none of these reports is of {which}")
    labels = {there.outline.label, here.outline.label}
    causes = [
        _proven(cause, found, here.outline.label) if set(cause.labels) == labels else cause
        for cause in comparison.causes
    ]
    return replace(comparison, causes=causes)


def _is_there(side: Side, found: Reproduction) -> bool:
    return (side.outline.digest, side.outline.target) == (found.there.digest, found.there.target)


def _is_here(side: Measured, found: Reproduction) -> bool:
    """Whether a side gave what the machine gave as it was, in all that the proof is about."""
    as_it_was = next((child for child in found.children if not child.settings and not child.packages), None)
    if as_it_was is None:
        return False
    mine = results(cut(side, found.steps) if found.steps else side)
    return {name: mine.get(name) for name in found.wanted} == {**found.wanted, **as_it_was.changed}


def _proven(cause: Cause, found: Reproduction, here: str) -> Cause:
    """A cause whose components the proof's settings decide, or that is a package which it is about."""
    own = {name: value for name, value in found.settings.items() if settings.BY_NAME[name].decides(cause.components)}
    package = (cause.root or "").removeprefix("packages.").removesuffix(".version")
    if not own and package not in found.packages:
        return cause
    return replace(cause, status="proven", settings=own, settings_on=here if own else "")
