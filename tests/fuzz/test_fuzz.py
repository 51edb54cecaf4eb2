"""The fuzzers, each for a bounded time, where atheris is installed."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SECONDS = 15

needs_atheris = pytest.mark.skipif(find_spec("atheris") is None, reason="no atheris for this Python and platform")


@pytest.mark.fuzz
@needs_atheris
def test_the_codec_withstands_fuzzing(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("codec_atheris.py")), "corpus"]
    limits = [f"-max_total_time={SECONDS}", "-max_len=20000", "-rss_limit_mb=2048", "-timeout=5"]
    done = subprocess.run([*command, *limits], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    runs = re.search(r"Done (\d+) runs", done.stderr)
    assert runs is not None
    assert int(runs[1]) > 100
