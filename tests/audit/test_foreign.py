"""An image of another architecture: emulated where the kernel hands its programs to an emulator, else read and not run.

Its only program is an aarch64 ELF file made here: it ends with status 42, which tells that it was really run.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reports import codec
from reports.report import Target
from tests.images import made, tar

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(platform.machine() == "aarch64", reason="arm64 is not foreign to this machine"),
]

HANDLERS = Path("/proc/sys/fs/binfmt_misc")
HANDLER = "audit-test-aarch64"
HEAD = b"\x7fELF\2\1\1" + bytes(9) + b"\2\0\xb7\0"
MASK = b"\xff" * 7 + b"\0" * 9 + b"\xfe\xff\xff\xff"
"""What an aarch64 program begins with, and which of these bytes count."""


def program() -> bytes:
    """exit(42) for aarch64 Linux. Source: System V ABI, ELF header and program header; Arm A64: MOVZ, SVC."""
    code = struct.pack("<3I", 0xD2800540, 0xD2800BA8, 0xD4000001)  # mov x0, #42; mov x8, #93; svc #0
    size = 64 + 56 + len(code)
    head = HEAD + struct.pack("<IQQQIHHHHHH", 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, size, size, 0x10000) + code


FILES = {
    "usr/bin/python3": program(),
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "etc/debian_version": "12.11\n",
    "var/lib/dpkg/status": "Package: libc6\nStatus: install ok installed\nArchitecture: arm64\nVersion: 2.36-9\n",
}


@pytest.fixture(scope="module")
def image(engine: DockerClient) -> Iterator[str]:
    with made(engine) as images:
        yield images.foreign("arm64", tar({"etc/made-for": images.mark, **FILES}), "arm64")


def emulated() -> bool:
    """Whether the kernel here hands aarch64 programs to an emulator."""
    texts = [path.read_text() for path in HANDLERS.glob("*") if path.name not in ("register", "status")]
    return any(text.startswith("enabled") and HEAD[18:20].hex() in text for text in texts if "magic 7f454c46" in text)


@pytest.fixture
def emulator(lacking: Callable[[str], None]) -> Iterator[None]:
    """Registers qemu with the kernel as Debian's package does, for as long as a test takes."""
    qemu = shutil.which("qemu-aarch64-static")
    if emulated():
        yield
        return
    if not qemu or os.getuid():
        lacking("no qemu-aarch64-static that could be registered")
    register = HANDLERS / "register"
    if not register.exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "none", str(HANDLERS)], stderr=subprocess.DEVNULL, check=False)
    head, mask = ("".join(f"\\x{byte:02x}" for byte in part) for part in (HEAD, MASK))
    try:
        # F: the emulator is opened now, since there is none where the image's root is /. Source: the kernel's
        # Documentation/admin-guide/binfmt-misc.rst
        register.write_text(f":{HANDLER}:M::{head}:{mask}:{qemu}:F")
    except OSError as error:
        pytest.skip(f"the kernel takes no emulator here: {error}")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (HANDLERS / HANDLER).write_text("-1")


def audit(image: str, folder: Path) -> tuple[int, str, Target]:
    file = folder / "x.json"
    command = [sys.executable, "-m", "audit", "run", "--quiet", "--job", "none", "-o", str(file), "--container", image]
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    return done.returncode, done.stderr, codec.read(str(file))[0].targets[1]


def test_a_foreign_image_is_read_where_it_cannot_be_run(image: str, tmp_path: Path) -> None:
    if emulated():
        pytest.skip("the kernel here emulates arm64 for everybody")
    status, said, target = audit(image, tmp_path)
    assert (status, said.count("\n")) == (3, 1), said
    assert f"nothing in image {image} can be started: it is for arm64, which its engine's machine (amd64) does" in said
    assert target.incomplete == ["no Python in the image"]
    _is_read(target)
    assert target.facts["os.variant"].value == "Debian GNU/Linux 12 (bookworm) (12.11)"
    assert target.facts["libc.version"].value == "2.36"
    assert target.facts["python.version"].reason == "no Python in the image"


def test_a_foreign_image_is_run_where_it_is_emulated(image: str, emulator: None, tmp_path: Path) -> None:
    status, said, target = audit(image, tmp_path)
    assert (status, said.count("\n")) == (3, 1), said
    assert "did not run the probes as a Python would (exit status 42)" in said
    _is_read(target)


def _is_read(target: Target) -> None:
    assert target.facts["image.platform"].value == "linux/arm64"
    assert target.facts["image.emulated"].value is True
    assert target.facts["os.release"].value == "debian 12"
