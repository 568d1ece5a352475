"""nereid bench-serve against a small server of this file."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import Nereid


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bodies: list[dict] = []
    keys: list[str | None] = []
    status = 200

    def do_GET(self) -> None:
        self.reply(200, b'{"object": "list", "data": [{"id": "listed"}]}')

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Handler.bodies.append(body)
        Handler.keys.append(self.headers["Authorization"])
        if Handler.status != 200:
            self.reply(Handler.status, b'{"error": {"message": "queue is full"}}')
            return
        chunk = {"choices": [{"index": 0, "text": " a", "delta": {"content": " a"}}]}
        usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": body["max_tokens"]}}
        events = [json.dumps(chunk)] * body["max_tokens"] + [json.dumps(usage), "[DONE]"]
        self.reply(200, "".join(f"data: {event}\n\n" for event in events).encode())

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Handler.bodies, Handler.keys, Handler.status = [], [], 200
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_json(nereid: Nereid, url: str) -> None:
    report = nereid(
        *("bench-serve", "--url", url, "--num-requests", 10, "--concurrency", 2, "--warmup", 2),
        *("--input-len", "5:9", "--output-len", 4, "--goodput", "ttft:60000", "--json", "-"),
        *("--api-key", "secret", "--ignore-eos"),
    ).json()
    assert report["settings"]["model"] == "listed"
    results = report["results"]
    assert (results["requests_done"], results["requests_failed"]) == (10, 0)
    assert (results["output_tokens"], results["input_tokens"]) == (40, 30)
    assert results["goodput_requests_per_s"] == pytest.approx(results["requests_per_s"])
    assert results["ttft_ms"]["count"] == 10
    assert len(Handler.bodies) == 12
    assert all(body["ignore_eos"] and 5 <= len(body["prompt"].split()) <= 9 for body in Handler.bodies)
    assert set(Handler.keys) == {"Bearer secret"}


def test_table_and_open_loop(nereid: Nereid, url: str) -> None:
    done = nereid(
        *("bench-serve", "--url", url + "/v1", "--endpoint", "chat", "--model", "m"),
        *("--request-rate", 50, "--burstiness", 2, "--num-requests", 10, "--output-len", 2),
    )
    assert done.code == 0, done.err
    assert "time to first token" in done.out and "output tokens/s" in done.out
    assert all(body["messages"][0]["role"] == "user" for body in Handler.bodies)
    assert Handler.bodies[0]["model"] == "m"


def test_refused_requests_are_counted(nereid: Nereid, url: str) -> None:
    Handler.status = 429
    done = nereid("bench-serve", "--url", url, "--num-requests", 3)
    assert done.code == 1
    assert "3 x HTTP 429: queue is full" in done.out


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--concurrency", "0"), "--concurrency"),
        (("--request-rate", "-1"), "--request-rate"),
        (("--request-rate", "nan"), "--request-rate"),
        (("--request-rate", "2", "--concurrency", "3"), "excludes"),
        (("--burstiness", "2"), "--request-rate"),
        (("--num-requests", "5", "--duration", "3"), "excludes"),
        (("--endpoint", "embeddings"), "--endpoint"),
        (("--endpoint", "chat", "--prompt-kind", "ids"), "completions"),
        (("--num-requests", "1e9"), "--num-requests"),
    ],
)
def test_nonsense(nereid: Nereid, flags: tuple[str, ...], expected: str) -> None:
    assert expected in nereid("bench-serve", *flags).error(2)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--url", "https://x"), "--url: 'https://x': https is not supported"),
        (("--url", "localhost:80"), "expected http://"),
        (("--input-len", "9:3"), "--input-len"),
        (("--goodput", "speed:3"), "--goodput"),
        (("--prompts", "/no/such/file"), "cannot be read"),
        (("--json", "/no/such/folder/x.json"), "--json"),
        (("--url", "http://127.0.0.1:9"), "Connection refused"),
    ],
)
def test_errors(nereid: Nereid, flags: tuple[str, ...], expected: str) -> None:
    assert expected in nereid("bench-serve", *flags).error(1)
