"""The recorder of a process, by itself: a program that records its own rows, as the hooks of a framework do."""

from __future__ import annotations

import json
import os
import re
import signal
import sys

import numpy as np
import pytest

from probes.digest import tensor
from probes.program import collect, lay
from tests.probes.program.conftest import Program

RECORDER = """
import os, sys
sys.path.insert(0, os.environ["AUDIT_RECORDING"] + "/modules")
from _audit_probes.program import lay, recorder
folder = os.environ["AUDIT_RECORDING"]
recorder = recorder.Recorder(folder, lay.wanted(folder))
"""

STEPS = (
    RECORDER
    + """
for step in range(5):
    w = recorder.row("data", "w", "constant", [1.0, 2.0]) if step == 0 else 0
    x = recorder.row("data", "x", "constant", float(step))
    recorder.row("update", "w", "update", [1.0, float(step)], (x, *recorder.latest("update", "w")))
    recorder.loss(step / 2)
    recorder.end_step()
"""
)


def test_rows_steps_and_inputs(program: Program) -> None:
    ran = program(STEPS)
    assert ran.done.stderr == ""
    assert [job["name"] for job in ran.collected.jobs] == ["program"]
    trace = ran.job()["trace"]
    assert (trace["steps"], trace["phases"]) == (5, ["data", "update"])
    assert ran.names(0) == ["w", "x", "w"]
    assert ran.names(3) == ["x", "w"]
    assert ran.inputs(0, "update", "w") == ["x", "w"]
    assert ran.inputs(3, "update", "w") == ["x", "before w"]
    for step in range(5):
        assert ran.digest(step, "data", "x") == tensor(float(step)).digest().hex()
        assert ran.digest(step, "update", "w") == tensor([1.0, float(step)]).digest().hex()
    assert trace["sequence"] == {"0": [2, 0, 3], "1": [0, 4]}  # where the step before has w is one definition each
    assert ran.job()["outcome"]["losses"] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert collect.progress(str(ran.folder)) == 5


def test_values_of_the_first_step_and_of_sampled_rows(program: Program) -> None:
    text = RECORDER + (
        "for step in range(6):\n"
        "    recorder.row('data', 'x', 'constant', float(step))\n"
        "    recorder.row('loss', 'loss', 'constant', float(step), sample=True)\n"
        "    recorder.end_step()\n"
    )
    values = program(text).job()["trace"]["values"]
    assert [(value["step"], value["row"]) for value in values] == [(0, 0), (0, 1), (1, 1), (2, 1), (4, 1)]
    assert values[-1]["digest"] == tensor(4.0).digest().hex()
    assert values[-1]["values"] == "AAAAAAAAEEA="


def test_names_are_numbered_within_a_phase(program: Program) -> None:
    text = RECORDER + (
        "for name in ('a', 'a', 'b', 'a'):\n"
        "    recorder.row('data', name, 'constant', 1.0)\n"
        "recorder.row('loss', 'a', 'constant', 1.0)\n"
        "recorder.end_step()\n"
    )
    assert program(text).names(0) == ["a", "a#1", "b", "a#2", "a"]


def test_evaluations_belong_to_the_step_before_them(program: Program) -> None:
    text = RECORDER + (
        "for step in range(2):\n"
        "    recorder.row('update', 'w', 'update', float(step))\n"
        "    recorder.end_step()\n"
        "    recorder.row('evaluation', 'score', 'constant', 1.0, recorder.latest('evaluation', 'w'))\n"
    )
    ran = program(text)
    assert [ran.names(step) for step in range(2)] == [["w", "score"], ["w", "score"]]
    assert ran.inputs(1, "evaluation", "score") == ["w"]


def test_enough_ends_the_program_and_its_own_exit_handlers_run(program: Program) -> None:
    text = "import atexit\natexit.register(print, 'left')\n" + STEPS + "print('not reached')\n"
    ran = program(text, wanted=lay.Wanted(steps=3))
    assert (ran.done.returncode, ran.done.stdout, ran.done.stderr) == (0, "left\n", "")
    assert ran.job()["trace"]["steps"] == 3


