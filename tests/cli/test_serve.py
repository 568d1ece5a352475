"""nereid serve as a process: a real model behind it, signals, logs."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Nereid


class Serving:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert line.startswith("listening on http://127.0.0.1:"), line
        self.port = int(line.rsplit(":", 1)[1])

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        content = answer.read().decode()
        connection.close()
        is_json = answer.headers["Content-Type"].startswith("application/json")
        return answer.status, json.loads(content) if is_json else content

    def metric(self, name: str) -> float:
        lines = self.ask("GET", "/metrics")[1].splitlines()
        return float(next(line for line in lines if line.startswith(name + "{")).split()[-1])

    def stop(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and what was logged."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err.decode()


@pytest.fixture
def serve(nereid: Nereid, device: list[str]) -> Iterator[Callable[..., Serving]]:
    running: list[Serving] = []

    def start(model: Path, *flags: str) -> Serving:
        process = nereid.popen(
            *("serve", model, "--port", "0", "--max-sequences", "4", *device, *flags),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running.append(Serving(process))
        return running[-1]

    yield start
    for serving in running:
        serving.process.kill()
        serving.process.wait()


def test_answers_and_ends(serve: Callable[..., Serving], tiny_gguf: Path) -> None:
    serving = serve(tiny_gguf, "--log-format", "json")
    name = tiny_gguf.stem
    assert serving.ask("GET", "/health") == (200, {"status": "ok"})
    assert serving.ask("GET", "/v1/models")[1]["data"][0]["id"] == name
    status, tokens = serving.ask("POST", "/tokenize", {"prompt": "hello"})
    assert (status, tokens["count"]) == (200, len(tokens["tokens"]))
    status, completion = serving.ask(
        "POST", "/v1/completions", {"model": name, "prompt": "hello", "max_tokens": 4}
    )
    assert status == 200 and completion["usage"]["completion_tokens"] <= 4
    assert 'vllm:request_success_total{model_name="%s"' % name in serving.ask("GET", "/metrics")[1]
    code, log = serving.stop()
    assert code == 0
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    requests = [line for line in lines if line.get("event") == "request"]
    assert [line["path"] for line in requests][:2] == ["/health", "/v1/models"]
    assert all(line["status"] == 200 and line["complete"] for line in requests)


def test_the_cache_has_the_memory_it_is_given(serve: Callable[..., Serving], tiny_gguf: Path) -> None:
    serving = serve(tiny_gguf, "--kv-cache-memory", "1MiB", "--max-context", "64")
    info = next(
        line for line in serving.ask("GET", "/metrics")[1].splitlines() if "cache_config_info{" in line
    )
    labels = dict(re.findall(r'(\w+)="([^"]*)"', info))
    pages, page_tokens = int(labels["num_gpu_blocks"]), int(labels["block_size"])
    assert serving.ask("GET", "/v1/models")[1]["data"][0]["max_model_len"] == 64
    log = serving.stop()[1]
    plan = re.search(r"memory: weights .*, activations .*, KV cache (.*) for (\d+) tokens \((.*) each\)", log)
    assert plan is not None, log
    assert int(plan[2]) == pages * page_tokens
    assert plan[1] == "1.0 MiB"


def test_drains_and_then_cancels(serve: Callable[..., Serving], default_model: Path) -> None:
    serving = serve(default_model, "--drain-timeout", "0.3", "--max-model-len", "2048")
    body = json.dumps(
        {"model": default_model.stem, "prompt": "a", "max_tokens": 2000, "stream": True, "ignore_eos": True}
    )
    request = (
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
    with socket.create_connection(("127.0.0.1", serving.port), timeout=30) as client:
        client.sendall(request.encode())
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        start = time.monotonic()
        code, log = serving.stop(signal.SIGINT)
        assert time.monotonic() - start < 10
        assert code == 0
        assert "stopped" in log
        while client.recv(65536):  # the end of the stream
            pass


def test_a_second_signal_ends_it_at_once(serve: Callable[..., Serving], default_model: Path) -> None:
    serving = serve(default_model, "--max-model-len", "2048")
    body = json.dumps(
        {"model": default_model.stem, "prompt": "a", "max_tokens": 2000, "stream": True, "ignore_eos": True}
    )
    request = (
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
    with socket.create_connection(("127.0.0.1", serving.port), timeout=30) as client:
        client.sendall(request.encode())
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        serving.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        code, _ = serving.stop()
        assert code in (0, 128 + signal.SIGTERM)  # 0: all had ended within the moment between


def test_a_burst_and_then_the_end(serve: Callable[..., Serving], default_model: Path) -> None:
    """More than the queue holds, then SIGTERM: each request is answered or refused, and the exit is clean."""
    serving = serve(default_model, "--max-waiting", "2", "--max-model-len", "512", "--drain-timeout", "30")
    ask = {"model": default_model.stem, "prompt": "a", "max_tokens": 64, "ignore_eos": True}
    answers: list[tuple[int, Any]] = []
    clients = [
        threading.Thread(target=lambda: answers.append(serving.ask("POST", "/v1/completions", ask)))
        for _ in range(24)
    ]
    for client in clients:
        client.start()
    deadline = time.monotonic() + 30
    while not any(status == 429 for status, _ in list(answers)):
        assert time.monotonic() < deadline, answers
        time.sleep(0.01)
    while serving.metric("vllm:num_requests_running") + serving.metric("vllm:num_requests_waiting") < 4:
        assert time.monotonic() < deadline, answers
    code, _ = serving.stop()
    for client in clients:
        client.join(timeout=30)
    assert code == 0
    assert len(answers) == len(clients)
    for status, body in answers:
        if status == 200:
            assert body["usage"]["completion_tokens"] == 64
        else:
            assert status in (429, 503) and body["error"]["message"], body
    assert sum(status == 200 for status, _ in answers) >= 4


def test_trace(serve: Callable[..., Serving], tiny_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    serving = serve(tiny_gguf, "--trace", path)
    ask = {"model": tiny_gguf.stem, "prompt": "hello", "max_tokens": 4, "ignore_eos": True}
    assert serving.ask("POST", "/v1/completions", ask)[0] == 200
    assert serving.stop()[0] == 0
    events = json.loads(path.read_text())["traceEvents"]
    marks = [index for index, event in enumerate(events) if event["name"] == "ready"]
    names = [event["name"] for event in events[marks[0] :]]
    assert names.count("rms_norm") > 3 and any("attention" in name for name in names)


def test_weights_that_are_no_numbers(nereid: Nereid, tiny_gguf: Path, tmp_path: Path) -> None:
    data = tiny_gguf.read_bytes()
    bad = tmp_path / "nan.gguf"
    size = len(data) // 4  # of the tensors at the end
    bad.write_bytes(data[:-size] + b"\xff" * size)
    done = nereid("serve", bad, "--port", "0", "--max-sequences", "4")
    assert done.code == 1 and "found a NaN or infinite element, expected finite numbers" in done.err


def test_wrong_starts(nereid: Nereid, tiny_gguf: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = nereid("serve", tiny_gguf, "--port", port, "--max-sequences", "4")
        assert done.code == 1 and "cannot listen" in done.err
    assert "--tls-key" in nereid("serve", tiny_gguf, "--tls-cert", "x").err
    assert nereid("serve", "/no/such.gguf").code == 1
