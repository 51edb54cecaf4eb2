"""The history: what is kept, in any order and only once; when results moved first and with what; hostile databases."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.cli import main
from audit.compare.side import Block, Ran
from audit.errors import AuditError
from audit.history import store
from audit.history.add import add
from audit.history.drift import drift
from audit.history.timeline import history
from fixtures import many
from reports.history import History
from reports.report import Fact

ROOT = Path(__file__).parent.parent.parent
NUMPY = "host~blas=packages.numpy.version~2.3"
NOON = 1_793_620_800  # 2026-11-02


# -- recorded machines over four days ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six nodes on four days: a new kernel on all on the second, another numpy on four of them on the third."""
    folder = tmp_path_factory.mktemp("days")
    for day in (1, 2, 3, 4):
        (folder / f"day{day}").mkdir()
        for node in range(1, 7):
            machine = NUMPY if day > 2 and node < 5 else "host"
            created = f"2026-11-0{day}T0{node}:00:00Z"
            text = many.dated(machine, f"gpu{node:03d}", created, os__kernel=f'"6.1.{min(day, 2)}"')
            (folder / f"day{day}" / f"gpu{node:03d}.json").write_bytes(text)
    return folder


@pytest.fixture
def kept(days: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with their history in it."""
    monkeypatch.chdir(tmp_path)
    for day in (3, 1, 4, 2):
        assert main(["history", "add", str(days / f"day{day}"), "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    return tmp_path


@pytest.mark.usefixtures("kept")
def test_what_a_person_sees(capsys: pytest.CaptureFixture[str], golden: Callable[[str, str], None]) -> None:
    for name, status, arguments in (
        ("history.txt", 1, []),
        ("history.md", 1, ["--format", "markdown"]),
        ("history node.txt", 1, ["gpu[001,005]", "--all"]),
        ("history fact.txt", 1, ["--fact", "packages.numpy.version"]),
        ("history since.txt", 0, ["--since", "2026-11-04"]),
    ):
        assert main(["history", *arguments]) == status
        shown = capsys.readouterr().out
        golden(name, shown)
        assert "--all" in arguments or len(shown.splitlines()) <= 25
    assert main(["history", "--format", "html"]) == 1
    assert "RESULTS MOVED on 2026-11-03 on gpu[001-004]:" in capsys.readouterr().out


@pytest.mark.usefixtures("kept")
def test_the_answer_as_json_and_shown_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "--format", "json", "-o", "h.json"]) == 1
    found = json.loads(Path("h.json").read_text())
    assert (found["format"], found["version"], found["verdict"]) == ("audit-history", 1, "moved")
    assert (found["nodes"], found["reports"], found["measured"]) == (6, 24, 6)
    move = found["move"]
    assert (move["day"], move["last"], move["labels"]) == (
        "2026-11-03",
        "2026-11-02",
        [f"gpu00{n}" for n in (1, 2, 3, 4)],
    )
    assert move["what"] == ["blas"]
    assert (move["facts"][0]["fact"], move["others"]) == ("packages.numpy.version", 0)
    assert [change["day"] for change in found["changes"]] == ["2026-11-03", "2026-11-02"]
    capsys.readouterr()
    main(["history"])
    direct = capsys.readouterr().out
    assert main(["show", "h.json"]) == 1
    assert capsys.readouterr().out == direct


def test_what_was_added_is_said_and_not_stored_twice(
    kept: Path, days: Path, capsys: pytest.CaptureFixture[str], golden: Callable[[str, str], None]
) -> None:
    before = (kept / "audit-history.sqlite").read_bytes()
    assert main(["history", "add", str(days / "day1"), str(days / "day2" / "gpu001.json")]) == 0
    golden("history added.txt", re.sub(r"\d+ kB", "N kB", capsys.readouterr().out))
    assert (kept / "audit-history.sqlite").read_bytes() == before


def test_what_cannot_be_used_or_is_of_another_time_is_said(
    days: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("in/gpu001.json").write_bytes((days / "day4" / "gpu001.json").read_bytes()[:500])
    Path("in/gpu002.json").write_bytes((days / "day4" / "gpu002.json").read_bytes())
    Path("in/gpu003.json").write_bytes(many.dated("host", "gpu003", "2999-01-01T00:00:00Z"))
    assert main(["history", "add", "in", "--format", "json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert (found["new"], found["known"], list(found["unusable"])) == (2, 0, ["gpu001.json"])
    assert found["ahead"] == ["gpu003"]
    assert main(["history", "add", str(days / "day2"), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["older"] == ["gpu002", "gpu003"]
    assert main(["history", "add", "in", "--format", "json", "--quiet"]) == 3
    # A file that was named is wanted: nothing is stored without it.
    before = Path("audit-history.sqlite").read_bytes()
    assert main(["history", "add", str(days / "day3"), "in/gpu001.json"]) == 2
    assert Path("audit-history.sqlite").read_bytes() == before


# -- histories in general ---------------------------------------------------------------------------------------------


def block(**facts: object) -> bytes:
    return msgspec.msgpack.encode(Block({name.replace("__", "."): Fact(value) for name, value in facts.items()}))  # type: ignore[arg-type]


def record(
    node: str = "n1", day: int = 0, job: str | None = "a", exp: str = "a", libc: str | None = "2.36", **how: object
) -> store.Record:
    """A report with one job, one operator and one fact. job, libc: None where it was not measured."""
    facts = {"libc": block(libc__version=libc)} if libc is not None else {}
    jobs = {"numpy": Ran(1, "c", job, True)} if job else {}
    operators = {"operator libm.exp 1": exp} if exp else {}
    components = dict.fromkeys(operators, "libm")
    at = NOON + 86400 * day
    values = {
        "node": node,
        "target": "host",
        "digest": f"{node} {day} {job} {exp} {libc} {how}",
        "at": at,
        "created": at,
        "facts": {"": facts},
        "operators": msgspec.msgpack.encode(operators),
        "components": msgspec.msgpack.encode(components),
        "jobs": jobs,
        "unrepeated": [],
        **how,
    }
    return msgspec.convert(values, store.Record)


def told(*records: store.Record, nodes: tuple[str, ...] = (), since: str | None = None, fact: str = "") -> History:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/h.sqlite"
        store.add(path, records)
        with store.reading(path) as opened:
            found = drift(opened, fact, nodes, since) if fact else history(opened, nodes, since)
            return msgspec.structs.replace(found, next="")


RECORDS = st.builds(
    record,
    node=st.sampled_from(["n1", "n2", "n3"]),
    day=st.integers(0, 4),
    job=st.sampled_from(["a", "b", None]),
    exp=st.sampled_from(["a", "b", ""]),
    libc=st.sampled_from(["2.36", "2.41", None]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=14), st.randoms(use_true_random=False))
def test_the_order_of_adding_changes_nothing_and_twice_is_once(
    records: list[store.Record], shuffle: random.Random
) -> None:
    shuffled = [*records, *records[:3]]
    shuffle.shuffle(shuffled)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/h.sqlite"
        for at in range(0, len(shuffled), 3):  # in several adds
            store.add(path, shuffled[at : at + 3])
        with store.reading(path) as opened:
            found = msgspec.structs.replace(history(opened), next="")
    assert found == told(*records)
    assert found.reports == len({one.digest for one in records})


def test_a_gap_hides_no_change() -> None:
    found = told(record(day=0), record(day=1, job=None, exp="", libc=None), record(day=2, job="b", libc="2.41"))
    (change,) = found.changes
    assert change.day == "2026-11-04"
    assert [one.what for one in change.results] == ["job numpy"]
    assert [(one.fact, one.before, one.after) for one in change.facts] == [("libc.version", "2.36", "2.41")]
    assert found.move is not None
    assert (found.move.day, found.move.last) == ("2026-11-04", "2026-11-03")


def test_what_was_not_measured_again_did_not_keep_its_bits() -> None:
    gaps = [record(day=n, job=None, exp="") for n in (1, 2)]
    assert told(record(), *gaps, since="2026-11-04").measured == 0


def test_another_version_of_a_job_is_no_other_result() -> None:
    newer = record(day=1, jobs={"numpy": Ran(2, "c", "b", True)})
    assert told(record(), newer).changes == []
    assert told(record(), newer, record(day=2, jobs={"numpy": Ran(2, "c", "d", True)})).verdict == "moved"


def test_a_node_that_no_longer_repeats_itself_is_said_once() -> None:
    shaky = {"jobs": {"numpy": Ran(1, "c", "z", False)}, "unrepeated": ["job numpy"]}
    found = told(record(), record(day=1, **shaky), record(day=2, job=None, exp=""), record(day=3, **shaky))
    (change,) = found.changes
    assert [(one.what, one.repeats) for one in change.results] == [("job numpy", False)]
    assert found.move is not None
    assert found.move.what == ["job numpy (no longer repeats itself)"]


def test_what_changed_everywhere_and_moved_only_some_is_said() -> None:
    records = [record(node=f"n{n}") for n in range(6)]
    records += [record(node=f"n{n}", day=1, exp="b" if n < 2 else "a", libc="2.41") for n in range(6)]
    found = told(*records)
    assert found.move is not None
    assert (found.move.labels, found.move.others) == (["n0", "n1"], 4)
    assert [one.fact for one in found.move.facts] == ["libc.version"]
    assert [(change.labels, len(change.results), len(change.facts)) for change in found.changes] == [
        (["n0", "n1"], 1, 0),
        ([f"n{n}" for n in range(6)], 0, 1),
    ]


def test_a_move_without_a_changed_fact_suspects_the_hardware(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = str(tmp_path / "h.sqlite")
    store.add(path, [record(), record(day=1, exp="b")])
    assert main(["history", "--db", path]) == 1
    assert "no fact changed with it: suspect the hardware" in " ".join(capsys.readouterr().out.split())


def test_nothing_to_compare_is_never_a_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = str(tmp_path / "one.sqlite")
    store.add(one, [record()])
    facts = str(tmp_path / "facts.sqlite")
    store.add(facts, [record(day=n, job=None, exp="") for n in (0, 1)])
    same = str(tmp_path / "same.sqlite")
    store.add(same, [record(), record(day=1)])
    changed = str(tmp_path / "changed.sqlite")
    store.add(changed, [record(), record(day=1, libc="2.41")])
    for path, fail_on, status, words in (
        (one, "results", 3, "NOTHING TO COMPARE."),
        (facts, "results", 3, "FACTS ONLY"),
        (facts, "numeric", 0, "FACTS ONLY"),
        (same, "any", 0, "NO RESULTS MOVED. 1 node kept its bits since 2026-11-02."),
        (changed, "results", 0, "1 fact changed; none moved a result."),
        (changed, "numeric", 1, "NO RESULTS MOVED."),
    ):
        assert main(["history", "--db", path, "--fail-on", fail_on]) == status
        assert words in " ".join(capsys.readouterr().out.split())
    assert main(["history", "--db", same, "--since", "2026-11-04"]) == 3


def test_one_fact_over_time() -> None:
    records = [record(node=node, day=day, libc="2.41" if day > 1 and node == "n2" else "2.36")
               for node in ("n1", "n2") for day in range(4)]  # fmt: skip
    found = told(*records, fact="libc.version")
    assert (found.verdict, found.exit) == ("changed", 1)
    assert [(one.value, one.since, one.last, one.labels) for one in found.held] == [
        ("2.41", "2026-11-04", "2026-11-05", ["n2"]),
        ("2.36", "2026-11-02", "2026-11-05", ["n1"]),
    ]
    assert told(*records, fact="libc.version", nodes=("n1",)).exit == 0
    with pytest.raises(AuditError, match=r"no report in the history has a fact cpu\.model"):
        told(*records, fact="cpu.model")
    with pytest.raises(AuditError, match="no report of n7 in the history; it has: n"):
        told(*records, nodes=("n7",))


def test_targets_of_a_node_are_apart() -> None:
    image = record(day=1, exp="b", target="image")
    assert told(record(), image).verdict == "nothing-to-compare"
    found = told(record(), image, record(day=2, exp="c", target="image"))
    assert found.changes[0].labels == ["n1#image"]
    assert told(record(), image, nodes=("n1#image",)).reports == 1
    assert told(record(), image, nodes=("n1",)).reports == 2


# -- the database -----------------------------------------------------------------------------------------------------


def not_sqlite(path: Path) -> None:
    path.write_text("this is a text " * 100)


def another_program(path: Path) -> None:
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE report (a)")


def later(path: Path) -> None:
    store.add(str(path), [record()])
    with sqlite3.connect(path) as made:
        made.execute("PRAGMA user_version = 7")


def with_a_trigger(path: Path) -> None:
    store.add(str(path), [record()])
    with sqlite3.connect(path) as made:
        made.execute("CREATE TRIGGER t AFTER INSERT ON report BEGIN DELETE FROM report; END")


def cut(path: Path) -> None:
    store.add(str(path), [record(node=f"n{n}", libc=str(n)) for n in range(200)])
    path.write_bytes(path.read_bytes()[:9000])


def garbage(path: Path) -> None:
    store.add(str(path), [record(), record(day=1, libc="x")])
    with sqlite3.connect(path) as made:
        made.execute("UPDATE content SET data = x'c1c1'")


def no_content(path: Path) -> None:
    store.add(str(path), [record(), record(day=1, libc="x")])
    with sqlite3.connect(path) as made:
        made.execute("DELETE FROM content")


def wrong_types(path: Path) -> None:
    store.add(str(path), [record()])
    with sqlite3.connect(path) as made:
        made.execute("UPDATE report SET at = 'noon'")


def far_future(path: Path) -> None:
    store.add(str(path), [record()])
    with sqlite3.connect(path) as made:
        made.execute("UPDATE report SET at = 1000000000000000")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def nothing(path: Path) -> None:
    pass


def an_empty_file(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (not_sqlite, "no history of audit; name another file with --db"),
        (another_program, "no history of audit"),
        (later, "a history of version 7; this audit reads up to 1: upgrade it"),
        (with_a_trigger, "a history with other tables than audit makes"),
        (cut, "the history is damaged"),
        (garbage, "the history is damaged"),
        (no_content, "the history is damaged"),
        (wrong_types, "the history is damaged"),
        (far_future, "the history is damaged"),
        (a_folder, "a folder; name a history with --db FILE"),
        (a_pipe, "no file; name a history"),
        (nothing, "no history here; begin one: audit history add REPORT..."),
        (an_empty_file, "an empty file; begin a history"),
    ],
)
def test_what_is_no_history_is_refused_in_one_line(
    make: Callable[[Path], None], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "h.sqlite"
    make(path)
    assert main(["history", "--db", str(path)]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("make", [not_sqlite, another_program, later, with_a_trigger, a_folder, a_pipe])
def test_nothing_is_added_to_what_is_no_history(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(AuditError):
        store.add(str(path), [record(day=9)])
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_bytes_that_went_bad_are_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "h.sqlite"
    store.add(str(path), [record(node=f"n{n}", day=day, libc=str(day // 3)) for n in range(8) for day in range(8)])
    good = path.read_bytes()
    chance = random.Random(1)
    refused = 0
    for _ in range(120):
        bad = bytearray(good)
        for _ in range(chance.choice([1, 2, 8, 40])):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        path.write_bytes(bad[: chance.randrange(len(bad)) if chance.random() < 0.1 else None])
        status = main(["history", "--db", str(path), *chance.choice([[], ["n1"], ["--fact", "libc.version"]])])
        errors = capsys.readouterr().err
        assert status in (0, 1, 2, 3)
        assert errors.count("\n") == (status == 2)
        assert "unexpected" not in errors
        refused += status == 2
    assert refused > 30


def test_a_history_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="it cannot be opened; is its folder there"):
        store.add(str(tmp_path / "none" / "h.sqlite"), [record()])
    path = tmp_path / "h.sqlite"
    store.add(str(path), [record()])
    path.chmod(0o444)
    (tmp_path / "r.json").write_bytes(many.report(0))
    tmp_path.chmod(0o755)
    other = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"] if os.geteuid() == 0 else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def audit(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*other, sys.executable, "-m", "audit", "history", *arguments, "--db", str(path)]
        return subprocess.run(command, cwd="/", capture_output=True, text=True, env=environment, check=False)

    if not other or subprocess.run([*other, "cat", str(path)], capture_output=True, check=False).returncode == 0:
        read, added = audit(), audit("add", str(tmp_path / "r.json"))
        assert read.stdout.startswith("NOTHING TO COMPARE."), read.stderr  # to read it needs no right to write
        assert (added.returncode, added.stdout, added.stderr.count("\n")) == (2, "", 1)
        assert added.stderr.startswith(f"audit history: {path}: ")


def test_a_name_is_data(tmp_path: Path) -> None:
    odd = "x'); DROP TABLE report; --\x1b[31m"
    found = told(record(node=odd), record(node=odd, day=1, exp="b"))
    assert found.changes[0].labels == [odd]
    path = str(tmp_path / "h%41 ?#.sqlite")
    store.add(path, [record(node=odd), record(node=odd, day=1, exp="b")])
    assert [one.name for one in tmp_path.iterdir()] == ["h%41 ?#.sqlite"]


def test_what_a_report_says_does_not_act_on_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "h.sqlite")
    store.add(path, [record(node="\x1b[31mn"), record(node="\x1b[31mn", day=1, exp="b", libc="\x1b]0;x\x07")])
    for form in ("terminal", "markdown", "html", "json"):
        main(["history", "--db", path, "--format", form, "--all"])
        assert "\x1b" not in capsys.readouterr().out


def test_two_processes_may_add_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "h.sqlite")
    errors = []

    def some(first: int) -> None:
        try:
            store.add(path, [record(node=f"n{n}", libc=str(n % 7)) for n in range(first, first + 200)])
        except AuditError as error:
            errors.append(error)

    threads = [threading.Thread(target=some, args=(first,)) for first in (0, 100, 200, 300)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert errors == []
    with store.reading(path) as opened:
        assert len(opened.entries()) == 500


def test_who_waits_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "h.sqlite")
    store.add(path, [record()])
    monkeypatch.setattr(store, "_BUSY", 0.05)
    with store.writing(path), pytest.raises(AuditError, match="another process is adding reports to it; try again"):
        store.add(path, [record(day=1)])


@pytest.mark.parametrize("existed", [True, False])
@pytest.mark.parametrize("end", ["os._exit(9)", "raise KeyboardInterrupt", "os.kill(os.getpid(), 9)"])
def test_what_ends_in_the_middle_leaves_the_former_state(existed: bool, end: str, tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    if existed:
        store.add(str(path), [record()])
    code = f"""
import os
from audit.history import store
from tests.audit.test_history import record
def records():
    for n in range(2000):
        yield record(node=f"n{{n}}", day=1, libc=str(n) * 500)
    {end}
store.add({str(path)!r}, records())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode not in (0, 2)
    if existed:
        with store.reading(str(path)) as opened:
            assert len(opened.entries()) == 1
    elif "Keyboard" in end:
        assert not path.exists()
    elif path.exists():  # SQLite takes back what a killed process had begun when it is opened next
        with pytest.raises(AuditError, match="an empty file"), store.reading(str(path)):
            pass
    store.add(str(path), [record(day=2)])
    assert sorted(one.name for one in tmp_path.iterdir()) == ["h.sqlite"]


@pytest.mark.parametrize("seconds", [0.2, 0.3])
def test_a_signal_while_reports_are_read_stores_nothing_or_came_too_late(
    tmp_path: Path, days: Path, seconds: float
) -> None:
    """Either nothing is stored, and that is said; or all of it is."""
    command = [sys.executable, "-m", "audit", "history", "add", *[str(days / f"day{n}") for n in (1, 2, 3, 4)]]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.send_signal(signal.SIGINT)  # to one that has ended it is not sent
    _, errors = process.communicate(timeout=30)
    if process.returncode == 2:
        assert "interrupted" in errors
        assert list(tmp_path.iterdir()) == []
    else:
        assert process.returncode == 0, errors
        with store.reading(str(tmp_path / "audit-history.sqlite")) as opened:
            assert opened.entries()


def test_a_signal_after_reports_are_stored_is_not_told_as_if_nothing_were(tmp_path: Path, days: Path) -> None:
    code = f"""
import os, signal, sys
from probes import interrupts
interrupts.install()
from audit import __main__
from audit.history import store
add = store.add
def signalled(*arguments):
    try:
        return add(*arguments)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
store.add = signalled
sys.argv[1:] = ["history", "add", {str(days / "day1")!r}]
sys.exit(__main__.main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "audit-history.sqlite" in done.stdout


def test_the_file_stays_small(tmp_path: Path) -> None:
    """A node that does not change costs a row a report; what a hundred nodes have in common is there once."""
    path = tmp_path / "h.sqlite"
    big = {"facts": {"": {"cpu": block(cpu__flags=[f"flag{n}" for n in range(2000)])}}}
    store.add(str(path), [record(node=f"n{n}", day=day, **big) for n in range(100) for day in range(30)])
    assert path.stat().st_size < 100 * 3000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add"], "what shall be added?"),
        (["add", "x.json", "--fact", "cpu.model"], "--fact is not for add"),
        (["add", "none.json"], "none.json: No such file"),
        (["gpu[1-"], "a bracket without its other one"),
    ],
)
def test_refusals(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["history", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_day_of_adding_stands_for_a_time_that_is_none(tmp_path: Path, days: Path) -> None:
    path = str(tmp_path / "h.sqlite")
    early = add([str(days / "day4" / "gpu001.json")], path, False, lambda *_: None, now=NOON)
    assert early.ahead == ["gpu001"]
    with store.reading(path) as opened:
        assert [one.at for one in opened.entries()] == [NOON]
    again = add([str(days / "day4" / "gpu001.json")], path, False, lambda *_: None, now=NOON + 86400 * 9)
    assert (again.new, again.known) == (0, 1)


def test_where_no_report_can_be_used_no_history_is_begun(tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "n1.json").write_text('{"format": "audit-rep')
    with pytest.raises(AuditError, match="none of its 1 files can be used; the first: not JSON, or cut short"):
        add([str(tmp_path / "n")], str(tmp_path / "h.sqlite"), False, lambda *_: None)
    assert os.listdir(tmp_path) == ["n"]
