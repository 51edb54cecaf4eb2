"""Report files: what is read, and that the fast way to it and the other one say the same."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fixtures import hostile, many
from probes import assemble
from reports import codec, misfits, parts, source
from reports.comparison import Comparison
from reports.parts import Parts
from reports.report import Report

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


def test_a_newer_version_is_refused_by_name(tmp_path: Path, tree: dict[str, Any]) -> None:
    tree["version"] = 2
    with pytest.raises(codec.CodecError, match="report version 2, written by auditor 0; this one reads up to 1"):
        codec.read(save(tmp_path / "n.json", tree))


def test_a_saved_comparison_is_read_and_is_no_report(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(hostile.saved())
    assert isinstance(codec.read_any(str(path))[0], Comparison)
    with pytest.raises(codec.CodecError, match="a comparison, not a report; audit show reads it"):
        codec.read(str(path))


def test_what_run_makes_is_checked(tree: dict[str, Any]) -> None:
    assert codec.check(tree).label == "here"
    tree["targets"] *= 2
    with pytest.raises(codec.CodecError, match=r"the report: .*\$.targets: more than one with the name 'host'"):
        codec.check(tree)


def test_the_committed_schema_is_the_types(tree: dict[str, Any]) -> None:
    committed = json.loads((ROOT / "reports" / "schema.json").read_text())
    assert committed == codec.schema(), "run: python -m reports.codec > reports/schema.json"
    jsonschema.Draft202012Validator.check_schema(committed)
    jsonschema.validate(tree, committed)
    tree["targets"][0]["facts"]["cpu.model"]["status"] = "guessed"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tree, committed)


# Two ways to one answer: `_as_written` is quick, `_in_any_form` is what counts


def answer(way: Callable[[], Any]) -> Any:
    """What a way comes to: a value, or the words of a refusal."""
    try:
        return way()
    except codec.CodecError as error:
        return str(error)


def slowly(data: bytes) -> Any:
    try:
        return answer(lambda: codec._in_any_form("r.json", data, False))
    except RecursionError:
        return f"r.json: nested too deeply to be a report; {source.AGAIN}"


MET = Parts()
"""Of all that these tests read before."""


@pytest.fixture(autouse=True)
def small_parts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "SMALLEST", 1)


def agree(data: bytes) -> bool:
    """Both ways say the same, whatever was read before; whether the quick one was enough."""
    assert answer(lambda: codec.decode("r.json", data)) == slowly(data)
    quick = codec._as_written(data, Parts())
    for _ in range(3):  # a part is kept when it is met for the second time
        assert codec._as_written(data, MET) in (None, quick)
    return quick is not None


def test_what_probes_write_is_read_quickly() -> None:
    for recorded in sorted((ROOT / "fixtures" / "machines").iterdir())[:3]:
        assert agree(gzip.decompress(recorded.read_bytes()))
    assert agree(hostile.GOOD)


@pytest.mark.parametrize("one", [one for one in hostile.FILES if isinstance(one.make, bytes)], ids=lambda one: one.name)
def test_both_ways_say_the_same_of_hostile_files(one: hostile.Hostile) -> None:
    assert isinstance(one.make, bytes)
    agree(one.make)


class Literal(str):
    """Text that stands in the JSON as it is, without quotes."""


ODD = [
    *("NaN", "-Infinity", "1e400", "-1e400", "1" * 400, "1" * 5000, "-" + "9" * 30, str(2**64), str(2**64 - 1)),
    *(str(-(2**63)), str(-(2**63) - 1), "-0", "-0.0", "1.0", "1E5", "1e-7", "0.10", "0." + "3" * 60, "1e22", "5e-324"),
    *('"\\ud800"', '"\\ud83d\\ude00"', '"\\udc00\\ud800"', '"\\/"', '"\\u0041"', "[]", "{}", "true", "01", "1.", "'x'"),
]
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.sampled_from(ODD).map(Literal),
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(), max_size=6),
        st.sampled_from(["audit-report", "host", "absent", "AAAAAAAAAAA=", "2", "\ud800", "\x7f", "a\nb"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every container with each of its keys or positions."""
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    found = [(tree, key) for key in keys]
    for key in keys:
        if isinstance(tree[key], (dict, list)):
            found += places(tree[key])
    return found