def test_a_program_that_does_not_let_itself_be_ended_is_ended_one_step_later(program: Program) -> None:
    swallowed = "    print(step)\n    try: recorder.end_step()\n    except SystemExit: pass"
    text = STEPS.replace("    recorder.end_step()", swallowed)
    ran = program(text, "-u", wanted=lay.Wanted(steps=3), PYTHONUNBUFFERED="1")
    assert (ran.done.returncode, ran.done.stdout, ran.done.stderr) == (0, "0\n1\n2\n3\n", "")
    assert ran.job()["trace"]["steps"] == 4 - 1


@pytest.mark.parametrize("end", ["os._exit(7)", "os.kill(os.getpid(), 9)", "os.abort()", "raise SystemExit(7)"])
def test_what_was_recorded_is_there_however_the_program_ends(program: Program, end: str) -> None:
    ran = program(STEPS.replace("    recorder.end_step()", f"    recorder.end_step()\n    if step == 2: {end}"))
    assert ran.done.returncode in (7, -signal.SIGKILL, -signal.SIGABRT)
    assert ran.job()["trace"]["steps"] == 3
    assert ran.digest(2, "update", "w") == tensor([1.0, 2.0]).digest().hex()
    assert ran.job()["facts"]["python.version"]["value"] if end == "never" else ran.job()["facts"]


