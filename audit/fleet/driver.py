"""The driver of a Ray cluster: `PYTHON -c SOURCE CONTROL ADDRESS`, in an interpreter that has the cluster's own Ray.

Contract: the standard library and ray only, nothing of this package; `audit.fleet.ray` ships this file's text and talks
to it. On standard output it says once, in JSON, which nodes there are, or why it cannot: {"nodes": [...]} or
{"error": ...}. Each message on the socket CONTROL then starts one task on one node: JSON with four descriptors, for the
script that its child reads, what the child prints, its errors, and in the end its exit status or a word for why there
is none. Who closes its end of the output gives the task up. When the socket is closed, all tasks and this process end.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

WORDS = {
    "NodeDiedError": "the node died",
    "OutOfMemoryError": "Ray ended its worker there for want of memory",
    "RaySystemError": "Ray failed there",
    "TaskCancelledError": "it was ended",
    "TaskUnschedulableError": "the node is gone",
    "WorkerCrashedError": "Ray's worker there died",
}
"""What Ray raises where a task or its node is lost, for a person."""

MOMENT = 0.5
SECONDS_TO_END = 3.0
MESSAGE = 1 << 16


def main(control: int, address: str) -> None:
    wire = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    line = socket.socket(fileno=control)
    try:
        import ray

        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        nodes = [
            {"id": one["NodeID"], "name": one.get("NodeName") or one["NodeManagerAddress"], "alive": one["Alive"]}
            for one in ray.nodes()
        ]
    except ImportError:
        print(json.dumps({"error": "it has no ray"}), file=wire, flush=True)
        return
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=wire, flush=True)
        return
    print(json.dumps({"nodes": nodes}), file=wire, flush=True)
    threads = []
    closed = threading.Event()
    while True:
        message, descriptors, _, _ = socket.recv_fds(line, MESSAGE, 4)
        if not message:
            break
        threads.append(threading.Thread(target=serve, args=(json.loads(message), descriptors, closed)))
        threads[-1].start()
    closed.set()
    for thread in threads:
        thread.join(2 * SECONDS_TO_END)
    ray.shutdown()


def serve(asked: dict[str, Any], descriptors: list[int], closed: threading.Event) -> None:
    """One task: what its child prints goes on as it comes."""
    script, output, errors, status = descriptors
    told: object
    try:
        with os.fdopen(script, "rb") as source:
            task = start(asked, source.read())
        told = follow(task, output, errors, closed)
    except Exception as error:
        told = WORDS.get(type(error).__name__, "Ray: " + type(error).__name__)
    for descriptor in (output, errors):
        os.close(descriptor)
    with contextlib.suppress(OSError):  # nobody waits for it any more
        os.write(status, str(told).encode())
    os.close(status)


def start(asked: dict[str, Any], script: bytes) -> Any:
    """A task on a node, as the generator of what its child prints."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    options = {
        "num_cpus": 0,
        "max_retries": 0,
        "num_returns": "streaming",
        "scheduling_strategy": NodeAffinitySchedulingStrategy(asked["id"], soft=False),
    }
    return ray.remote(**options)(child).remote(asked["python"], asked["loader"], script)


def follow(task: Any, output: int, errors: int, closed: threading.Event) -> object:
    """Pass on what comes of a task until its child has ended; its exit status. Raises what Ray does."""
    import ray

    while not (closed.is_set() or given_up(output)):
        ready, _ = ray.wait([task], timeout=MOMENT)
        if not ready:
            continue
        number, data = ray.get(next(task))
        if number == 0:
            return data
        try:
            write(output if number == 1 else errors, data)
        except OSError:
            break
    end(task)
    return WORDS["TaskCancelledError"]


def end(task: Any) -> None:
    """Ask the task to end, which ends its child first; then end its worker."""
    import ray

    for force in (False, True):
        ray.cancel(task, force=force)
        try:
            while ray.wait([task], timeout=SECONDS_TO_END)[0]:
                ray.get(next(task))
        except (Exception, StopIteration):
            return


def given_up(output: int) -> bool:
    """Whether nobody reads it any more."""
    poll = select.poll()
    poll.register(output, 0)
    return bool(poll.poll(0))


def write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def child(python: str | None, loader: str, script: bytes) -> Iterator[tuple[int, Any]]:
    """On the node, in Ray's worker: what a child prints in pieces (1: output, 2: errors), then (0, exit status)."""
    import os
    import select
    import signal
    import subprocess
    import sys

    def environment() -> dict[bytes, bytes] | None:
        """The node's own. Ray gives a worker a number of threads and hides GPUs from it."""
        try:
            with open(f"/proc/{os.getppid()}/cmdline", "rb") as file:
                if b"raylet" not in file.read().split(b"\0")[0]:
                    return None
            with open(f"/proc/{os.getppid()}/environ", "rb") as file:
                found = (one.partition(b"=") for one in file.read().split(b"\0"))
                return {name: value for name, separator, value in found if separator}
        except OSError:
            return None

    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            [python or sys.executable, "-c", loader],
            stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, env=environment(), cwd="/", bufsize=0,
        )  # fmt: skip
    except OSError as error:
        yield 2, str(error.strerror).encode()
        yield 0, 127
        return
    assert process.stdin
    assert process.stdout
    assert process.stderr
    try:
        os.set_blocking(process.stdin.fileno(), False)
        numbers = {process.stdout: 1, process.stderr: 2}
        while process.stdout in numbers:
            # A moment only: that a task is cancelled is noticed between two steps of the interpreter.
            ready, able, _ = select.select(list(numbers), [process.stdin] if script else [], [], 0.2)
            if able:
                try:
                    script = script[os.write(process.stdin.fileno(), script) :]
                except OSError:
                    script = script[:0]
                if not script:
                    process.stdin.close()
            for stream in ready:
                data = os.read(stream.fileno(), 1 << 20)
                if data:
                    yield numbers[stream], data
                else:
                    del numbers[stream]
        yield 0, process.wait(5)
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(1)
            except (ProcessLookupError, PermissionError, subprocess.TimeoutExpired):
                pass


if __name__ == "__main__":
    if sys.path and sys.path[0] == "":
        del sys.path[0]  # a user's own file in the working directory must not shadow
    main(int(sys.argv[1]), sys.argv[2])