class Layout:
    """A way to write JSON. Without `draw` as probes write it, else any, and that one in half of all cases."""

    def __init__(self, draw: st.DrawFn | None = None) -> None:
        self.space, self.escape, self.twice = "", "ascii", ""
        self.order: Callable[[Any], list[str]] = sorted
        if draw is not None and draw(st.booleans()):
            self.space = draw(st.sampled_from(["", "\n", " ", "\r\n", "\t"]))
            self.order = draw(st.sampled_from([sorted, list, lambda items: sorted(items, reverse=True)]))
            self.escape = draw(st.sampled_from(["ascii", "raw", "slash", "all"]))
            self.twice = draw(st.sampled_from(["", "", "label", "version", "digest", "targets", "value"]))

    def text(self, value: Any) -> str:
        if isinstance(value, Literal):
            return str(value)
        if isinstance(value, str):
            return self.quoted(value)
        if isinstance(value, list):
            return "[" + f",{self.space}".join(map(self.text, value)) + "]"
        if not isinstance(value, dict):
            return json.dumps(value)
        pairs = [(key, value[key]) for key in self.order(value)]
        pairs += [(key, item) for key, item in pairs if key == self.twice]
        body = [f"{self.quoted(key)}:{self.space.strip(chr(10))}{self.text(item)}" for key, item in pairs]
        return "{" + self.space + f",{self.space}".join(body) + self.space + "}"

    def quoted(self, text: str) -> str:
        if self.escape == "raw":
            return json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)
        if self.escape == "all":
            units = text.encode("utf-16-be", "surrogatepass")
            return '"' + "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)) + '"'
        return json.dumps(text).replace("/", "\\/") if self.escape == "slash" else json.dumps(text)


@st.composite
def perturbed(draw: st.DrawFn) -> bytes:
    """A report's file with a few places changed, written in some layout, mostly with a digest that fits."""
    tree = hostile.report()
    for _ in range(draw(st.integers(0, 2))):
        container, key = draw(st.sampled_from(places(tree)))
        what = draw(st.sampled_from(["replace", "remove", "add"]))
        if what == "replace":
            container[key] = draw(VALUES)
        elif what == "remove":
            del container[key]
        elif isinstance(container, dict):
            container[draw(st.text(max_size=3))] = draw(VALUES)
    if isinstance(tree, dict) and "digest" in tree and draw(st.integers(0, 9)):
        tree["digest"] = digest(tree)
    text = Layout(draw).text(tree)
    cut = draw(st.one_of(st.just(len(text)), st.just(len(text)), st.integers(0, len(text))))
    return text[:cut].encode("utf-8", "surrogatepass") + draw(st.sampled_from([b"", b"\n", b"\n", b" x"]))


def digest(tree: Any) -> str:
    """The digest of a tree with literals; any text where it has none (a number that no Python reads)."""
    try:
        return codec.digest(json.loads(Layout().text(tree)))
    except (ValueError, AttributeError):
        return "none"


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(perturbed())
def test_both_ways_say_the_same_of_whatever_is_written(data: bytes) -> None:
    agree(data)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_digest_of_the_very_bytes_makes_no_other_report_of_them(data: st.DataObject) -> None:
    """Who computes a digest can make it fit bytes that are not canonical; the report is what they say all the same."""
    tree = hostile.report()
    layout = Layout(data.draw)
    assume(layout.twice != "digest")
    text = layout.text({**tree, "digest": "@"}).replace("\n", "")
    covered = re.sub(r'"digest":"@",|"label":"small",', "", text)
    forged = hashlib.blake2b(covered.encode("utf-8"), digest_size=32).hexdigest()
    found = text.replace("@", forged).encode()
    quick = codec._as_written(found, Parts())
    assert quick is None or (quick, []) == (codec._in_any_form("r", found, True)[0], [])


def test_parts_that_are_alike_are_decoded_once() -> None:
    met, nodes = Parts(), [many.report(number) for number in (0, 1, 2, 3, 4)]
    found = [codec._as_written(node, met) for node in nodes]
    assert found == [codec._as_written(node, Parts()) for node in nodes]
    assert met.cut(nodes[4]).rest.count(b"[[[") == 3
    assert len(met.cut(nodes[4]).rest) < len(nodes[4]) / 10
    _, second, third, other, last = [report.targets[0].battery for report in found if report]
    assert second
    assert all(one and one.operators is second.operators for one in (third, last))
    assert other
    assert other.operators != second.operators


def test_what_is_kept_of_parts_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MOST", 2_000_000)
    monkeypatch.setattr(parts, "MOST_MET", 2)
    met = Parts()
    for number in (0, 0, 3, 3, 7, 7, 0):
        node = many.report(number)
        assert codec._as_written(node, met) == codec._as_written(node, Parts())
        assert sum(len(part.text) for part in met._known) <= 2_000_000
        assert len(met._sums) <= 2


def value_of(key: str) -> bytes:
    """The value of a key of the good report, as it stands in the file."""
    text = hostile.GOOD.decode("ascii")
    start = text.index(f'\n"{key}":') + len(f'\n"{key}":')
    return text[start : json.JSONDecoder().raw_decode(text, start)[1]].encode("ascii")


