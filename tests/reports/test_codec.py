"""Report files: what is refused, and in which words."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from probes import assemble
from reports import codec

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def tree() -> dict[str, Any]:
    target = {"name": "host", "facts": {"cpu.model": {"value": "AuthenticAMD 25-17", "source": "CPUID"}}}
    return assemble.report("here", [target], {"version": "0", "bundle": "b"})


def save(path: Path, tree: object) -> str:
    path.write_text(json.dumps(tree))
    return str(path)


def test_a_report_is_read_as_it_was_written(tmp_path: Path, tree: dict[str, Any]) -> None:
    for name in ("r.json", "r.json.gz"):
        path = str(tmp_path / name)
        assemble.write(path, assemble.to_text(tree))
        report, notes = codec.read(path)
        assert report.targets[0].facts["cpu.model"].value == "AuthenticAMD 25-17"
        assert notes == []
    assert gzip.decompress((tmp_path / "r.json.gz").read_bytes()) == (tmp_path / "r.json").read_bytes()


def test_both_floors_make_the_same_digest(tree: dict[str, Any]) -> None:
    tree["targets"][0]["facts"]["x"] = {"value": [1.5, 1e-310, "\u202e\u00e9", None, -0.0], "source": "s"}
    assert codec.digest(tree) == assemble.digest(tree)


def test_a_label_can_be_changed_but_nothing_else(tmp_path: Path, tree: dict[str, Any]) -> None:
    tree["label"] = "renamed"
    assert codec.read(save(tmp_path / "a.json", tree))[0].label == "renamed"
    tree["targets"][0]["facts"]["cpu.model"]["value"] = "GenuineIntel 6-60"
    path = save(tmp_path / "b.json", tree)
    with pytest.raises(codec.CodecError, match=r"b\.json: edited after it was written"):
        codec.read(path)
    assert "edited" in codec.read(path, allow_edited=True)[1][0]


def _nested(depth: int) -> bytes:
    return b'{"format": "audit-report", "x": ' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b'{"format": "audit-rep', "cut short"),
        (b"hello", "not JSON"),
        ('{"format": "audit-report"}'.encode("utf-16"), "not UTF-8"),
        (b"[]", "not a report"),
        (b'{"format": "other"}', "not a report"),
        (b'{"format": "audit-comparison"}', "audit show reads it"),
        (b'{"format": "audit-report", "version": 1, "label": 3}', r"\$\.label"),
        (b'{"format": "audit-report", "version": 1, "x": NaN}', "NaN"),
        (b'{"format": "audit-report", "version": ' + b"1" * 400 + b"}", "400 digits"),
        (_nested(200_000), "nested too deeply"),
        (b"\x1f\x8bxx", "gzip"),
        (gzip.compress(b'{"format": 1}' * 1000)[:40], "gzip"),
    ],
    ids=[
        "empty",
        "cut",
        "text",
        "utf16",
        "list",
        "other",
        "comparison",
        "type",
        "nan",
        "digits",
        "deep",
        "gz",
        "gz-cut",
    ],
)
def test_what_is_no_report_is_refused_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(codec.CodecError, match=words) as caught:
        codec.read(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_newer_version_is_refused_by_name(tmp_path: Path, tree: dict[str, Any]) -> None:
    tree["version"] = 2
    with pytest.raises(codec.CodecError, match="report version 2, written by auditor 0; this one reads up to 1"):
        codec.read(save(tmp_path / "n.json", tree))


def test_folders_pipes_and_missing_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, words in ((".", "a folder"), ("pipe", "not a plain file"), ("none.json", "No such file")):
        with pytest.raises(codec.CodecError, match=words):
            codec.read(str(tmp_path / name))


def test_two_gigabytes_of_zeros_are_refused_without_reading_them(tmp_path: Path) -> None:
    path = tmp_path / "zeros.json"
    with path.open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(codec.CodecError, match="more than a report can have"):
        codec.read(str(path))


def test_the_committed_schema_is_the_types(tree: dict[str, Any]) -> None:
    committed = json.loads((ROOT / "reports" / "schema.json").read_text())
    assert committed == codec.schema(), "run: python -m reports.codec > reports/schema.json"
    jsonschema.Draft202012Validator.check_schema(committed)
    jsonschema.validate(tree, committed)
    tree["targets"][0]["facts"]["cpu.model"]["status"] = "guessed"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tree, committed)
