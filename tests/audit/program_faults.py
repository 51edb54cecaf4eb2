"""What a person's own program does to `audit run -- COMMAND`, as rows of the table in `test_faults.py`."""

from __future__ import annotations

from tests.audit.faults import NAMESPACE, Fault

TRAIN = """
import os, sys
sys.path.insert(0, os.path.join(os.environ["AUDIT_RECORDING"], "modules"))
from _audit_probes.program import lay, recorder
recording = recorder.Recorder(os.environ["AUDIT_RECORDING"], lay.wanted(os.environ["AUDIT_RECORDING"]))
@recording.guard
def step(value=1.0):
    recording.row("forward", "output", "forward", [value, 2.0])
    recording.end_step()
step()
step()
"""
"""The beginning of a program that trains without a framework: what the hooks of one call, it calls itself."""

OWN = 'run --job none -o x.json -- "$PYTHON" train.py'
STALLED = 'run --job none --stall 2 -o x.json -- "$PYTHON" train.py'
TO_PIPE = '"$PYTHON" -m audit run --quiet --job none --label x -o /dev/stdout --'

PROGRAMS = [
    Fault(
        "program-missing",
        "COMMAND is not there: refused at once",
        "run -o x.json -- nosuch train.py",
        2,
        "cannot start nosuch: no such command",
    ),
    Fault(
        "program-folder",
        "COMMAND is a folder: refused",
        "run -o x.json -- ./bin",
        2,
        "cannot start ./bin: it is a folder",
    ),
    Fault(
        "program-not-executable",
        "COMMAND may not be executed: refused, with the remedy",
        "touch p; run -o x.json -- ./p",
        2,
        "not executable (chmod +x)",
    ),
    Fault(
        "program-no-first-line",
        "the `#!` line of COMMAND names an interpreter that is not there: refused",
        "printf '#!/no/python\\n' > p; chmod +x p; run -o x.json -- ./p",
        2,
        "the interpreter in its first line, /no/python, does not exist",
    ),
    Fault(
        "program-damaged",
        "COMMAND is a damaged binary: the machine is measured, and the report says so",
        "printf '\\177ELFxxxx' > p; chmod +x p; run --job none -o x.json -- ./p",
        3,
        incomplete="program: it cannot be started: Exec format error",
    ),
    Fault(
        "program-repeated-to-its-end",
        "--repeat without --steps: refused, because it would run the whole program again and again",
        'run --repeat 3 -o x.json -- "$PYTHON" train.py',
        2,
        "would run COMMAND 3 times to its end; --steps N ends it",
    ),
    Fault(
        "program-exits",
        "the program ends with a status of its own: said, and its steps are kept",
        f"train 'sys.exit(7)'; {OWN}",
        3,
        incomplete="program ended with exit status 7 after 2 steps",
    ),
    Fault(
        "program-raises",
        "the program raises: its traceback is passed on, its steps are kept",
        f"train 'raise ValueError'; {OWN} 2>e; s=$?; grep -q ValueError e && rm e && exit $s",
        3,
        incomplete="program ended with exit status 1 after 2 steps",
    ),
    Fault(
        "program-crashes",
        "the program crashes: the signal is named, its steps are kept",
        f"train 'os.kill(os.getpid(), 11)'; {OWN}",
        3,
        incomplete="program ended by SIGSEGV after 2 steps",
    ),
    Fault(
        "program-killed",
        "something kills the program: said, its steps are kept",
        f"train 'os.kill(os.getpid(), 9)'; {OWN}",
        3,
        incomplete="program ended by SIGKILL after 2 steps",
    ),
    Fault("program-exits-hard", "the program ends by os._exit: recorded", f"train 'os._exit(0)'; {OWN}", 0),
    Fault(
        "program-hangs",
        "the program hangs: ended after --stall seconds without a step or output, its steps are kept",
        f"train 'import time; time.sleep(1000)'; {STALLED}",
        3,
        incomplete="program ended: neither a step nor output for 2 s, after 2 steps",
    ),
    Fault(
        "program-hangs-hard",
        "the program hangs and ignores SIGTERM, and so does its child: both are ended by force after 10 s",
        f"train 'import signal, time; signal.signal(15, signal.SIG_IGN); os.fork(); time.sleep(1000)'; {STALLED}",
        3,
        incomplete="program ended: neither a step nor output for 2 s, after 2 steps",
    ),
    Fault(
        "program-forks",
        "the program forks, and the child trains: the parent's steps are recorded, the child's are not",
        f"train 'pid = os.fork(); step(); os._exit(0) if pid == 0 else os.waitpid(pid, 0)'; {OWN}",
        0,
    ),
    Fault(
        "program-leaves-processes",
        "the program leaves processes, one of which has left its session: they are ended with it",
        f"train 'os.system(\"sleep 1000 & setsid sleep 1000 &\")'; {OWN}",
        0,
    ),
    Fault(
        "program-changes-folder",
        "the program goes to a folder and deletes it: recorded",
        f'train \'os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone"); step()\'; {OWN}',
        0,
    ),
    Fault(
        "program-without-file",
        "the program stands in no file, and deletes its folder: recorded",
        'train \'os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone"); step()\';'
        'run --job none -o x.json -- "$PYTHON" -c "$(cat train.py)"',
        0,
    ),
    Fault(
        "program-recorder-stops",
        "the recorder meets what it cannot record: the program goes on, and its steps until then are kept",
        f"train 'step(object())'; {OWN}",
        3,
        incomplete="the recorder stopped in step 1: TypeError",
    ),
    Fault(
        "program-floods",
        "the program prints 1 GiB: all of it is passed on, in constant memory",
        f"train 'for _ in range(2**12): os.write(1, bytes(2**18))'; {OWN} 2>&1 | wc -c > n;"
        "[ $(cat n) = 1073741825 ]; s=$?; rm n; exit $s",
        0,
    ),
    Fault(
        "program-closes",
        "the program closes all its descriptors: what was recorded until then is kept",
        f"train 'os.closerange(0, 100); step()'; {OWN}",
        0,
    ),
    Fault(
        "program-sitecustomize",
        "the program has a sitecustomize of its own: it is run as ever",
        f"site 'MINE = 1'; train 'import sitecustomize; sitecustomize.MINE'; PYTHONPATH=$PWD/site {OWN}",
        0,
    ),
    Fault(
        "program-other-path",
        "the program's script sets PYTHONPATH anew: nothing is recorded, and the remedy is said",
        "printf '#!/bin/sh\\nPYTHONPATH=/lib exec \"$PYTHON\" -c 0\\n' > p; chmod +x p;run --job none -o x.json -- ./p",
        3,
        incomplete="no step was seen: it started no Python that reads the PYTHONPATH",
    ),
    Fault(
        "program-no-python",
        "COMMAND is no Python at all: said",
        "run --job none -o x.json -- true",
        3,
        incomplete="no step was seen: it started no Python",
    ),
    Fault(
        "program-trains-nothing",
        "the program trains nothing: what counts as a step is said",
        'run --job none -o x.json -- "$PYTHON" -c 0',
        3,
        incomplete="no step was seen: a step is one of an optimizer",
    ),
    Fault(
        "program-removes-recording",
        "the program removes the folder of its recording: said",
        f"train 'import shutil; shutil.rmtree(os.environ[\"AUDIT_RECORDING\"])'; {OWN}",
        3,
        incomplete="no step was seen: what was recorded cannot be read (FileNotFoundError)",
    ),
    Fault(
        "program-reads",
        "the program reads its standard input: it is empty",
        f"train 'assert not sys.stdin.read()'; echo something | {OWN}",
        0,
    ),
    Fault(
        "program-no-temporary-folder",
        "there is no folder for temporary files: the machine is measured, and the report says so",
        "unshare -m sh -c 'for d in /tmp /var/tmp; do mount --bind $d $d; mount -o remount,bind,ro $d; done; cd /proc;"
        f"TMPDIR=/proc {TO_PIPE} true' > x.json",
        3,
        incomplete="program: there is no folder for temporary files",
        needs=NAMESPACE,
    ),
    Fault(
        "program-full-disk",
        "the disk of temporary files is full: the machine is measured, and the report says so",
        "mkdir f; unshare -m sh -c 'mount -t tmpfs -o size=64k none f;TMPDIR=$PWD/f run --job none -o x.json -- true'",
        3,
        incomplete="program: no room for its recorder in TMPDIR: No space left on device",
        needs=NAMESPACE,
    ),
    Fault(
        "program-via",
        "the program runs at the end of --via: recorded there",
        'train ""; run --job none --via "env X=1" -o x.json -- "$PYTHON" train.py',
        0,
    ),
    Fault(
        "program-via-missing",
        "COMMAND is not there at the end of --via: refused",
        'run --job none --via "env X=1" --python "$PYTHON" -o x.json -- nosuch',
        2,
        "cannot start nosuch: no such command",
    ),
    Fault(
        "program-alone",
        "probes.pyz runs a program: recorded",
        'train ""; alone --job none -o x.json -- "$PYTHON" train.py',
        0,
    ),
    Fault(
        "program-alone-missing",
        "probes.pyz where COMMAND is not there: refused at once",
        "alone -o x.json -- nosuch",
        2,
        "cannot start nosuch: no such command",
    ),
    Fault(
        "program-alone-crashes",
        "probes.pyz runs a program that crashes: the signal is named, its steps are kept",
        "train 'os.kill(os.getpid(), 11)'; alone --job none -o x.json -- \"$PYTHON\" train.py 2>/dev/null",
        3,
        incomplete="program ended by SIGSEGV after 2 steps",
    ),
]
