"""What a hostile interpreter or machine does to `audit run` and to `probes.pyz`: one clear line and the right exit
status, or a report that says what it lacks; in bounded time and memory, with no traceback and nothing left behind.

The tables are data. `how` is a line of shell, run in an empty folder in which `run` is `audit run --quiet`, `alone` is
`python probes.pyz --quiet`, `$PYTHON` a good interpreter, `interpreter` makes an executable `./python` of its argument,
`site` a `sitecustomize.py` that `$SITE`, a prefix for `--via`, puts before the audited interpreter only, and `train` a
program `train.py` that takes two steps and does what its argument says.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from audit.targets import bundle
from reports import codec
from tests.audit.faults import NAMESPACE, Fault
from tests.audit.program_faults import PROGRAMS, TRAIN

SECONDS = 30
"""More than any fault takes, on a machine that is busy."""

KIBIBYTES = 500_000
"""More memory than any process needs; a flood is gigabytes."""


OTHER_USER = 'setpriv --reuid=54321 --regid=54321 --clear-groups "$PYTHON" -c 0'
AS_OTHER = "setpriv --reuid=54321 --regid=54321 --clear-groups"

INTERPRETERS = [
    Fault(
        "missing",
        "--python names nothing: refused at once",
        "run --python /no/such/python -o x.json",
        2,
        "--python /no/such/python: no such command",
    ),
    Fault(
        "folder",
        "--python names a folder: refused, with a guess at what was meant",
        "run --python . -o x.json",
        2,
        "a folder, not an interpreter",
    ),
    Fault(
        "not-executable",
        "--python names a file that cannot be executed: refused",
        "touch p; run --python ./p -o x.json",
        2,
        "not executable",
    ),
    Fault(
        "not-a-program",
        "--python names a damaged binary: refused",
        "printf '\\177ELFxxxx' > p; chmod +x p; run --python ./p -o x.json",
        2,
        "no program for this machine",
    ),
    Fault(
        "no-first-line",
        "the script's `#!` line names an interpreter that is not there: that is what is said",
        "printf '#!/no/python\\n' > p; chmod +x p; run --python ./p -o x.json",
        2,
        "the interpreter in the first line of ./p does not exist",
    ),
    Fault(
        "via-missing",
        "--via begins with a command that is not there: refused",
        "run --via 'nosuch gpu02' -o x.json",
        2,
        "no such command: nosuch",
    ),
    Fault(
        "missing-there",
        "the interpreter is not there at the end of --via: what the prefix said is quoted",
        "run --via env --python nosuch -o x.json",
        2,
        "exit status 127); it said: env: ",
    ),
    Fault(
        "not-python",
        "it is another program: its last words are quoted",
        "interpreter 'cat >/dev/null; echo I am a calculator >&2'; run --python ./python -o x.json",
        2,
        "it said: I am a calculator",
    ),
    Fault(
        "python-2",
        "it is Python 2: refused, with the floor",
        "run --python $OLD -o x.json",
        2,
        "is no Python 3; the probes need 3.8 or newer",
        python="2.7",
    ),
    Fault(
        "too-old",
        "it is Python 3.7: refused, with the floor",
        "run --python $OLD -o x.json",
        2,
        "; the probes need 3.8 or newer",
        python="3.7",
    ),
    Fault(
        "hangs",
        "it never says a word: ended after --limit seconds",
        "interpreter 'sleep 1000'; run --python ./python --limit 1 -o x.json",
        2,
        "no progress for 1 s",
    ),
    Fault(
        "hangs-hard",
        "it ignores SIGTERM and has children that do: ended by force",
        "interpreter 'trap \"\" TERM; sleep 1000 & sleep 1000'; run --python ./python --limit 1 -o x.json",
        2,
        "no progress for 1 s",
    ),
    Fault(
        "goes-on",
        "it closes its output and runs on: ended",
        "interpreter 'exec >&- 2>&-; sleep 1000'; run --python ./python --limit 1 -o x.json",
        2,
        "it closed its output and went on",
    ),
    Fault(
        "floods-bytes",
        "it prints zeros without end: given up after 1 GiB, in constant memory",
        "interpreter 'cat /dev/zero'; run --python ./python -o x.json",
        2,
        "it printed 1 GiB and no record",
    ),
    Fault(
        "floods-lines",
        "it prints lines without end on both streams: given up after 1 GiB, in constant memory",
        "interpreter 'yes & yes >&2'; run --python ./python -o x.json",
        2,
        "it printed 1 GiB and no record",
    ),
    Fault(
        "banners",
        "it prints 100 MB on both streams first, the last line unfinished: measured all the same",
        'interpreter \'yes | head -c 100000000; yes | head -c 100000001 >&2; exec "$PYTHON" "$@"\';'
        "run --job none --python ./python -o x.json",
        0,
    ),
    Fault(
        "crashes",
        "it dies by a signal before it has started: the signal is named",
        "interpreter 'kill -SEGV $$'; run --python ./python -o x.json",
        2,
        "(SIGSEGV)",
    ),
    Fault(
        "cpu-limit",
        "it uses up its processor time: the signal is named",
        "interpreter 'ulimit -t 1; while :; do :; done'; run --python ./python -o x.json",
        2,
        "(SIGKILL)",
    ),
    Fault(
        "killed-half-way",
        "something kills it in the battery: the operator is marked, the rest is measured by another process",
        "site \"import os\nw = os.write\ndef write(d, s):\n    w(d, s)\n    if b'begin' in s and b'libm.exp2' in s: "
        'os.kill(os.getpid(), 9)\n    return len(s)\nos.write = write";'
        'run --job operators --repeat 1 --via "$SITE" --python $PYTHON -o x.json',
        3,
        incomplete="operator libm.exp2: SIGKILL",
    ),
    Fault(
        "closes-half-way",
        "its descriptors are closed under it: what came until then is kept",
        "site \"import os\nw = os.write\ndef write(d, s):\n    n = w(d, s)\n    if b'begin' in s and b'libm.exp2' in s:"
        ' os.closerange(0, 100)\n    return n\nos.write = write";'
        'run --job operators --repeat 1 --via "$SITE" --python $PYTHON -o x.json',
        3,
        incomplete="exit status 1",
    ),
    Fault(
        "vanishes",
        "it is gone when it is to be started again: what the first process measured is kept",
        'interpreter \'rm python; exec "$PYTHON" "$@"\'; run --job operators --python ./python -o x.json',
        3,
        incomplete="operators: cannot be started again: No such file or directory",
    ),
    Fault(
        "site-raises",
        "its sitecustomize raises: Python goes on, and so does the audit",
        'site "raise ValueError(1)"; run --job none --via "$SITE" --python $PYTHON -o x.json',
        0,
    ),
    Fault(
        "site-exits",
        "its sitecustomize ends the process: the status is said",
        'site "import os; os._exit(3)"; run --job none --via "$SITE" --python $PYTHON -o x.json',
        2,
        "did not run the probes as a Python would (exit status 3)",
    ),
    Fault(
        "site-licence",
        "its sitecustomize refuses with a message: the message is quoted",
        'site "raise SystemExit(\'licence expired\')"; run --job none --via "$SITE" --python $PYTHON -o x.json',
        2,
        "it said: SystemExit: licence expired",
    ),
    Fault(
        "site-closes",
        "its sitecustomize closes all descriptors: refused",
        'site "import os; os.closerange(0, 100)"; run --job none --via "$SITE" --python $PYTHON -o x.json',
        2,
        "did not run the probes as a Python would",
    ),
    Fault(
        "site-replaces-streams",
        "its sitecustomize replaces the standard streams and prints at exit: measured all the same",
        "site \"import atexit, io, sys; sys.stdout = sys.stderr = io.StringIO(); atexit.register(print, 9 * 'bye')\";"
        'run --job none --via "$SITE" --python $PYTHON -o x.json',
        0,
    ),
    Fault(
        "site-builtins",
        "its sitecustomize deletes builtins: the exception is quoted",
        'site "import builtins; del builtins.len"; run --job none --via "$SITE" --python $PYTHON -o x.json',
        2,
        "it said: NameError: name 'len' is not defined",
    ),
    Fault(
        "site-recursion",
        "its recursion limit is 60: what cannot be done so is said",
        'site "import sys; sys.setrecursionlimit(60)"; run --job none --via "$SITE" --python $PYTHON -o x.json',
        3,
        incomplete="numpy: cannot be imported",
    ),
    Fault(
        "site-clock",
        "its clocks run backwards: measured all the same",
        'site "import itertools, time; c = itertools.count(10**6, -1)\n'
        'time.time = time.monotonic = time.perf_counter = lambda: float(next(c))";'
        'run --job none --via "$SITE" --python $PYTHON -o x.json',
        0,
    ),
    Fault(
        "numpy-broken",
        "numpy cannot be imported: all else is measured, and the report says so",
        "site ''; echo 'raise ImportError(1)' > site/numpy.py;"
        'run --job operators --repeat 1 --via "$SITE" --python $PYTHON -o x.json',
        3,
        incomplete="numpy: cannot be imported (ImportError)",
    ),
    Fault(
        "numpy-exits",
        "importing numpy ends the interpreter: all else is measured",
        "site ''; echo 'raise SystemExit' > site/numpy.py;run --job none --via \"$SITE\" --python $PYTHON -o x.json",
        3,
        incomplete="numpy: cannot be imported (SystemExit)",
    ),
    Fault(
        "numpy-crashes",
        "importing numpy crashes: all else is measured in a process without it",
        "site ''; echo 'import os; os.kill(os.getpid(), 11)' > site/numpy.py;"
        'run --job operators --repeat 1 --via "$SITE" --python $PYTHON -o x.json',
        3,
        incomplete="numpy: SIGSEGV while it was imported",
    ),
    Fault(
        "shadowed",
        "the working folder holds a numpy.py and a json.py: neither is imported",
        "echo 'raise ValueError' | tee numpy.py > json.py; \"$PYTHON\" -P -m audit run --quiet --job none -o x.json",
        0,
        needs='"$PYTHON" -P -c 0',
    ),
    Fault(
        "orphans",
        "it starts processes that leave its session: they are ended with the run",
        'interpreter \'setsid sh -c "sleep 1000 & setsid sleep 1000 & wait" </dev/null >/dev/null 2>&1 &'
        '\nexec "$PYTHON" "$@"\'; run --job none --python ./python -o x.json',
        0,
    ),
]

HIDDEN = "mount -t tmpfs none /proc; mount -t tmpfs none /sys"
BIG = 'x=$(head -c 100000 /dev/zero | tr "\\0" x); for i in 0 1 2 3 4 5 6 7 8 9; do export BIG$i=$x; done'

MACHINES = [
    Fault(
        "no-proc-no-sys",
        "/proc and /sys are not there: facts that need them are absent, with the reason",
        f"unshare -m sh -c '{HIDDEN}; run --job operators --repeat 1 -o x.json'",
        0,
        needs=NAMESPACE,
    ),
    Fault(
        "folder-deleted",
        "the working folder was deleted: said before anything is measured",
        'mkdir gone; cd gone; rmdir ../gone; "$PYTHON" -m audit run --job none --label here',
        2,
        "cannot write here.json: the current folder does not exist any more",
    ),
    Fault(
        "folder-deleted-elsewhere",
        "the working folder was deleted and -o is elsewhere: measured",
        'to=$PWD; mkdir gone; cd gone; rmdir ../gone; "$PYTHON" -m audit run --quiet --job none -o "$to/x.json"',
        0,
    ),
    Fault(
        "folder-unreadable",
        "the working folder cannot be read: measured, written elsewhere",
        f'to=$PWD; mkdir -m 700 private; cd private; {AS_OTHER} run --job none -o "$to/x.json"',
        0,
        needs=OTHER_USER,
    ),
    Fault("home-missing", "HOME does not exist: measured", "HOME=/no/home run --job none -o x.json", 0),
    Fault(
        "nobody",
        "no HOME, and a user whom the system does not know: measured",
        f"env -u HOME {AS_OTHER} run --job none -o x.json",
        0,
        needs=OTHER_USER,
    ),
    Fault("big-environment", "1 MB of variables: measured", f"{BIG}; run --job none -o x.json", 0),
    Fault("no-environment", "no variable at all: measured", "env -i ./bin/run --job none -o x.json", 0),
    Fault("no-locale", "a locale that does not exist: measured", "LC_ALL=nonsense run --job none -o x.json", 0),
    Fault(
        "ascii",
        "an ASCII terminal and a label that is not: escaped, not a traceback",
        'LC_ALL=C PYTHONIOENCODING=ascii PYTHONUTF8=0 "$PYTHON" -m audit run --job none --label ü -o x.json 2>&1',
        0,
    ),
    Fault(
        "no-streams",
        "standard input, output and error are closed: measured and written",
        "run --job none -o x.json <&- >&- 2>&-",
        0,
    ),
    Fault(
        "no-temporary-folder",
        "TMPDIR cannot be written: measured; the operators that list a folder are absent",
        "TMPDIR=/proc run --job operators --repeat 1 -o x.json",
        0,
    ),
    Fault(
        "no-memory",
        "30 MB of address space: the command itself cannot be loaded, and says so",
        'ulimit -v 30000; "$PYTHON" -m audit run --quiet -o x.json',
        2,
        "out of memory",
    ),
    Fault(
        "little-memory",
        "200 MB of address space for the interpreter: what does not fit is said",
        'interpreter \'ulimit -v 200000; exec "$PYTHON" "$@"\';'
        "run --job operators --repeat 1 --python ./python -o x.json",
        3,
        incomplete="operator",
    ),
    Fault(
        "few-descriptors",
        "8 open files allowed: nothing can be started, and that is said",
        'ulimit -n 8; "$PYTHON" -m audit run --quiet -o x.json',
        2,
        "Too many open files; a limit of yours is reached",
    ),
    Fault(
        "few-processes",
        "no further process allowed: that is said",
        f"prlimit --nproc=1 {AS_OTHER} run --job none -o x.json",
        2,
        "Resource temporarily unavailable; a limit of yours is reached",
        needs=OTHER_USER,
    ),
]

OUTPUTS = [
    Fault(
        "to-folder",
        "-o is a folder that cannot be made: refused before measuring",
        "run -o no/f/",
        2,
        "no folder",
    ),
    Fault(
        "to-folder-of-another",
        "-o is a folder of another user: refused before measuring",
        f"mkdir -m 755 f; {AS_OTHER} run -o f/",
        2,
        "no permission in",
        needs=OTHER_USER,
    ),
    Fault(
        "to-folder-on-full-disk",
        "-o is a folder that was made on a full disk: refused before measuring, and the folder does not stay",
        "mkdir f; unshare -m sh -c 'mount -t tmpfs -o size=4k none f; run -o f/new/; s=$?; test ! -e f/new && exit $s'",
        2,
        "No space left on device",
        needs=NAMESPACE,
    ),
    Fault("to-no-folder", "-o is in no folder: refused before measuring", "run -o no/x.json", 2, "no folder"),
    Fault(
        "read-only-disk",
        "-o is on a read-only disk: refused before measuring",
        "mkdir ro; unshare -m sh -c 'mount -t tmpfs -o ro none ro; run -o ro/x.json'",
        2,
        "Read-only file system",
        needs=NAMESPACE,
    ),
    Fault(
        "no-permission",
        "-o is in a folder of another user: refused before measuring",
        f"mkdir -m 755 f; {AS_OTHER} run -o f/x.json",
        2,
        "no permission in",
        needs=OTHER_USER,
    ),
    Fault(
        "read-only-file",
        "-o is a file that may not be written: refused before measuring, and the file is kept",
        f"echo old > f; chmod 444 f; {AS_OTHER} run -o f; s=$?; grep -q old f && exit $s",
        2,
        "that file is read-only",
        needs=OTHER_USER,
    ),
    Fault(
        "full-disk",
        "the disk is full: refused before measuring",
        "mkdir f; unshare -m sh -c 'mount -t tmpfs -o size=4k none f; run -o f/x.json'",
        2,
        "No space left on device",
        needs=NAMESPACE,
    ),
    Fault(
        "disk-fills",
        "the disk fills while the report is written: the file that was there before is kept, and no other",
        "mkdir f; unshare -m sh -c 'mount -t tmpfs -o size=128k none f; echo old > f/x.json;"
        "run --job operators --repeat 1 -o f/x.json; s=$?; grep -q old f/x.json && [ $(ls -A f) = x.json ] && exit $s'",
        2,
        "No space left on device",
        needs=NAMESPACE,
    ),
    Fault(
        "file-size",
        "files may not be that long: said, and nothing is left",
        "ulimit -f 500; run --job operators --repeat 1 -o x.json",
        2,
        "File too large",
    ),
    Fault(
        "to-full-device",
        "-o /dev/full: said",
        "run --job none -o /dev/full",
        2,
        "cannot write /dev/full: No space left",
    ),
    Fault(
        "to-pipe",
        "-o is a named pipe with a reader: the report goes through it",
        "mkfifo p; cat p > x.json & run --job none -o p; s=$?; wait; rm p; exit $s",
        0,
    ),
    Fault(
        "to-stdout",
        "-o /dev/stdout: the report, and no summary behind it",
        '"$PYTHON" -m audit run --job none -o /dev/stdout 2>/dev/null | cat > x.json',
        0,
    ),
    Fault(
        "to-link",
        "-o is a link: what it leads to is written, and the link stays",
        "ln -s x.json l; run --job none -o l && [ -L l ] && rm l",
        0,
    ),
    Fault(
        "reader-gone",
        "the reader of the summary has gone: the report is written, and that is what counts",
        '{ "$PYTHON" -m audit run --job none -o x.json 2>/dev/null; echo $? > s; } | true; s=$(cat s); rm s; exit $s',
        0,
    ),
    Fault(
        "summary-full",
        "the summary cannot be printed: said, and where the report is",
        '"$PYTHON" -m audit run --job none -o x.json 2>e >/dev/full; s=$?; tail -n 1 e >&2; rm e; exit $s',
        2,
        "saved x.json, but cannot print its summary: No space left on device",
    ),
    Fault(
        "errors-full", "standard error is full: measured", '"$PYTHON" -m audit run --job none -o x.json 2>/dev/full', 0
    ),
]

ALONE = [
    Fault(
        "alone-too-old",
        "probes.pyz in Python 3.7: refused, with the floor",
        "$OLD probes.pyz -o x.json",
        2,
        "is too old, the probes need 3.8 or newer",
        python="3.7",
    ),
    Fault(
        "alone-no-proc-no-sys",
        "probes.pyz without /proc and /sys: measured",
        f"unshare -m sh -c '{HIDDEN}; alone --job none -o x.json'",
        0,
        needs=NAMESPACE,
    ),
    Fault(
        "alone-no-streams",
        "probes.pyz with closed streams: measured and written",
        "alone --job none -o x.json <&- >&- 2>&-",
        0,
    ),
    Fault(
        "alone-no-environment", "probes.pyz without a variable: measured", "env -i ./bin/alone --job none -o x.json", 0
    ),
    Fault(
        "alone-folder-deleted",
        "probes.pyz in a folder that was deleted: said before anything is measured",
        'to=$PWD; mkdir gone; cd gone; rmdir ../gone; "$PYTHON" "$to/probes.pyz" --job none --label here',
        2,
        "probes.pyz: cannot write here.json: the current folder does not exist any more",
    ),
    Fault(
        "alone-full-disk",
        "probes.pyz and a full disk: refused before measuring",
        "mkdir f; unshare -m sh -c 'mount -t tmpfs -o size=4k none f; alone -o f/x.json'",
        2,
        "cannot write f/x.json: No space left on device",
        needs=NAMESPACE,
    ),
    Fault(
        "alone-few-processes",
        "probes.pyz where no process can be started: said",
        f"prlimit --nproc=1 {AS_OTHER} alone --job none -o x.json",
        2,
        "no process can be started: Resource temporarily unavailable",
        needs=OTHER_USER,
    ),
    Fault(
        "alone-numpy-crashes",
        "probes.pyz where importing numpy crashes: all else is measured",
        "mkdir site; echo 'import os; os.kill(os.getpid(), 11)' > site/numpy.py;"
        "PYTHONPATH=site alone --job none -o x.json 2>/dev/null",
        3,
        incomplete="numpy: SIGSEGV while it was imported",
    ),
    Fault(
        "alone-orphans",
        "probes.pyz where numpy starts processes that leave the session: they are ended with the run",
        'mkdir site; printf \'import subprocess\\nsubprocess.Popen(["sleep", "1000"], start_new_session=True)\' '
        "> site/numpy.py; PYTHONPATH=site alone --job none -o x.json 2>/dev/null",
        3,
        incomplete="numpy: cannot be imported",
    ),
]

FAULTS = [*INTERPRETERS, *MACHINES, *OUTPUTS, *ALONE, *PROGRAMS]

PRELUDE = """
train() { printf '%s\\n' "$TRAIN" "$1" > train.py; }
interpreter() { printf '#!/bin/sh\\n%s\\n' "$1" > python; chmod +x python; }
site() { mkdir site; printf '%s\\n' "$1" > site/sitecustomize.py; }
"""


class Place:
    """An empty folder in which a fault happens, and what must be true of it afterwards."""

    def __init__(self, folder: Path, probes: Path) -> None:
        self.folder = folder
        self.marker = secrets.token_hex(8)
        for name in ("bin", "tmp"):
            (folder / name).mkdir()
        (folder / "tmp").chmod(0o1777)
        shutil.copy(probes, folder / "probes.pyz")
        for name, words in (("run", "-m audit run"), ("alone", f"'{folder}/probes.pyz'")):
            script = folder / "bin" / name
            script.write_text(f"#!/bin/sh\nexec '{sys.executable}' {words} --quiet \"$@\"\n")
            script.chmod(0o755)
        self.given = set(self.names())

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "SITE": f"env PYTHONPATH={self.folder}/site",
            "TMPDIR": str(self.folder / "tmp"),
            "MARKER": self.marker,
            "TRAIN": TRAIN,
            **more,
        }

    def left(self) -> list[str]:
        """Processes that were started here and still run; a moment is given to those that were just killed."""
        for _ in range(20):
            found = [path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if self._mine(path)]
            if not found:
                break
            time.sleep(0.05)
        return found

    def _mine(self, path: Path) -> bool:
        try:
            return self.marker.encode() in path.read_bytes()
        except OSError:
            return False


@pytest.fixture(scope="module")
def probes_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "probes.pyz"
    path.write_bytes(bundle.pyz())
    return path


@pytest.fixture
def place(probes_file: Path) -> Iterator[Place]:
    """Not pytest's own temporary folder: another user must be able to enter it."""
    folder = Path(tempfile.mkdtemp(prefix="audit-faults-"))
    folder.chmod(0o777)
    yield Place(folder, probes_file)
    shutil.rmtree(folder)


