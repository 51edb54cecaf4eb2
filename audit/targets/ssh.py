"""An engine on another machine, reached as Docker's own command reaches it: each connection is one `ssh`."""

from __future__ import annotations

import atexit
import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlsplit

from audit.errors import AuditError

_CONNECT_SECONDS = 8
"""Less than an engine is given to answer, so that ssh can say why it does not."""


class Tunnel:
    """A socket here that stands for the engine at ssh://[USER@]HOST[:PORT][/SOCKET], until this process ends.

    docker-py would need paramiko, which knows neither the user's agent nor most of their ssh configuration.
    """

    def __init__(self, address: str) -> None:
        self._command = command(address)
        folder = tempfile.mkdtemp(prefix="audit-")
        atexit.register(self._end, folder)
        self._errors = Path(folder, "errors")
        self._errors.touch()
        self._connections: list[subprocess.Popen[bytes]] = []
        self.socket = os.path.join(folder, "engine.sock")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.socket)
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def last_words(self) -> str:
        """What ssh, or the shell at its end, said last."""
        lines = self._errors.read_text("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                near, _ = self._listener.accept()
                with near, self._errors.open("ab") as errors:
                    # A session of its own: no terminal, so ssh fails where it would ask.
                    started = subprocess.Popen(
                        self._command, stdin=near.fileno(), stdout=near.fileno(), stderr=errors, start_new_session=True
                    )
                self._connections = [one for one in self._connections if one.poll() is None] + [started]

    def _end(self, folder: str) -> None:
        self._listener.close()
        for one in self._connections:
            with contextlib.suppress(OSError):
                one.terminate()
                one.wait()
        shutil.rmtree(folder, ignore_errors=True)


def command(address: str) -> list[str]:
    """What is started for each connection. Raises AuditError if the address names no machine."""
    found = urlsplit(address)
    if not found.hostname:
        raise AuditError(f"{address} names no machine; it is ssh://[USER@]HOST[:PORT]")
    if not shutil.which("ssh"):
        raise AuditError(f"the engine at {address} is reached by ssh, which is not on this machine")
    engine = ["--host", shlex.quote(f"unix://{found.path}")] if found.path.strip("/") else []
    options = ["-T", "-o", f"ConnectTimeout={_CONNECT_SECONDS}"]
    return ["ssh", *options, "--", f"ssh://{found.netloc}", "docker", *engine, "system", "dial-stdio"]