def test_a_line_that_was_not_finished_is_left_out(program: Program) -> None:
    ran = program(STEPS)
    (file,) = ran.folder.glob("recording-*")
    whole = file.read_bytes()
    for cut in (len(whole) // 2, len(whole) // 3, 10):
        file.write_bytes(whole[:cut])
        found = collect.collect(str(ran.folder))
        assert collect.progress(str(ran.folder)) <= 5
        assert [len(job["trace"]["digests"]) for job in found.jobs] in ([], [1], [2], [3], [4])


def test_a_forked_child_records_nothing(program: Program) -> None:
    text = STEPS.replace(
        "for step in range(5):",
        "recorder.row('data', 'first', 'constant', 1.0)\n"
        "child = os.fork()\n"
        "if child: os.waitpid(child, 0)\n"
        "for step in range(5):\n"
        "    if not recorder.active: continue",
    )
    ran = program(text)
    assert ran.done.stderr == ""
    assert [job["trace"]["steps"] for job in ran.collected.jobs] == [5]
    assert ran.names(0)[0] == "first"


def test_an_error_in_a_hook_ends_the_recording_and_not_the_program(program: Program) -> None:
    text = STEPS + (
        "@recorder.guard\n"
        "def hook(value):\n"
        "    recorder.row('data', 'x', 'constant', value)\n"
        "hook(1.0)\nhook(object())\nhook(2.0)\nprint('goes on', recorder.active)\n"
    )
    ran = program(text)
    assert (ran.done.returncode, ran.done.stdout, ran.done.stderr) == (0, "goes on False\n", "")
    (note,) = ran.collected.notes
    assert re.fullmatch(r"the recorder stopped in step 5: TypeError \(digest, line \d+\)", note)
    assert ran.job()["trace"]["steps"] == 5


def test_an_error_in_a_hook_whose_row_has_values_loses_no_step(program: Program) -> None:
    """Step 1 is sampled: the values of its rows are written at once, and the rows when the step is over."""
    text = RECORDER + (
        "@recorder.guard\n"
        "def step(number, value):\n"
        "    recorder.row('data', 'x', 'constant', float(number), sample=True)\n"
        "    recorder.row('data', 'y', 'constant', value)\n"
        "    recorder.end_step()\n"
        "step(0, 1.0)\nstep(1, object())\n"
    )
    ran = program(text)
    assert (ran.done.returncode, ran.done.stderr) == (0, "")
    assert [note.split(":")[0] for note in ran.collected.notes] == ["the recorder stopped in step 1"]
    assert ran.names(0) == ["x", "y"]
    (file,) = ran.folder.glob("recording-*")
    lines = file.read_text("ascii").splitlines(keepends=True)
    file.write_text("".join(line for line in lines if '"part"' not in line or '"step":0' in line), "ascii")
    kept = collect.collect(str(ran.folder)).jobs[0]["trace"]
    assert (kept["steps"], {value["step"] for value in kept["values"]}) == (1, {0})


def test_a_step_that_is_only_known_at_the_end_is_the_last(program: Program) -> None:
    """Of JAX's calls the last may wait until the process ends."""
    at_end = "recorder.at_end(lambda: (recorder.row('data', 'late', 'constant', 1.0), recorder.end_step()))\n"
    ran = program(STEPS.replace("for step in range(5)", at_end + "for step in range(2)"), wanted=lay.Wanted(steps=3))
    assert (ran.done.returncode, ran.done.stderr, ran.collected.notes) == (0, "", [])
    assert (ran.names(2), ran.job()["trace"]["steps"]) == (["late"], 3)
    assert ran.job()["facts"]


def test_several_processes_are_several_jobs(program: Program) -> None:
    text = STEPS + (
        "import subprocess\nif len(sys.argv) < 2: subprocess.run([sys.executable, 'prog.py', 'again'], check=True)\n"
    )
    names = [job["name"] for job in program(text).collected.jobs]
    assert names == ["program.process0", "program.process1"]


def test_ranks_name_the_jobs(program: Program) -> None:
    loop = "for step in range(5):"
    text = STEPS.replace(loop, "recorder.rank, recorder.world = int(sys.argv[1]), 2\n" + loop)
    text += "import subprocess\nif sys.argv[1] == '1': subprocess.run([sys.executable, 'prog.py', '0'], check=True)\n"
    names = [job["name"] for job in program(text, "1").collected.jobs]
    assert names == ["program.rank0", "program.rank1"]


def test_a_program_that_changes_directory_and_closes_descriptors(program: Program) -> None:
    text = "import os\n" + STEPS.replace("    recorder.end_step()", "    os.chdir('/')\n    recorder.end_step()")
    ran = program(text)
    assert ran.job()["trace"]["steps"] == 5
    closing = (
        "    recorder.end_step()\n"
        "    if step == 1:\n"
        "        os.closerange(3, 256)\n"
        "        mine = [open(f'mine{n}', 'w') for n in range(9)]\n"
    )
    ran = program(
        STEPS.replace("    recorder.end_step()\n", closing)
        + "assert not any(map(os.path.getsize, map('mine{}'.format, range(9))))\n"
    )
    assert (ran.done.returncode, ran.done.stderr) == (0, "")
    assert ran.job()["trace"]["steps"] == 5


def test_scores_facts_and_notes(program: Program) -> None:
    text = STEPS + (
        "recorder.score('accuracy', 0.5, 0.01)\n"
        "recorder.fact('program.batch', {'0': [1]}, 'test')\n"
        "recorder.fact('program.batch', {'0': [2]}, 'test')\n"
        "recorder.note('one')\nrecorder.note('one')\n"
    )
    ran = program(text)
    assert ran.job()["scores"] == [{"name": "accuracy", "value": 0.5, "stderr": 0.01}]
    assert ran.collected.facts["program.batch"] == {"value": {"0": [2]}, "source": "test"}
    assert ran.collected.notes == ["one"]
    assert list(ran.collected.facts["program.sources"]["value"]) == ["prog.py"]


def test_configurations_tell_traces_apart_that_cannot_be_compared(program: Program) -> None:
    wanted = [
        lay.Wanted(),
        lay.Wanted(steps=2),
        lay.Wanted(trace="operators", window=(0, 2)),
        lay.Wanted(trace="operators", window=(1, 2)),
    ]
    found = [program(STEPS, wanted=one).job()["configuration"] for one in wanted]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_the_size_of_a_thousand_steps(program: Program) -> None:
    text = RECORDER + (
        "for step in range(1000):\n"
        "    for i in range(306):\n"
        "        name = 'weight:transformer.h.%d.mlp.weight' % i\n"
        "        recorder.row('update', name, 'update', float(step), sample=i == 305)\n"
        "    recorder.end_step()\n"
    )
    assert len(json.dumps(program(text).collected.jobs)) < 5e6


def test_numpy_arrays_are_rows(program: Program) -> None:
    text = RECORDER + "import numpy\nrecorder.row('data', 'x', 'constant', numpy.arange(6.0).reshape(2, 3))\n"
    text += "recorder.end_step()\n"
    ran = program(text, interpreter=sys.executable)
    ((row, digest),) = ran.rows(0)
    assert (row["dtype"], row["shape"]) == ("f8", [2, 3])
    assert digest == tensor(np.arange(6.0).reshape(2, 3)).digest().hex()


def test_the_folder_is_the_programs_alone(program: Program) -> None:
    ran = program(STEPS)
    (file,) = ran.folder.glob("recording-*")
    assert os.stat(file).st_mode & 0o777 == 0o600