def shell(line: str, place: Place, environment: dict[str, str]) -> tuple[int, str, int]:
    """Exit status, standard error and the largest resident size of any process, in KiB."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            ["sh", "-c", PRELUDE + line],
            cwd=place.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        deadline = time.monotonic() + SECONDS
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        while not ended and time.monotonic() < deadline:
            time.sleep(0.01)
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if not ended:
            os.killpg(process.pid, signal.SIGKILL)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        text = errors.read().decode("utf-8", "replace")
    return process.returncode, text if ended else text + f"no end after {SECONDS} s\n", usage.ru_maxrss


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault(fault: Fault, place: Place, interpreter: Callable[[str], str]) -> None:
    environment = place.environment(OLD=interpreter(fault.python) if fault.python else "")
    if fault.needs and shell(fault.needs, place, environment)[0]:
        pytest.skip(f"cannot be done here: {fault.needs}")
    status, errors, memory = shell(fault.how, place, environment)
    assert "Traceback" not in errors
    assert (status, errors.count("\n")) == (fault.status, 1 if fault.words else 0), errors
    assert fault.words in errors
    assert memory < KIBIBYTES
    assert place.left() == []
    assert list((place.folder / "tmp").iterdir()) == []
    report = place.folder / "x.json"
    used = {"python", "p", "f", "ro", "site", "private", "numpy.py", "json.py", "train.py"}
    made = set(place.names()) - place.given - used
    if fault.status == 2 and not report.exists():
        assert made == set()
        return
    assert made == {"x.json"}
    (target,) = codec.read(str(report))[0].targets
    assert target.facts
    assert fault.incomplete in "; ".join(target.incomplete)
    assert bool(target.incomplete) == (fault.status == 3)


def test_every_fault_has_its_own_name_and_a_sentence() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) > 25
    assert all(": " in fault.what_happens and "|" not in fault.what_happens for fault in FAULTS)


def test_progress_is_shown_at_once_and_not_when_quiet(place: Place) -> None:
    line = "interpreter 'sleep 1000'; \"$PYTHON\" -m audit run --limit 1 --job none --python ./python -o x.json"
    _, errors, _ = shell(line, place, place.environment())
    assert errors.splitlines()[0] == "facts"
    _, errors, _ = shell(line + " --quiet", place, place.environment())
    assert errors.splitlines()[0].startswith("audit run: ./python did not run")
