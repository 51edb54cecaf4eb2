"""How a container is removed by an engine that answers late, otherwise, or not at all."""

from __future__ import annotations

import http.server
import threading
from contextlib import closing

import docker
import pytest

from audit.targets import engine

SILENCE = 0
"""In the place of a status: no answer comes."""

Asked = list[tuple[str, str]]


class Scripted:
    """An engine that gives these answers (status of HTTP), the last one for ever. asked: method and path of each."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.asked: Asked = []
        self.over = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, format: str, *words: object) -> None:
                pass

            def answer(self) -> None:
                outer.asked.append((self.command, self.path.partition("?")[0].removeprefix("/v1.41")))
                status = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                if status == SILENCE:
                    outer.over.wait()
                    return
                self.send_response(status)
                self.send_header("Content-Length", "16" if status != 204 else "0")
                self.end_headers()
                self.wfile.write(b'{"message": "x"}' if status != 204 else b"")

            do_DELETE = do_GET = answer

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SECONDS_TO_ANSWER", 0.3)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def removed(*answers: int) -> Asked:
    with closing(Scripted(*answers)) as scripted:
        address = f"tcp://127.0.0.1:{scripted.server.server_port}"
        with closing(docker.DockerClient(base_url=address, version="1.41")) as client:
            engine.remove(client, "abc")
        return scripted.asked


DELETE = ("DELETE", "/containers/abc")
INSPECT = ("GET", "/containers/abc/json")


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ((204,), [DELETE]),
        ((404,), [DELETE]),
        ((409, 200, 200, 404), [DELETE, INSPECT, INSPECT, INSPECT]),
        ((SILENCE, 404), [DELETE, DELETE]),
        ((SILENCE, 409, 200, 404), [DELETE, DELETE, INSPECT, INSPECT]),
        ((SILENCE,), [DELETE, DELETE]),
        ((409, SILENCE, 404), [DELETE, INSPECT, DELETE]),
    ],
    ids=["done", "gone", "in progress", "answer lost", "lost and in progress", "silent", "silent when inspected"],
)
def test_nobody_waits_for_an_engine_in_vain(answers: tuple[int, ...], asked: Asked) -> None:
    assert removed(*answers) == asked


def test_one_that_is_never_gone_is_left_to_the_next_run() -> None:
    asked = removed(409, 200)
    assert asked[0] == DELETE
    assert set(asked[1:]) == {INSPECT}


def test_no_engine_at_all_is_no_error() -> None:
    with closing(docker.DockerClient(base_url="tcp://127.0.0.1:1", version="1.41")) as client:
        engine.remove(client, "abc")
