"""What the clients of soak.py send, and what a complete answer is."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

WORDS = "the of and to in is that was he for it with as his on be at by had not are but from".split()


@dataclass
class Hangup:
    """When a rude client goes: one of the first three."""

    body_bytes: int | None = None  # after so much of the body
    after_s: float | None = None  # without reading
    chunks: int | None = None  # of a streamed answer
    dawdle_s: float = 0  # reads nothing for so long before that
    resets: bool = False  # by RST


@dataclass
class Malformed:
    name: str
    path: str = "/v1/completions"
    body: bytes = b""
    content_type: str = "application/json"
    head: bytes = b""  # instead of the usual one


def generation(rng: random.Random, model: str) -> tuple[str, bytes]:
    """Path and body of an honest request."""
    num_words = min(400, max(1, round(rng.lognormvariate(3.5, 1))))
    prompt = " ".join(rng.choices(WORDS, k=num_words))
    body: dict[str, object] = {
        "model": model,
        "max_tokens": min(96, max(1, round(rng.lognormvariate(2.5, 0.8)))),
        "stream": rng.random() < 0.7,
        "temperature": rng.choice([0, 0.7, 1.5]),
        "seed": rng.randrange(1000),
    }
    if rng.random() < 0.5:
        return "/v1/completions", json.dumps(body | {"prompt": prompt}).encode()
    messages = [{"role": "user", "content": prompt}]
    return "/v1/chat/completions", json.dumps(body | {"messages": messages}).encode()


def hangup(rng: random.Random, body_len: int) -> Hangup:
    kind = rng.randrange(4)
    if kind == 0:
        sent = rng.randrange(body_len)
        return Hangup(body_bytes=sent, after_s=rng.random() * 0.05, resets=rng.random() < 0.5)
    if kind == 1:
        return Hangup(after_s=rng.random() * 0.5, resets=rng.random() < 0.5)
    slow = 1.0 if rng.random() < 0.2 else 0.0
    return Hangup(chunks=rng.randrange(1, 20), dawdle_s=slow, resets=rng.random() < 0.5)


def check_complete(body: bytes, is_stream: bool) -> None:
    """ValueError: something is missing."""
    if not is_stream:
        reasons = [choice["finish_reason"] for choice in json.loads(body)["choices"]]
    else:
        # Of bytes: of text it would take U+2028 and the like, which a reply may hold, for ends of lines.
        events = [line[6:] for line in body.splitlines() if line.startswith(b"data: ")]
        if not events or events[-1] != b"[DONE]":
            raise ValueError("a stream without [DONE]")
        choices = [choice for event in events[:-1] for choice in json.loads(event).get("choices", [])]
        reasons = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    if len(reasons) != 1 or reasons[0] not in ("stop", "length"):
        raise ValueError(f"finish_reason {reasons}, expected stop or length once")


def malformed(rng: random.Random, model: str) -> Malformed:
    def prompt(**fields: object) -> bytes:
        return json.dumps({"model": model, "prompt": "a", "max_tokens": 4} | fields).encode()

    def chat(*messages: dict[str, str]) -> bytes:
        return json.dumps({"model": model, "messages": messages}).encode()

    cases = [
        Malformed("not JSON", body=b"{"),
        Malformed("no body"),
        Malformed("an array", body=b"[]"),
        Malformed("deep", body=b'{"prompt":' + b"[" * 60_000),
        Malformed("no UTF-8", body=b'{"prompt":"\xff\xfe"}'),
        Malformed("no prompt", body=json.dumps({"model": model}).encode()),
        Malformed("empty messages", path="/v1/chat/completions", body=chat()),
        Malformed("wrong role", path="/v1/chat/completions", body=chat({"role": "x", "content": "a"})),
        Malformed("n", body=prompt(n=10**9)),
        Malformed("max_tokens", body=prompt(max_tokens=-1)),
        Malformed("temperature", body=prompt(temperature=-3)),
        Malformed("top_p", body=prompt(top_p=7)),
        Malformed("unknown parameter", body=prompt(frobnicate=1)),
        Malformed("token ids", body=prompt(prompt=[-1, 10**9])),
        Malformed("long prompt", body=prompt(prompt="a " * 300_000)),
        Malformed("text type", content_type="text/plain", body=prompt()),
        Malformed("unknown model", body=prompt(model="no-such-model")),
        Malformed("no such path", path="/v1/nothing", body=prompt()),
        Malformed("not HTTP", head=b"\x16\x03\x01 garbage\r\n\r\n"),
        Malformed("huge header", head=b"POST /v1/completions HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
        Malformed("lengths", head=b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\na"),
    ]
    return rng.choice(cases)
