"""Fuzzes the codec: any bytes are a report, a comparison, or a CodecError of one line, and both ways to it agree.

    python tests/fuzz/codec_atheris.py CORPUS [-max_total_time=15 ...]

CORPUS is a folder; it is filled with small files, good and hostile, if it is empty. What fails is written to the
current folder as `crash-...`, and is read again with `python tests/fuzz/codec_atheris.py crash-...`.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["reports"]):
    from reports import codec, parts, render, source
    from reports.checked import Check
    from reports.comparison import Comparison
    from reports.report import Report
    from reports.reproduction import Reproduction
    from reports.variation import Variation

from fixtures import hostile  # noqa: E402

SHOWN = {
    Report: render.show,
    Comparison: render.diff,
    Reproduction: render.reproduction,
    Variation: render.variation,
    Check: render.check,
}
MET = parts.Parts()
parts.SMALLEST = 1


def one(data: bytes) -> None:
    """Read the bytes as `read_any` does a file's; then show what they are."""
    try:
        data = source.unpacked("f", data)
        found, _ = codec.decode("f", data, allow_edited=True)
    except codec.CodecError as error:
        refused(str(error))
        return
    quick = codec._as_written(data, MET)
    assert quick in (None, codec._as_written(data, parts.Parts()))
    assert quick is None or quick == codec._in_any_form("f", data, True)[0]
    forms = render.CHECK_FORMATS if isinstance(found, Check) else render.FORMATS
    for form in forms:
        text = SHOWN[type(found)](found, form)
        assert all(line.isprintable() for line in text.split("\n"))


def refused(words: str) -> None:
    assert words.startswith("f: ")
    assert len(words) < 500


def fill(corpus: Path) -> None:
    """Small files to start from."""
    corpus.mkdir(exist_ok=True)
    if any(corpus.iterdir()):
        return
    for file in hostile.FILES:
        if isinstance(file.make, bytes) and len(file.make) < 10_000:
            (corpus / file.name).write_bytes(file.make)
    (corpus / "gz").write_bytes(zlib.compress(hostile.GOOD, wbits=31))


if __name__ == "__main__":
    folders = [Path(name) for name in sys.argv[1:] if not name.startswith("-")]
    if folders and not folders[0].is_file():
        fill(folders[0])
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
