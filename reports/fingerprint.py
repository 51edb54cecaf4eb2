"""Short fingerprints that two people read to each other: equal ones mean equal results, or equal environments."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

from .catalogue import Catalogue
from .report import Target


def short(digest: str) -> str:
    """7f3a-91c2, of a digest in hex."""
    return f"{digest[:4]}-{digest[4:8]}"


def environment(target: Target, catalogue: Catalogue) -> str:
    """Over every fact that can change bits, machine facts and facts in effect alike; a fact without a value counts as
    one. Unsteady facts are left out: a fingerprint must be the same in two runs on one machine."""
    works = {job.name: job.facts for job in target.jobs}
    if target.battery:
        works["operators"] = target.battery.facts
    body = [
        [work, name, fact.value]
        for work, facts in [("", target.facts), *sorted(works.items())]
        for name, fact in sorted(facts.items())
        if name not in target.unsteady and _is_numeric(name, catalogue)
    ]
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return short(hashlib.blake2b(canonical.encode("utf-8"), digest_size=8).hexdigest())


@lru_cache(maxsize=4096)
def _is_numeric(name: str, catalogue: Catalogue) -> bool:
    row = catalogue.row(name)
    return row is not None and row.kind == "numeric"
