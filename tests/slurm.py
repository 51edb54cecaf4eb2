"""A Slurm of three nodes on this machine, as one process: `with Slurm(folder) as slurm`.

It has folders, ports and a munge of its own, and no systemd. `slurm.environment` is what a command needs to find it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

NODES = ("n1", "n2", "n3")
DOWN = "n4"
"""A node of the configuration that nobody starts."""

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "sinfo", "scontrol", "squeue")
CPUS = 2

CONFIGURATION = """\
ClusterName=audit
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=20
KillWait=3
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
NodeName=n[1-4] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports}] CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=n[1-3] Default=YES MaxTime=10 State=UP
PartitionName=all Nodes=ALL MaxTime=10 State=UP
"""


def missing() -> str:
    """What this machine lacks for it, or nothing."""
    programs = [name for name in PROGRAMS if not shutil.which(name, path=_path())]
    if programs:
        return f"no {programs[0]}; .ci/run installs slurm-wlm and munge"
    return "" if os.getuid() == 0 else "Slurm is started as root"


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


class Slurm:
    """folder: new, and every user may enter it. What is started here is ended with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.up = False

    def __enter__(self) -> Slurm:
        try:
            self._munge()
            ports = _free_ports(len(NODES) + 2)
            (self.folder / "state").mkdir()
            (self.folder / "slurm.conf").write_text(
                CONFIGURATION.format(
                    host=platform.node(),
                    port=ports[0],
                    folder=self.folder,
                    ports=",".join(map(str, ports[1:])),
                    cpus=CPUS,
                )
            )
            self._start("slurmctld", "-D", "-i")
            for name in NODES:
                (self.folder / f"spool-{name}").mkdir()
                self._start("slurmd", "-D", "-N", name)
            self._await()
            self.up = True
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.up:  # or the steps of jobs would wait for their controller for ever
            with contextlib.suppress(subprocess.SubprocessError, RuntimeError):
                self.ask("scancel", "--quiet", "--user=root")
                _until(lambda: not self.jobs(), "scancel", self.folder)
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()

    def ask(self, *command: str) -> str:
        return subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def jobs(self) -> list[str]:
        """The jobs that there are, and their steps."""
        return self.ask("squeue", "--noheader", "--format=%i %j %T").splitlines()

    def _munge(self) -> None:
        user = pwd.getpwnam("munge")
        inside = self.folder / "munge"
        inside.mkdir()
        (inside / "key").write_bytes(os.urandom(1024))
        for path in (inside, inside / "key"):
            os.chown(path, user.pw_uid, user.pw_gid)
        (inside / "key").chmod(0o600)
        inside.chmod(0o755)
        options = [f"--{name}-file={inside / name}" for name in ("key", "pid", "seed", "log")]
        drop = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        self._start(*drop, "munged", "--foreground", *options, f"--socket={inside / 'socket'}")
        _until(lambda: (inside / "socket").exists(), "munged", self.folder)

    def _start(self, *command: str) -> None:
        log = (self.folder / f"{len(self.processes)}.out").open("wb")
        with log:
            self.processes.append(
                subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )

    def _await(self) -> None:
        def idle() -> bool:
            with contextlib.suppress(subprocess.CalledProcessError):
                return (
                    self.ask("sinfo", "--noheader", "--Node", "--partition=main", "--format=%T").split() == ["idle"] * 3
                )
            return False

        _until(idle, "Slurm", self.folder)


def _until(ready: Callable[[], bool], name: str, folder: Path) -> None:
    for _ in range(300):
        if ready():
            return
        time.sleep(0.1)
    logs = [
        path.read_text("utf-8", "replace")[-2000:]
        for path in sorted(folder.glob("*.log")) + sorted(folder.glob("*.out"))
    ]
    raise RuntimeError(f"{name} does not answer: " + "\n".join(logs))


def _free_ports(number: int) -> Sequence[int]:
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
