"""The folder in which a program's recording is laid."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

import pytest

from probes.program import launch


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with launch.laid() as folder:
        assert folder
        ours = Path(folder).name.rpartition("-")[0]
    names = (f"{ours}-left", f"{ours}-in-use", f"{ours}-new", "audit-program-elsewhere-left")
    for name in names:
        (tmp_path / name / "modules").mkdir(parents=True)
        os.utime(tmp_path / name, (1, 1) if name != names[2] else None)
    (tmp_path / f"{ours}-link").symlink_to(tmp_path / names[-1])
    (tmp_path / f"{ours}-file").touch()
    os.utime(tmp_path / f"{ours}-link", (1, 1), follow_symlinks=False)
    os.utime(tmp_path / f"{ours}-file", (1, 1))
    lock = os.open(tmp_path / names[1], os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    kept = {*names[1:], f"{ours}-link", f"{ours}-file"}
    with launch.laid() as folder:
        assert folder
        assert {path.name for path in tmp_path.iterdir()} == {*kept, Path(folder).name}
        os.utime(folder, (1, 1))
        with launch.laid():  # another run beside it
            assert Path(folder).is_dir()
    os.close(lock)
    assert {path.name for path in tmp_path.iterdir()} == kept
    assert (tmp_path / names[-1] / "modules").is_dir()
