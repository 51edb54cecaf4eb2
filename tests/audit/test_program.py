"""A person's own program under `audit run -- COMMAND`: what it prints, how it is ended, what is kept of it, where it
runs. What it may do to the audit is a table of its own, `program_faults.py`."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audit.cli import main
from audit.targets import bundle
from reports import codec
from reports.report import Job, Target
from tests.audit.program_faults import TRAIN

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

INT, TERM, HUP, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL
ENDING = "audit: your program is being ended, and what it did until then is kept (once more: at once)"

WAITS = "print('here', flush=True)\nimport time\nfor _ in range(1000): time.sleep(0.1)\n"
SAVES = """import signal, time
def save(number, frame):
    print("saving", flush=True)
    time.sleep(WAIT)
    print("saved", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
"""


class Run:
    """A command that runs a program, in a folder of its own. What it says is read up to some words, or to its end."""

    def __init__(self, folder: Path, command: list[str], *options: str, program: str) -> None:
        for name in ("tmp", "work"):
            (folder / name).mkdir()
        (folder / "work" / "train.py").write_text(TRAIN + program)
        self.folder = folder
        self.said = ""
        self.marker = secrets.token_hex(8)
        self.process = subprocess.Popen(
            [*command, *options, "-o", "x.json", "--job", "none", "--", sys.executable, "train.py"],
            cwd=folder / "work",
            env={**os.environ, "TMPDIR": str(folder / "tmp"), "MARKER": self.marker},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
        )

    def until(self, words: str) -> str:
        """Read until these words are said."""
        assert self.process.stderr
        while words not in self.said:
            data = os.read(self.process.stderr.fileno(), 65536)
            assert data, f"it ended with {self.process.wait()} and said {self.said}"
            self.said += data.decode()
        return self.said

    def end(self) -> int:
        """Read to the end; the exit status."""
        assert self.process.stderr
        with self.process.stderr as stream:
            self.said += stream.read().decode()
        return self.process.wait(30)

    def running(self) -> list[int]:
        """The processes that it started and that still run."""
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if self._mine(path)]

    def _mine(self, path: Path) -> bool:
        with contextlib.suppress(OSError):
            return self.marker.encode() in path.read_bytes()
        return False

    def left(self) -> list[object]:
        """Processes and temporary files that are still there after a while."""
        for _ in range(200):
            found = [*self.running(), *(path.name for path in (self.folder / "tmp").iterdir())]
            if not found:
                break
            time.sleep(0.05)
        return found

    @property
    def report(self) -> Path:
        return self.folder / "work" / "x.json"

    def target(self) -> Target:
        (target,) = codec.read(str(self.report))[0].targets
        return target

    def job(self) -> Job:
        (job,) = self.target().jobs
        return job


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    path = tmp_path_factory.mktemp("bundle") / "probes.pyz"
    path.write_bytes(bundle.pyz())
    return {"audit run": [sys.executable, "-m", "audit", "run", "--quiet"], "probes.pyz": [sys.executable, str(path)]}


@pytest.fixture
def start(tmp_path: Path, commands: dict[str, list[str]]) -> Iterator[Callable[..., Run]]:
    started: list[Run] = []

    def run(*options: str, program: str = "", command: str = "audit run") -> Run:
        started.append(Run(tmp_path, commands[command], *options, program=program))
        return started[-1]

    yield run
    for one in started:
        one.process.kill()
        one.process.wait()
        if one.process.stderr:
            one.process.stderr.close()


# -- what it prints, and what is said of it ---------------------------------------------------------------------------


def test_what_it_prints_is_passed_on_as_it_is(start: Callable[..., Run]) -> None:
    """Bytes that are no text, both streams in their order, a last line without its end."""
    program = "for n in range(3): os.write(1 + n % 2, bytes([0, 255, 10, 27]) + b'[31m' + str(n).encode())\n"
    run = start(program=program)
    assert run.process.stderr
    with run.process.stderr as stream:
        assert stream.read() == b"".join(b"\0\xff\n\x1b[31m%d" % n for n in range(3)) + b"\n"
    assert run.process.wait(30) == 0


def test_it_is_passed_on_at_once_and_only_then(start: Callable[..., Run]) -> None:
    """Python keeps what it prints to a pipe; a person must see it when it is printed."""
    program = "import time\nprint('one')\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('two')\n"
    run = start(program=program)
    assert run.until("one\n") == "one\n"
    (run.folder / "work" / "go").touch()
    assert run.end() == 0
    assert run.said == "one\ntwo\n"


def test_what_ran_and_what_became_of_it_is_in_the_report(start: Callable[..., Run]) -> None:
    run = start(program="sys.exit(5)")
    assert run.end() == 3
    job = run.job()
    assert (job.name, job.runs, len(job.seconds), job.status) == ("program", 1, 1, None)
    assert job.trace
    assert (job.trace.steps, [row.tensor for row in job.trace.rows]) == (2, ["output"])
    assert job.facts["program.status"].value == 5
    assert job.facts["program.arguments"].value == "e4a6a0577479b2b4"  # of no arguments
    assert run.target().incomplete == ["program ended with exit status 5 after 2 steps"]
    assert run.target().chosen == "your program's own"
    assert str(run.folder) not in run.report.read_text()


def test_the_summary_shows_the_command_to_who_typed_it_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    monkeypatch.chdir(tmp_path)
    own = ["--", sys.executable, "train.py", "--secret", "7f3a"]
    assert main(["run", "--job", "none", "--label", "a", "-o", "x.json", *own]) == 0
    said = capfd.readouterr().out
    assert said.startswith("RECORDED. a: 2 steps of your program, 2 rows. Saved x.json (")
    assert f"{sys.executable}, Python" in said
    assert "(your program's own)" in said
    command = f"audit run -o other.json -- {sys.executable} train.py --secret 7f3a"
    assert said.splitlines()[-1] == f"Next, on the other machine:  {command}    # then: audit diff x.json other.json"
    assert main(["run", "--job", "none", "--label", "a", "-o", "x.json", "--format", "markdown", *own]) == 0
    said = capfd.readouterr().out
    assert "audit run -o other.json -- THE SAME COMMAND" in said
    assert "secret" not in said + (tmp_path / "x.json").read_text()


def test_it_ends_after_the_steps_that_are_asked_for_and_is_repeated_then(start: Callable[..., Run]) -> None:
    run = start("--steps", "3", "--repeat", "2", program="while True: step()\n")
    assert run.end() == 0
    job = run.job()
    assert job.trace
    assert (job.trace.steps, job.runs, len(job.seconds)) == (3, 2, 2)
    assert [repeat.digest for repeat in job.repeats] == [job.trace.digest]


def test_what_it_does_not_repeat_is_found(start: Callable[..., Run]) -> None:
    run = start("--steps", "4", "--repeat", "2", program="step()\nstep(float.fromhex(os.urandom(6).hex()))\n")
    assert run.end() == 1
    (repeat,) = run.job().repeats
    assert (repeat.step, repeat.row) == (3, 0)


def test_a_run_that_fails_is_not_repeated(start: Callable[..., Run]) -> None:
    run = start("--steps", "9", "--repeat", "3", program="print('ran')\nsys.exit(4)\n")
    assert run.end() == 3
    assert run.said == "ran\n"
    assert run.target().incomplete == ["program ended with exit status 4 after 2 steps"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--steps 2", "--steps is about a COMMAND: audit run --steps ... -- python train.py"),
        ("--window 0:1", "--window is about a COMMAND"),
        ("--trace steps --window 0:1 -- true", "--window records operators; leave out --trace steps"),
        ("--steps 2 --window 2:5 -- true", "--window 2:5 begins after the last of --steps 2"),
        ("--repeat 2 -- true", "--repeat 2 would run COMMAND 2 times to its end"),
        ("--steps 0 -- true", "'0' is no number of steps"),
        ("--window 3:3 -- true", "'3:3' is not A:B, such as 0:3 for steps 0, 1 and 2"),
        ("--stall never -- true", "'never' is no number of seconds"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    arguments: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main(["run", *arguments.split()])
    except SystemExit as error:  # argparse's own
        status = int(str(error.code))
    assert status == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


# -- how it is ended --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["audit run", "probes.pyz"])
@pytest.mark.parametrize("number", [INT, TERM, HUP], ids=lambda number: number.name)
def test_an_interruption_keeps_what_was_recorded(
    number: signal.Signals, command: str, start: Callable[..., Run]
) -> None:
    run = start(program=WAITS, command=command)
    run.until("here\n")
    run.process.send_signal(number)
    assert run.end() == 3
    assert f"here\n\n{ENDING}\n" in run.said
    assert run.left() == []
    job = run.job()
    assert job.trace
    assert job.trace.steps == 2
    assert job.facts["program.status"].value == "SIGTERM"
    assert run.target().incomplete == ["interrupted during program, run 1 of 1, after 2 steps"]


def test_it_may_save_what_it_has(start: Callable[..., Run]) -> None:
    run = start(program=SAVES.replace("WAIT", "1") + WAITS)
    run.until("here\n")
    run.process.send_signal(INT)
    assert run.end() == 3
    assert run.said == f"here\n\n{ENDING}\nsaving\nsaved\n"
    assert run.job().facts["program.status"].value == 0
    assert run.left() == []


@pytest.mark.parametrize("command", ["audit run", "probes.pyz"])
def test_a_second_interruption_ends_it_at_once(command: str, start: Callable[..., Run]) -> None:
    run = start(program=SAVES.replace("WAIT", "1000") + WAITS, command=command)
    run.until("here\n")
    run.process.send_signal(INT)
    run.until("saving\n")
    time.sleep(2.1)  # what comes earlier belongs to the first wish
    run.process.send_signal(INT)
    assert run.end() == 2
    assert run.said.splitlines()[-1].endswith("interrupted; nothing was written (--partial keeps what was measured)")
    assert run.left() == []
    assert not run.report.exists()


def test_an_interruption_of_a_repeat_keeps_the_run_before(start: Callable[..., Run]) -> None:
    program = "if os.path.exists('second'):\n    " + WAITS.replace("\n", "\n    ") + "\nopen('second', 'w')\nstep()\n"
    run = start("--steps", "9", "--repeat", "2", program=program)
    run.until("here\n")
    run.process.send_signal(TERM)
    assert run.end() == 3
    assert run.job().trace
    assert (run.job().runs, run.job().repeats) == (1, [])
    assert run.job().facts["program.status"].value == 0
    assert run.target().incomplete == ["interrupted during program, run 2 of 2, after 2 steps"]


def test_nothing_is_left_when_the_auditor_is_killed(start: Callable[..., Run]) -> None:
    run = start(program="import os\nos.system('setsid sleep 1000 &')\n" + WAITS)
    run.until("here\n")
    assert len(run.running()) > 3
    run.process.kill()
    assert run.left() == []


def test_nothing_is_left_when_what_watches_it_is_killed(start: Callable[..., Run]) -> None:
    run = start(program=WAITS)
    run.until("here\n")
    parents = {pid: int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]) for pid in run.running()}
    (watching,) = [pid for pid, parent in parents.items() if parent == run.process.pid]
    os.kill(watching, KILL)
    assert run.end() == 3
    assert run.target().incomplete == ["program: SIGKILL"]
    (folder,) = (run.folder / "tmp").iterdir()  # that alone cannot be helped
    shutil.rmtree(folder)
    assert run.left() == []


def test_a_terminal_has_progress_until_the_program_prints(tmp_path: Path) -> None:
    """On a terminal a line moves; nothing of it may come between what the program prints."""
    printed = "import time\ntime.sleep(1)\nfor n in range(9):\n    print('line', n)\n    time.sleep(0.2)\n"
    (tmp_path / "train.py").write_text(TRAIN + printed)
    command = [sys.executable, "-m", "audit", "run", "--job", "none", "-o", str(tmp_path / "x.json"), "--"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", NO_COLOR="1")
        os.execv(sys.executable, [*command, sys.executable, str(tmp_path / "train.py")])
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while data := os.read(terminal, 65536):
            shown += data
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0
    text = shown.decode()
    assert "program, run 1 of 1" in text.partition("line 0")[0]
    whole = "".join(f"line {n}\r\n" for n in range(9))
    assert whole in text
    assert "\x1b[" not in text.partition(whole)[2].partition("RECORDED.")[0]


# -- where it runs ----------------------------------------------------------------------------------------------------


def test_it_is_started_anew_in_an_emulator(start: Callable[..., Run], tmp_path: Path) -> None:
    """What a process in an emulator starts is not in it. The emulator here is a script that leaves a mark."""
    emulator = tmp_path / "qemu-x"
    emulator.write_text(f'#!/bin/sh\necho "$*" >> "{tmp_path}/started"\nexec "$@"\n')
    emulator.chmod(0o755)
    run = start("--via", f"env {emulator}", "--python", sys.executable)
    assert run.end() == 0
    started = (tmp_path / "started").read_bytes().decode().split("\n")
    assert started[-2:] == [f"{sys.executable} train.py", ""]
    assert {line.split()[1] for line in started[:-2]} == {"-c"}


def test_a_script_leads_to_its_own_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "torchrun"
    script.write_text(f"#!{sys.executable}\n{TRAIN}")
    script.chmod(0o755)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.chdir(tmp_path)
    for more in ([], ["--via", "env A=1"]):
        assert main(["run", "--quiet", "--job", "none", "-o", "x.json", *more, "--", "./torchrun"]) == 0
        (target,) = codec.read("x.json")[0].targets
        assert (target.chosen, target.interpreter) == ("your program's own", Path(sys.executable).name)


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.12", "3.13"])
def test_it_runs_in_every_python(
    version: str, interpreter: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONWARNINGS", "error::DeprecationWarning:subprocess")
    own = ["--", interpreter(version), "train.py"]
    assert main(["run", "--quiet", "--job", "none", "-o", "x.json", *own]) == 0
    (target,) = codec.read("x.json")[0].targets
    assert str(target.facts["python.version"].value).startswith(f"{version}.")
    assert [job.name for job in target.jobs] == ["program"]


@pytest.mark.docker
def test_it_runs_in_a_container(engine: DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = ["--", "python3", "-c", TRAIN + "step()\nprint('inside', flush=True)\n"]
    assert main(["run", "--quiet", "--job", "none", "-o", "x.json", "--container", "audit-bookworm", *own]) == 0
    host, inside = codec.read("x.json")[0].targets
    for target in (host, inside):
        (job,) = target.jobs
        assert job.trace
        assert (job.trace.steps, target.chosen) == (3, "your program's own")
    assert host.jobs[0].trace == inside.jobs[0].trace


@pytest.mark.docker
def test_a_container_without_it_costs_that_one(
    engine: DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "train"
    script.write_text(f"#!{sys.executable}\n{TRAIN}")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    command = ["run", "--quiet", "--job", "none", "-o", "x.json", "--container", "audit-bookworm", "--"]
    assert main([*command, str(script)]) == 3
    host, inside = codec.read("x.json")[0].targets
    assert (host.incomplete, len(host.jobs)) == ([], 1)
    assert (inside.incomplete, inside.jobs) == (["program: COMMAND cannot be started there"], [])
    assert inside.facts
    assert "audit-bookworm is incomplete: program: COMMAND cannot be started there" in capfd.readouterr().err
    assert main([*command, "nosuch"]) == 2


@pytest.mark.docker
@pytest.mark.parametrize("running", [False, True], ids=["image", "container"])
def test_no_container_is_left_when_the_auditor_is_killed(running: bool, engine: DockerClient, tmp_path: Path) -> None:
    """Its end closes the line, wherever that leads."""
    beside = (
        engine.containers.run("audit-bookworm", ["sleep", "1000"], detach=True, auto_remove=True) if running else None
    )
    program = TRAIN + f"if not os.path.exists({str(tmp_path)!r}):\n    " + WAITS.replace("\n", "\n    ")
    where = ["--exec", str(beside.id)] if beside else ["--container", "audit-bookworm"]
    command = [
        "run",
        "--quiet",
        "--job",
        "none",
        "-o",
        str(tmp_path / "x.json"),
        *where,
        "--",
        "python3",
        "-c",
        program,
    ]
    try:
        with subprocess.Popen([sys.executable, "-m", "audit", *command], stderr=subprocess.PIPE, bufsize=0) as process:
            assert process.stderr
            while process.stderr.read(1) not in (b"\n", b""):
                pass
            (container,) = [one for one in engine.containers.list() if str(tmp_path) in "".join(_pythons(one))]
            process.kill()
        deadline = time.monotonic() + 20
        while (left := _pythons(container)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left
    finally:
        if beside:
            beside.remove(force=True)


def _pythons(container: Container) -> list[str]:
    """The commands of the Pythons that run in a container; none where it has gone."""
    with contextlib.suppress(OSError):
        return [" ".join(row) for row in container.top()["Processes"] if "python" in " ".join(row)]
    return []


@pytest.mark.emulated
@pytest.mark.skipif(shutil.which("qemu-x86_64-static") is None, reason="no qemu-x86_64-static")
def test_it_runs_on_an_emulated_cpu(start: Callable[..., Run]) -> None:
    run = start("--via", "qemu-x86_64-static -cpu Nehalem", program="import numpy\nstep()\n")
    assert run.end() == 0
    assert run.job().facts["numpy.simd_found"].value == []  # beyond what numpy needs: no AVX, whatever this CPU has


TRAINING = """
import torch
torch.manual_seed(0)
images, labels = torch.randn(64, 1, 12, 12), torch.arange(64) % 2
model = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.GELU(), torch.nn.Flatten(), torch.nn.Linear(800, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for start in range(0, 64, 16):
    loss = torch.nn.functional.cross_entropy(model(images[start : start + 16]), labels[start : start + 16])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@pytest.mark.torch
def test_an_unmodified_training_parts_at_the_first_operator_that_another_code_path_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one command on each side to the operator and its line: ATen's vector code draws other normal numbers."""
    from fixtures import environments

    (tmp_path / "train.py").write_text(TRAINING)
    monkeypatch.chdir(tmp_path)
    own = ["--steps", "1", "--window", "0:1", "--", str(environments.frameworks()), "train.py"]
    for label, capability in (("vector", "avx2"), ("default", "default")):
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", capability)
        command = ["run", "--quiet", "--job", "none", "--label", label, "-o", f"{label}.json"]
        assert main([*command, *own]) == 0
    assert main(["diff", "vector.json", "default.json", "--format", "json", "-o", "diff.json"]) == 1
    first = json.loads(Path("diff.json").read_text())["results"]["first_divergence"]
    assert (first["job"], first["step"], first["phase"]) == ("program", 0, "setup")
    assert (first["operator"], first["source"]) == ("aten::randn f4", "train.py:4")
