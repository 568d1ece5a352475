"""Inputs that have brought other servers down, each with the answer it must get from this one.

The table follows the twenty bad inputs and the classes of published weaknesses (CVE numbers) that docs/security.md
lists. Inputs that are files (GGUF, safetensors, configuration) are in tests/hostile.
"""

from __future__ import annotations

import http.client
import json
import pickle
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import NAME, RealServer

ASK = [{"role": "user", "content": "Hi"}]
DEEP = "(" * 60_000
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@dataclass
class Bad:
    what: str  # also says of which number or CVE
    path: str
    body: Any  # bytes as they are, else JSON
    status: int
    message: str  # part of it
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def completion(what: str, status: int, param: str | None, message: str, **more: Any) -> Bad:
    body = {"model": NAME, "prompt": "Hi", "max_tokens": 2} | more
    return Bad(what, "/v1/completions", body, status, message, param)


def chat(what: str, status: int, param: str | None, message: str, **more: Any) -> Bad:
    body = {"model": NAME, "messages": ASK, "max_tokens": 2} | more
    return Bad(what, "/v1/chat/completions", body, status, message, param)


def response(what: str, status: int, param: str | None, message: str, **more: Any) -> Bad:
    body = {"model": NAME, "input": "Hi", "max_output_tokens": 2} | more
    return Bad(what, "/v1/responses", body, status, message, param)


def raw(what: str, body: bytes, message: str, status: int = 400, param: str | None = None, **headers: str) -> Bad:
    return Bad(what, "/v1/completions", body, status, message, param, headers)


def part(kind: str, **inside: Any) -> list[dict[str, Any]]:
    """A message with text and something else in it."""
    return [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, {"type": kind, **inside}]}]


def sampling(what: str, parameter: str, number: str, message: str) -> Bad:
    body = f'{{"model": "{NAME}", "prompt": "Hi", "{parameter}": {number}}}'.encode()
    return raw(what, body, message, param=None if message.startswith("not valid") else parameter)


def function(parameters: Any, name: Any = "f") -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": name, "parameters": parameters}}]


PART = "messages[0].content[1].type"