OPERATORS, TRACE = value_of("operators"), value_of("trace")
PIECES = [
    *(OPERATORS, TRACE),
    *(b"[[[0]]]", b"[[[1]]]", b"[[[ 0]]]", b'"[[[0]]]"', b"null", b"[]", b"0", b" ", b",", b"\n", b"}", b"]"),
    *(b'\n"operators":', b'\n"trace":', b',\n"operators":', b',\n"trace":', b'"x\\"operators":', b'"x\\n"trace":'),
]


def signed(text: bytes) -> bytes:
    """The text with a digest of its very bytes."""
    text = re.sub(rb'"digest":"[0-9a-f]{64}"', b'"digest":"@"', text, count=1)
    covered = re.sub(rb'"digest":"@",\n|"label":"[^"]*",\n', b"", text, count=2).replace(b"\n", b"")
    return text.replace(b"@", hashlib.blake2b(covered, digest_size=32).hexdigest().encode())


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ([], True),
        ([(OPERATORS, b"[[[0]]]")], False),
        ([(OPERATORS, b"[[[0]]]"), (b'"battery":', b'"a":{\n"operators":%s},"battery":' % OPERATORS)], False),
        ([(TRACE, b"[[[0]]]"), (b'"battery":', b'"a":{\n"trace":%s},"battery":' % TRACE)], False),
        ([(b'"battery":', b'"a":{\n"trace":%s,\n"operators":%s},"battery":' % (TRACE, OPERATORS))], True),
        (
            [(OPERATORS, b"[[[0]]]"), (b'"version":1', b'"z":{\n"operators":%s},"version":1' % OPERATORS)],
            False,
        ),
        ([(b'"version":1', b'"z":{\n"operators":%s},"version":1' % OPERATORS)], True),
        ([(OPERATORS, b"@@"), (TRACE, OPERATORS), (b"@@", TRACE)], False),
        ([(OPERATORS, TRACE)], False),
        ([(TRACE, OPERATORS)], False),
        ([(OPERATORS, OPERATORS + b"]")], False),
        ([(OPERATORS, OPERATORS + b',\n"operators":[]')], True),
        ([(OPERATORS, b'[],\n"operators":' + OPERATORS)], True),
    ],
)
def test_known_parts_in_odd_places(changes: list[tuple[bytes, bytes]], accepted: bool) -> None:
    met, text = Parts(), hostile.GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    text = signed(text)
    fresh = codec._as_written(text, Parts())
    for _ in range(2):
        assert codec._as_written(hostile.GOOD, met)
    assert met.cut(text).parts or not changes[1:]
    assert codec._as_written(text, met) in (None, fresh)
    assert (fresh is not None) == accepted


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_known_parts_change_nothing(data: st.DataObject) -> None:
    """Parts, their numbers and their keys where nobody expects them, under a digest of the very bytes."""
    met = Parts()
    for _ in range(2):
        assert codec._as_written(hostile.GOOD, met)
    assert len(met.cut(hostile.GOOD).parts) == 2
    text = hostile.GOOD
    for _ in range(data.draw(st.integers(1, 4))):
        new = b"".join(data.draw(st.lists(st.sampled_from(PIECES), max_size=3)))
        old = data.draw(st.sampled_from(PIECES))
        if old in text and data.draw(st.booleans()):
            text = text.replace(old, new, 1)
        else:
            edges = [found.end() for found in re.finditer(rb"[\n:,{}\[\]]", text)]
            at = data.draw(st.sampled_from(edges or [0]))
            text = text[:at] + new + text[at:]
    text = signed(text)
    found = codec._as_written(text, met)
    assert found in (None, codec._as_written(text, Parts()))
    if found and not text.count(b'"operators":') > 1 and not text.count(b'"trace":') > 1:
        assert found == msgspec.json.decode(text, type=Report)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b" " * 3001, "3,001 bytes is more than a report can have"),
        (gzip.compress(b" " * 3001, mtime=0), "unpacks to more than a report can have"),
        (b'{"x": "' + "\u00e9".encode() * 600 + b'"}', "beyond ASCII are more than a report can have"),
        (b'{"x": [' + b"1," * 60 + b"1]}", "more than 50 values"),
        (b'{"x": [' + b"{}," * 40 + b"1]}", "more than 50 values"),
    ],
    ids=["large", "packed", "beyond-ascii", "numbers", "objects"],  # equal in all processes that collect tests
)
def test_sizes_are_limited(content: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LIMIT", 3000), ("FREELY", 100), ("MOST_VALUES", 50)):
        monkeypatch.setattr(source, name, value)
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(codec.CodecError, match=words):
        codec.read(str(path))


def test_facts_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(misfits, "MOST_FACTS", 6)
    with pytest.raises(codec.CodecError, match=r"\$.targets\[0\]: more than 6 facts"):
        codec.decode("r.json", hostile.GOOD)
