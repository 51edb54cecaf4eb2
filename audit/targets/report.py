"""What targets have sent, as one report."""

from __future__ import annotations

from typing import Any

from audit import __version__
from audit.errors import TargetError
from audit.targets import bundle
from probes import assemble
from reports import codec
from reports.report import Report


def report(label: str, parts: list[dict[str, Any]], words: str) -> tuple[dict[str, Any], Report]:
    """The report of these parts, as it stands in a file and typed. words: what its targets are called.

    Raises TargetError if what they sent makes no valid one.
    """
    tree = assemble.report(label, parts, {"version": __version__, "bundle": bundle.digest()})
    try:
        return tree, codec.check(tree)
    except codec.CodecError as error:
        raise TargetError(f"{words} sent records that make no valid report: {error}") from None