TABLE = [
    completion("1 empty prompt (CVE-2024-8768)", 400, "prompt", "found an empty prompt", prompt=""),
    completion("1 no prompts", 400, "prompt", "found an array", prompt=[]),
    completion("1 empty list of ids", 400, "prompt", "empty prompt", prompt=[[]]),
    chat("1 no messages", 400, "messages", "an empty array", messages=[]),
    response("1 no input", 400, "input", "that is not empty", input=[]),
    completion("2 prompt over the context", 400, "prompt", "context", prompt="word " * 4000),
    completion("2 ids over the context", 400, "prompt", "context", prompt=[504] * 2048),
    chat("2 messages over the context", 400, "messages", "context", messages=[{"role": "user", "content": "a b " * 4000}]),
    completion("2 and more than the context in all", 400, "max_tokens", "2048", max_tokens=2048),
    completion("3 n (CVE-2026-34756)", 400, "n", "from 1 to 64", n=10**9),
    completion("3 n times prompts", 400, "n", "in all", n=64, prompt=["a"] * 64),
    completion("3 best_of (CVE-2024-8939)", 400, "best_of", "found 1000000", best_of=10**6),
    completion("3 logprobs", 400, "logprobs", "found 100000", logprobs=100_000),
    chat("3 top_logprobs", 400, "top_logprobs", "from 0 to 20", logprobs=True, top_logprobs=10**6),
    completion("3 max_tokens", 400, "max_tokens", "found 4611686018427387904", max_tokens=2**62),
    completion("3 stop strings", 400, "stop", "found 1000 strings", stop=["x"] * 1000),
    completion("3 prompts", 400, "prompt", "at most 64", prompt=["a"] * 65),
    sampling("4 NaN", "temperature", "NaN", "not valid JSON"),
    sampling("4 Infinity", "temperature", "Infinity", "not valid JSON"),
    sampling("4 minus Infinity", "temperature", "-Infinity", "not valid JSON"),
    raw("4 over all doubles", b'{"model": "m", "temperature": 1e999}', "out of range"),
    sampling("4 temperature", "temperature", "-1", "found -1"),
    sampling("4 top_p", "top_p", "0", "above 0"),
    sampling("4 min_p", "min_p", "-0.5", "found -0.5"),
    sampling("4 top_k", "top_k", "-7", "found -7"),
    sampling("4 repetition_penalty", "repetition_penalty", "0", "above 0"),
    sampling("4 seed", "seed", "1.5", "whole number"),
    completion("5 negative id", 400, "prompt", "found -1 at position 1", prompt=[504, -1]),
    completion("5 id over the vocabulary", 400, "prompt", "found 49152", prompt=[49152]),
    completion("5 id over 64 bits", 400, "prompt", "found 1e+30", prompt=[1e30]),
    completion("5 logit_bias", 400, "logit_bias", "'-1'", logit_bias={"-1": 1}),
    completion("5 logit_bias over the vocabulary", 400, "logit_bias", "'49152'", logit_bias={"49152": 1}),
    completion("5 stop_token_ids", 400, "stop_token_ids", "found 99999999", stop_token_ids=[99999999]),
    Bad("5 detokenize", "/detokenize", {"tokens": [-5]}, 400, "found", "tokens"),
    raw("6 bytes that are no UTF-8", b'{"model": "\xff\xfe", "prompt": "x"}', "not valid JSON"),
    raw("6 overlong UTF-8", b'{"model": "\xc0\xae", "prompt": "x"}', "not valid JSON"),
    raw("6 lone surrogate", b'{"model": "m", "prompt": "\\ud800"}', "not valid JSON"),
    raw("6 swapped surrogates", b'{"model": "m", "prompt": "\\udc00\\ud800"}', "not valid JSON"),
    raw("6 a raw NUL", b'{"model": "m", "prompt": "a\x00b"}', "not valid JSON"),
    raw("7 nested JSON", b'{"model": ' + b"[" * 60_000, "nesting of more than 64"),
    raw("7 nested objects", b'{"a":' * 60_000, "nesting of more than 64"),
    raw("7 body over the limit", b" " * (8 * 2**20 + 1), "larger than 8388608 bytes", 413),
    raw("7 giant header (CVE-2025-48956)", b"{}", "longer than 32768 bytes", 431, **{"X-Big": "x" * 60_000}),
    completion("8 nested grammar (llama.cpp 26600)", 400, "guided_grammar", "guided_grammar", guided_grammar="start: " + DEEP),
    completion("8 nested regex", 400, "guided_regex", "guided_regex", guided_regex=DEEP),
    completion("8 grammar without an end", 400, "guided_grammar", "guided_grammar", guided_grammar="start: x"),
    completion("9 regex that is none (CVE-2025-48943)", 400, "guided_regex", "guided_regex", guided_regex="(a"),
    completion("9 regex of a schema", 400, "guided_json", "guided_json", guided_json={"type": "string", "pattern": "(a"}),
    completion("9 repetitions of repetitions", 400, "guided_regex", "guided_regex", guided_regex="((a{1000}){1000}){1000}"),
    completion("9 back reference", 400, "guided_regex", "guided_regex", guided_regex="(a)\\1"),
    completion("10 reference to nothing", 400, "guided_json", "guided_json", guided_json={"$ref": "#/$defs/none"}),
    completion("10 schema of no type (CVE-2025-48942)", 400, "guided_json", "guided_json", guided_json={"type": "something"}),
    completion("10 remote reference", 400, "guided_json", "guided_json", guided_json={"$ref": "http://169.254.169.254/x"}),
    chat("10 tool without name (CVE-2025-48944)", 400, "tools[0].function.name", "missing", tools=[{"type": "function", "function": {}}]),
    chat("10 tool that is none", 400, "tools[0]", "found 7", tools=[7]),
    chat("10 parameters of a tool", 400, "tools[0].function.parameters", "found 'x'", tools=function("x")),
    chat("10 tool of a wrong schema", 400, "tools", "tools", tools=function({"type": "nothing"}), tool_choice="required"),
    chat("10 tool twice", 400, "tools[1].function.name", "twice", tools=function({}) * 2),
    chat("10 choice of another tool", 400, "tool_choice", "'g'", tools=function({}),
         tool_choice={"type": "function", "function": {"name": "g"}}),
    chat("11 template of the request (CVE-2024-34359, CVE-2026-5760)", 400, "chat_template", "not supported",
         chat_template="{{ ''.__class__.__mro__ }}"),
    chat("11 variables over parameters (CVE-2025-61620)", 400, "chat_template_kwargs.messages", "parameter of its own",
         chat_template_kwargs={"messages": []}),
    Bad("11 template by way of rerank (CVE-2026-5760)", "/v1/rerank", {"query": "x"}, 404, "nothing is at /v1/rerank"),
    chat("15 image", 400, PART, "'image_url'", messages=part("image_url", image_url={"url": PIXEL})),
    chat("15 image of other clients", 400, PART, "'input_image'", messages=part("input_image", image_url=PIXEL)),
    chat("15 bad base64", 400, PART, "'image_url'", messages=part("image_url", image_url={"url": "data:image/jp2;base64,%%"})),
    chat("16 file", 400, PART, "'image_url'", messages=part("image_url", image_url={"url": "file:///etc/passwd"})),
    chat("16 back slash", 400, PART, "'image_url'", messages=part("image_url", image_url={"url": "http://a\\@169.254.169.254/"})),
    response("16 image of a response", 400, "input[0].content[0].type", "'input_image'",
             input=[{"role": "user", "content": [{"type": "input_image", "image_url": PIXEL}]}]),
    response("16 file of a response", 400, "input[0].content[0].type", "'input_file'",
             input=[{"role": "user", "content": [{"type": "input_file", "file_id": "../../etc/passwd"}]}]),
    chat("17 video (CVE-2026-5497)", 400, PART, "'video_url'", messages=part("video_url", video_url={"url": "data:video/mp4;base64,"})),
    chat("17 sound", 400, PART, "'input_audio'", messages=part("input_audio", input_audio={"data": "", "format": "wav"})),
    completion("18 a path for a model", 404, "model", "does not exist", model="../../etc/passwd"),
    completion("18 adapter in the name", 404, "model", "does not exist", model=NAME + ":../adapter"),
    completion("18 adapter", 400, "lora_request", "unknown parameter", lora_request={"lora_path": "../x"}),
    completion("18 adapters as others name them", 400, "lora", "unknown parameter", lora=[{"id": 0, "scale": 1}]),
    Bad("18 loading of adapters", "/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "../x"}, 404, "nothing is at"),
    completion("20 a pickle for embeddings (CVE-2025-62164, CVE-2025-62372)", 400, "prompt_embeds", "unknown parameter",
               prompt_embeds="gASVAAAAAAAAAAA="),
    raw("a pickle for JSON (CVE-2024-50050, CVE-2026-3059)", pickle.dumps({"model": NAME}), "not valid JSON"),
    raw("a pickle as such", pickle.dumps({}), "application/json", 415, **{"Content-Type": "application/octet-stream"}),
    completion("n_discard (CVE-2026-21869)", 400, "n_discard", "unknown parameter", n_discard=-1),
    completion("multimodal data", 400, "multi_modal_data", "unknown parameter", multi_modal_data={"image": PIXEL}),
]  # fmt: skip


def post(server: RealServer, path: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    place = urlsplit(server.address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request("POST", path, content, {"Content-Type": "application/json"} | (headers or {}))
    except (BrokenPipeError, ConnectionResetError):
        pass  # the answer came before the whole body was sent
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text)


@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: bad.what)
def test_refused(real_server: RealServer, bad: Bad) -> None:
    status, body = post(real_server, bad.path, bad.body, bad.headers)
    assert status == bad.status, body
    error = body["error"]
    assert bad.message in error["message"] and "\n" not in error["message"], error
    assert error["param"] == bad.param, error
    assert post(real_server, "/tokenize", {"prompt": "a"})[0] == 200  # it lives


@pytest.mark.parametrize(
    "more",
    [
        {"prompt": "a\x00b\u202e\ufdd0"},  # 6: unusual, but text
        {"prompt": "\U0001f9d1\u200d\U0001f680" * 50},
        {"guided_regex": "(a|a)*(a+)+(a*)*b", "max_tokens": 24},  # 9: slow where matching goes back
        {"guided_json": {"$ref": "#"}},  # 10: a schema that is only itself: anything
        {"guided_json": {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}}, "$ref": "#/$defs/a"}},
        {"seed": -1, "temperature": 2, "top_p": 1e-9, "min_p": 1, "top_k": 1},
    ],
    ids=lambda more: next(iter(more)),
)
def test_unusual_but_answered(real_server: RealServer, more: dict[str, Any]) -> None:
    status, body = post(real_server, "/v1/completions", {"model": NAME, "prompt": "Hi", "max_tokens": 4} | more)
    assert status in (200, 400), body
    if status == 400:
        assert body["error"]["param"] in more, body


