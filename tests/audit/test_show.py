"""`audit show --sharing`: what leaves a machine with its report, and what in a report from elsewhere is odd."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.cli import main
from probes import assemble
from reports.catalogue import catalogue
from reports.render.pages import sharing

MACHINES = Path(__file__).parent.parent.parent / "fixtures" / "machines"
SUFFIXES = {"terminal": "txt", "markdown": "md", "json": "json"}

Golden = Callable[[str, str], None]
Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """shown(change, *options): what `audit show --sharing` prints of the recorded host, changed by hand."""
    monkeypatch.chdir(tmp_path)

    def show(change: Change, *options: str) -> str:
        tree = json.loads(gzip.decompress((MACHINES / "host.json.gz").read_bytes()))
        change(tree)
        tree["digest"] = assemble.digest(tree)
        Path("mine.json").write_text(json.dumps(tree))
        assert main(["show", "mine.json", "--sharing", *options]) == 0
        return capsys.readouterr().out

    return show


def facts(tree: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = tree["targets"][0]["facts"]
    return found


def as_it_is(tree: dict[str, Any]) -> None:
    pass


def odd(tree: dict[str, Any]) -> None:
    """What an older auditor, a newer one or a hand may have put there; names and values are not to be trusted."""
    tree["label"] = "machine-0a1b2c"
    facts(tree)["packages.mine.editable"] = {"value": True, "source": "direct_url.json"}
    facts(tree)["packages.mine.commit"] = {"value": "0123456789abcdef0123", "source": ".git"}
    facts(tree)["variables.XLA_FLAGS"] = {"value": "--xla_dump_to=/home/ann/x", "source": "the environment"}
    facts(tree)["variables.AWS_SECRET"] = {"value": "hunter2 | \x1b[31m", "source": "the environment"}
    facts(tree)["user.name\n"] = {"value": "ann", "source": "getpass"}
    facts(tree)["cpu.governor"] = {"status": "failed", "reason": "OSError: C:\\Users\\ann"}


@pytest.mark.parametrize("format", SUFFIXES)
@pytest.mark.parametrize("change", [as_it_is, odd], ids=["sharing", "sharing_odd"])
def test_the_page_is_as_committed(
    change: Change, format: str, request: pytest.FixtureRequest, shown: Callable[..., str], golden: Golden
) -> None:
    name = request.node.callspec.id.split("-")[0]
    golden(f"{name}.{SUFFIXES[format]}", shown(change, "--format", format))


def test_the_answer_comes_first_and_the_next_command_last(shown: Callable[..., str]) -> None:
    lines = shown(as_it_is).splitlines()
    assert lines[0].startswith("THE MACHINE, NOT YOU. What host computes with: 300 facts, ")
    assert lines[-1] == "Next, to see every fact:  audit show mine.json --all"
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 100


def test_a_report_is_not_taken_at_its_word(shown: Callable[..., str]) -> None:
    first = " ".join(shown(odd).split())
    assert first.startswith(
        "LOOK BEFORE YOU SEND IT. The file has 2 facts that this auditor does not know and 2 facts "
    )


def test_facts_in_effect_are_looked_at_too(shown: Callable[..., str]) -> None:
    def change(tree: dict[str, Any]) -> None:
        tree["targets"][0]["jobs"][0]["facts"]["blas.kernel"] = {"value": ["/home/ann/x"], "source": "x"}

    assert "folder" in shown(change).splitlines()[0]


def test_a_flood_is_counted(shown: Callable[..., str]) -> None:
    def change(tree: dict[str, Any]) -> None:
        facts(tree).update({f"variables.X{number}": {"value": "y" * 9000, "source": "x"} for number in range(500)})

    text = shown(change)
    assert "500 facts that this auditor does not know" in " ".join(text.split())
    assert "489 more" in text
    assert len(text.splitlines()) < 500


def test_no_recorded_machine_is_odd() -> None:
    from reports import codec

    for path in MACHINES.glob("*.gz"):
        found = sharing.sharing(codec.read(str(path))[0])
        assert found.odd == [], path.name
        assert set(found.variables) <= {row.fact.removeprefix("variables.") for row in catalogue().rows}


def test_a_comparison_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = str(tmp_path / "c.json")
    host = str(MACHINES / "host.json.gz")
    assert main(["diff", host, host, "--format", "json", "-o", saved]) == 0
    assert main(["show", saved, "--sharing"]) == 2
    assert "--sharing reads a report" in capsys.readouterr().err


def test_every_page_of_a_report_tells_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(MACHINES / "host.json.gz")]) == 0
    assert "(audit show --sharing)" in capsys.readouterr().out


def test_an_edited_report_is_shown_only_when_allowed_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tree = json.loads(gzip.decompress((MACHINES / "host.json.gz").read_bytes()))
    facts(tree)["libc.version"]["value"] = "2.41"
    Path("edited.json").write_text(json.dumps(tree))
    assert main(["show", "edited.json"]) == 2
    assert capsys.readouterr().out == ""
    assert main(["show", "edited.json", "--allow-edited"]) == 0
    assert capsys.readouterr().err == "audit show: edited.json was edited after it was written\n"


def test_what_images_and_their_recipes_say_is_listed_and_no_target_hides_another(shown: Callable[..., str]) -> None:
    def images(tree: dict[str, Any]) -> None:
        facts(tree)["variables.OPENBLAS_CORETYPE"]["value"] = "Haswell"
        inside = json.loads(json.dumps(tree["targets"][0]))
        inside["name"] = "lab/image:1"
        inside["facts"]["variables.OPENBLAS_CORETYPE"]["value"] = None
        inside["facts"]["variables.TZ"]["value"] = "UTC"
        inside["facts"]["packages.numpy.version"]["value"] = "1.24.2"
        inside["facts"]["engine.name"] = {"value": "Docker", "source": "engine version"}
        inside["facts"]["image.recipe"] = {"value": ["RUN pip install numpy==1.24.2"], "source": "image history"}
        tree["targets"].append(inside)

    page = " ".join(shown(images).split())
    assert "OPENBLAS_CORETYPE=Haswell" in page
    assert "TZ=UTC" in page
    assert "Engine Docker" in page
    assert "Images lab/image:1" in page
    assert "Recipes RUN pip install numpy==1.24.2" in page
    assert "1390 operator results" in page.replace(",", "")
