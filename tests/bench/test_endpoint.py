"""The client of an API of OpenAI's form, against a server of this process."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rltk.bench.answerers import Question
from rltk.bench.endpoint import Endpoint
from rltk.bench.forms import EndpointForm
from rltk.bench.results import read_results
from rltk.errors import UserError
from tests.bench.conftest import contents, play

KEY = "sk-very-secret"


class Server:
    """Says every prompt again; ``failures`` are (status, headers) to answer first."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.failures: list[tuple[int, dict[str, str]]] = []
        self.raw: bytes | None = None
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    server.requests.append((self.path, dict(self.headers), body))
                    failure = server.failures.pop(0) if server.failures else None
                status, headers = failure or (200, {})
                answer = b"no\nway" if failure else server.raw or json.dumps(_answer(body)).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: Any) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


def _answer(body: dict[str, Any]) -> dict[str, Any]:
    """Return the prompt without the word that asks for an answer."""
    if "prompt" in body:
        return {"choices": [{"text": body["prompt"].removesuffix(" w28")}]}
    return {"choices": [{"message": {"content": body["messages"][-1]["content"].removesuffix(" w28")}}]}


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


def form(server: Server, **options: Any) -> EndpointForm:
    return EndpointForm(
        **{"endpoint": server.url, "model": "m", "backoff_seconds": 0.0, "retries": 2, **options}
    )


def question(text: str, *turns: tuple[str, str], **fields: Any) -> Question:
    return Question(**{"row": {}, "text": text, "turns": turns, "stop": (), "seed": 2**40 + 5, **fields})


def test_chat_is_a_conversation(server: Server) -> None:
    asked = question("w1", ("w2", "w3"), stop=("\n",))
    answers = Endpoint(form(server, system="be w4", body={"top_p": 0.5})).answer([asked])
    path, headers, body = server.requests[0]
    assert (answers, path) == (["w3"], "/v1/chat/completions")
    assert body == {
        "model": "m",
        "max_tokens": 256,
        "temperature": 1.0,
        "seed": (2**40 + 5) % 2**31,
        "stop": ["\n"],
        "top_p": 0.5,
        "messages": [
            {"role": "system", "content": "be w4"},
            {"role": "user", "content": "w1"},
            {"role": "assistant", "content": "w2"},
            {"role": "user", "content": "w3"},
        ],
    }
    assert "Authorization" not in headers


def test_completions_go_on_with_plain_text(server: Server) -> None:
    endpoint = Endpoint(form(server, api="completions", endpoint=f"{server.url}/"))
    assert endpoint.answer([question("w1 ", ("w2", " w3"))]) == ["w1 w2 w3"]
    assert server.requests[0][0] == "/v1/completions"


def test_answers_come_in_the_order_of_the_questions(server: Server) -> None:
    texts = [f"w{number}" for number in range(40)]
    assert Endpoint(form(server, concurrency=6)).answer([question(text) for text in texts]) == texts


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server: Server, status: int) -> None:
    server.failures = [(status, {}), (status, {"Retry-After": "0"})]
    assert Endpoint(form(server)).answer([question("w1")]) == ["w1"]
    assert len(server.requests) == 3


def test_a_server_that_stays_busy_is_one_line(server: Server) -> None:
    server.failures = [(503, {"Retry-After": "soon"})] * 3
    with pytest.raises(UserError, match=r"/v1/chat/completions: HTTP 503: no way, 3 times") as error:
        Endpoint(form(server)).answer([question("w1")])
    assert "\n" not in str(error.value)


def test_a_refusal_is_not_tried_again_and_tells_no_key(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    server.failures = [(401, {})]
    with pytest.raises(UserError, match=r"HTTP 401: no way") as error:
        Endpoint(form(server, api_key_env="MY_KEY")).answer([question("w1")])
    assert KEY not in str(error.value)
    assert len(server.requests) == 1
    assert server.requests[0][1]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b'{"choices": []}', b'{"choices": [{"text": "w1"}]}'])
def test_an_answer_of_another_form_is_one_line(server: Server, answer: bytes) -> None:
    server.raw = answer
    with pytest.raises(UserError, match="its answer holds no text"):
        Endpoint(form(server)).answer([question("w1")])


def test_nobody_at_the_address_is_one_line(server: Server) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(UserError, match=r"no answer: .*refused.*3 times"):
        Endpoint(form(server)).answer([question("w1")])


def test_a_missing_key_is_one_line(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(UserError, match=r"no such environment variable, got 'MY_KEY'. Fix: export MY_KEY"):
        Endpoint(form(server, api_key_env="MY_KEY"))


def test_a_bench_scores_a_server_and_keeps_no_key(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    far = {"endpoint": server.url, "model": "m", "api_key_env": "MY_KEY"}
    policies = {"far": far, "best": {"best_of": 2, "of": "far"}, "few": {"shots": 1, "of": "far"}}
    assert play(tmp_path / "b", policies, ["echo"]).errors == {}
    scores: dict[str, list[float]] = {}
    for record in read_results(tmp_path / "b").records:
        scores.setdefault(record.policy, []).append(record.score)
    assert scores["far"] == scores["best"] == [1.0] * 8
    assert all(score < 1.0 for score in scores["few"])  # the server repeats the demonstrations too
    assert not any(KEY.encode() in text for text in contents(tmp_path / "b").values())