def test_variables_of_a_template_do_not_replace_it(real_server: RealServer) -> None:
    ask = {"model": NAME, "messages": ASK, "max_tokens": 4, "temperature": 0}
    plain = post(real_server, "/v1/chat/completions", ask)
    for name in ("chat_template", "tokenize", "range", "raise_exception"):
        loop = "{% for i in range(999999999) %}x{% endfor %}"
        status, body = post(real_server, "/v1/chat/completions", ask | {"chat_template_kwargs": {name: loop}})
        assert status == 200, body
        assert body["choices"] == plain[1]["choices"]


@pytest.fixture
def trap() -> Iterator[tuple[str, list[Any]]]:
    """An address that must not be fetched, and who has come all the same."""
    came: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def wait() -> None:
            try:
                came.append(listener.accept())
            except OSError:
                pass

        thread = threading.Thread(target=wait)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/x.png", came
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_fetches_nothing(real_server: RealServer, trap: tuple[str, list[Any]]) -> None:
    """16, CVE-2025-6242, CVE-2026-24779: an address in a request is never visited."""
    url, came = trap
    for kind in ("image_url", "video_url", "audio_url", "file_url"):
        ask = {"model": NAME, "messages": part(kind, **{kind: {"url": url}})}
        assert post(real_server, "/v1/chat/completions", ask)[0] == 400
    for more in ({"guided_json": {"$ref": url}}, {"image": url}, {"guided_json": {"$schema": url, "type": "null"}}):
        post(real_server, "/v1/completions", {"model": NAME, "prompt": "Hi", "max_tokens": 2} | more)
    assert came == []


def test_listens_on_one_port_only(real_server: RealServer) -> None:
    """20: there is no internal port that could be sent garbage (CVE-2024-50050 and its kin)."""
    sockets = set()
    for entry in Path(f"/proc/{real_server.pid}/fd").iterdir():
        try:
            sockets.add(str(entry.readlink()))
        except OSError:
            continue
    listening, others = [], []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{real_server.pid}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if f"socket:[{columns[9]}]" in sockets:
                mine = int(columns[1].rpartition(":")[2], 16)
                (listening if table.startswith("tcp") and columns[3] == "0A" else others).append((table, mine))
    port = urlsplit(real_server.address).port
    assert listening == [("tcp", port)]
    assert all(entry == ("tcp", port) for entry in others), others


def test_garbage_is_no_request(real_server: RealServer) -> None:
    place = urlsplit(real_server.address)
    for garbage in (b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f" * 20, pickle.dumps([1]) * 50, b"\x16\x03\x01" * 99, b"GET\r\n\r\n"):
        with socket.create_connection((place.hostname or "", place.port or 0), timeout=10) as client:
            client.sendall(garbage)
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(4096)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer
    assert post(real_server, "/tokenize", {"prompt": "a"})[0] == 200
