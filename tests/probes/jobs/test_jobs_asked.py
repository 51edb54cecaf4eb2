"""Which jobs a session asks for, which an interpreter offers, and what is imported for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures import environments
from probes.session import Record, Request, capture, plan

SERVE = """
import json, sys
from probes import child
records = []
child.serve(json.loads(sys.argv[1]), records.append)
kept = [record for record in records if not {"machine", "effect", "progress", "job"} & set(record)]
offered = [record["jobs"] for record in records if "jobs" in record]
job = next((record["job"] for record in records if "job" in record), {})
imported = [name for name in ("numpy", "torch", "jax") if sys.modules.get(name)]
print(json.dumps({"offered": offered[-1:], "job": job.get("outcome", job), "imported": imported, "kept": kept}))
"""


def asked(
    names: list[str], available: list[str], absent: tuple[str, ...] = (), **more: Any
) -> tuple[list[Request], Any]:
    """What a session asks of a target that offers these jobs and of these has some not, and the target's part."""
    requests: list[Request] = []

    def launch(request: Request) -> Iterator[Record]:
        requests.append(request)
        if request.get("machine"):
            yield {"machine": {"cpu.model": {"value": "A 1-2", "source": "s"}}, "jobs": available}
        if request["work"] == "job" and request["name"] in absent:
            yield {"job": {"name": request["name"], "status": "absent", "reason": "too old"}}
        elif request["work"] == "job":
            yield {"job": {"name": request["name"], "trace": {"digest": "00", "digests": []}}}
        yield {"end": 0.5}

    target = capture(plan(names, 1, **more), launch, lambda words, done, total: None)
    return requests, target


def names(requests: list[Request]) -> list[str]:
    return [request["name"] for request in requests if request["work"] == "job"]


def test_a_gpu_adds_jobs_and_takes_none_away() -> None:
    available = ["python", "numpy", "torch", "jax"]
    assert names(asked(["auto"], available)[0]) == available
    assert names(asked(["auto"], available, device="cuda")[0]) == [*available, "torch-cuda"]
    assert names(asked(["torch", "numpy"], available, device="cuda")[0]) == ["torch", "numpy", "torch-cuda"]
    assert names(asked(["numpy"], available, device="cuda")[0]) == ["numpy"]


def test_deterministic_algorithms_are_asked_of_operators_and_jobs() -> None:
    requests, _ = asked(["torch"], ["torch"], deterministic=True)
    assert [(request["work"], request["calls"]) for request in requests] == [
        ("operators", {"torch_deterministic": True}),
        ("job", {"torch_deterministic": True}),
    ]
    assert all("calls" not in request for request in asked(["torch"], ["torch"])[0])


def test_what_nobody_named_may_be_absent() -> None:
    """A torch that is too old makes no report incomplete, unless its job was asked for, or a GPU."""
    assert "incomplete" not in asked(["auto"], ["python", "torch"], absent=("torch",))[1]
    assert asked(["torch"], ["python", "torch"], absent=("torch",))[1]["incomplete"] == ["job torch: too old"]
    told = asked(["auto"], ["torch"], absent=("torch-cuda",), device="cuda")[1]["incomplete"]
    assert told == ["job torch-cuda: too old"]


def served(python: str, request: Request, path: str = "") -> Any:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(Path(__file__).parents[3]), path)))}
    environment.update({"OMP_WAIT_POLICY": "PASSIVE", "PYTHONDONTWRITEBYTECODE": "1"})
    command = [python, "-c", SERVE, json.dumps(request)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.torch
def test_an_interpreter_offers_what_it_has() -> None:
    request = {"work": "facts", "machine": True}
    assert served(environments.frameworks(), request)["offered"] == [["python", "numpy", "torch", "jax"]]
    assert served(environments.frameworks(), {**request, "without": ["jax"]})["offered"] == [
        ["python", "numpy", "torch"]
    ]
    assert served(sys.executable, request)["offered"] == [["python", "numpy"]]


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "imported"),
    [("python", []), ("numpy", ["numpy"]), ("torch", ["numpy", "torch"]), ("jax", ["numpy", "jax"])],
)
def test_a_job_imports_its_own_framework_alone(name: str, imported: list[str]) -> None:
    found = served(environments.frameworks(), {"work": "job", "name": name})
    assert found["imported"] == imported
    assert found["job"]["learned"] is True


@pytest.mark.torch
def test_a_gpu_that_is_not_there_is_said() -> None:
    found = served(environments.frameworks(), {"work": "job", "name": "torch-cuda"})
    assert found["job"] == {"name": "torch-cuda", "status": "absent", "reason": "torch sees no GPU that it can use"}


def test_a_broken_framework_costs_its_job_alone(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('/home/ann/libtorch.so: undefined symbol')")
    assert served(sys.executable, {"work": "facts", "machine": True}, str(tmp_path))["offered"] == [
        ["python", "numpy", "torch"]
    ]
    found = served(sys.executable, {"work": "job", "name": "torch"}, str(tmp_path))
    assert found["job"]["status"] == "absent"
    broken = {"torch": "cannot be imported (OSError); see what it says: python -c 'import torch'"}
    assert {"loading": None, "broken": broken} in found["kept"]


@pytest.mark.parametrize("left", [[], ["lib"]], ids=["an empty folder", "a folder with folders"])
def test_what_an_uninstallation_left_is_no_framework(tmp_path: Path, left: list[str]) -> None:
    for folder in ("torch", "jax"):
        (tmp_path / folder).mkdir()
        for name in left:
            (tmp_path / folder / name).mkdir()
    assert served(sys.executable, {"work": "facts", "machine": True}, str(tmp_path))["offered"] == [["python", "numpy"]]
