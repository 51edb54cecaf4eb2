"""`audit diff --variation`: the gap between two machines beside what settings alone do on one."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from simulated import Bench, Machine, measured

from audit.causes.vary import vary
from audit.compare import gap
from audit.compare.engine import compare
from audit.compare.side import Measured
from audit.errors import ReportError
from fixtures import record
from reports import codec, render
from reports.variation import Variation


def varied() -> Variation:
    return vary(Bench(Machine(cores=2)), None)  # type: ignore[arg-type]


def saved(tmp_path: Path, found: Variation) -> str:
    path = tmp_path / "vary.json"
    path.write_text(render.variation(found, "json"))
    return str(path)


def test_a_saved_variation_is_read_again(tmp_path: Path) -> None:
    found = varied()
    path = saved(tmp_path, found)
    assert codec.read_any(path) == (found, [])
    assert gap.read(path) == found
    done = json.loads(Path(path).read_text())
    assert (done["format"], done["version"]) == ("audit-variation", 1)
    assert {"name", "value", "component", "changes_bits", "first_divergence", "slowdown"} <= done["settings"][0].keys()
    for edit, words in (({"version": 9}, "upgrade"), ({"pins": 3}, "pins"), ({"exit": 7}, "no status is 7")):
        Path(path).write_text(json.dumps({**done, **edit}))
        with pytest.raises(ReportError, match=words):
            gap.read(path)


@pytest.mark.parametrize(
    ("width", "words"),
    [
        (1.0, "is within what settings alone do on one machine (1)"),
        (1e-3, "is 40 times what settings alone do on one machine (0.001)"),
        (0.0, "is more than settings alone do on one machine: they change no final loss"),
    ],
)
def test_a_gap_is_shown_beside_the_spread(width: float, words: str, tmp_path: Path) -> None:
    a, b = (measured(Machine(kernel=kernel)) for kernel in ("SkylakeX", "Nehalem"))
    outcomes = [msgspec.structs.replace(a.jobs["numpy"].outcome, loss_last=loss) for loss in (0.50, 0.54)]
    sides = []
    for label, side, outcome in zip("ab", (a, b), outcomes, strict=True):
        job = msgspec.structs.replace(side.jobs["numpy"], outcome=outcome)
        sides.append(Measured(label, label, side.report, msgspec.structs.replace(side.target, jobs=[job])))
    found = varied()
    spread = msgspec.structs.replace(found.spread["numpy"], least=0.0, most=width)
    found = msgspec.structs.replace(found, spread={"numpy": spread})
    plain = compare(sides)
    shown = gap.beside(plain, found, [side.outline for side in sides], "vary.json")
    text = " ".join(render.diff(shown, all=True).split())
    assert f"Matter? job numpy: the gap (0.04) {words}" in text
    assert "Matter?" not in render.diff(plain, all=True)
    other = msgspec.structs.replace(found, jobs=[msgspec.structs.replace(found.jobs[0], version=2)])
    assert "another version" in " ".join(gap.beside(plain, other, [s.outline for s in sides], "vary.json").notes)


def test_what_is_no_variation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    with pytest.raises(ReportError, match=r"x\.json"):
        gap.read(str(path))
    host = str(record.MACHINES / "host.json.gz")
    with pytest.raises(ReportError, match="no variation; one is made by: audit vary"):
        gap.read(host)
