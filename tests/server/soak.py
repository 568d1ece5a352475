#!/usr/bin/env python3
"""Keeps a server under mixed, rude load for a while and then looks whether all of it has been cleaned up.

Requests have random lengths; a third of the clients hang up at some point; now and then more arrive at once
than the queue holds; malformed ones are mixed in. Afterwards nothing may run or wait, pages of the KV cache,
descriptors and memory have to be back where they were, and every request has to have ended in exactly one
way: done, cancelled or refused.

    tests/server/soak.py                                     # starts nereid serve, ten minutes
    tests/server/soak.py --duration 20 --burst 400 -- build/release/nereid-fake-server --step-us 500
    tests/server/soak.py --url http://127.0.0.1:8000 --pid 4711
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import soak_requests
from soak_requests import Hangup

ROOT = Path(__file__).resolve().parents[2]
NEREID = str(ROOT / "build/release/nereid")
DEFAULT_COMMAND = [NEREID, *"serve --port 0 --max-sequences 16 --max-waiting 32".split()]
TIMEOUT = 120


class Wrong(Exception):
    """The server did what it must not."""


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class State:
    """What has to come back."""

    running: float
    waiting: float
    kv_usage: float
    sinks: float  # requests whose tokens are held for somebody
    refused: float  # answers with 429
    ended: dict[str, float]  # choices, by finished_reason
    descriptors: int
    memory_mib: float


@dataclass
class Soak:
    host: str
    port: int
    pid: int
    random: random.Random
    model: str = ""
    outcomes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)

    async def send(self, head: bytes, body: bytes, hangup: Hangup | None = None) -> Reply | None:
        """None: this client hung up, as it was to."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            length = len(body) if hangup is None or hangup.body_bytes is None else hangup.body_bytes
            writer.write(head + body[:length])
            await writer.drain()
            if hangup and hangup.after_s is not None:
                await asyncio.sleep(hangup.after_s)
                return None
            reply = await self.read(reader, hangup)
            return reply
        finally:
            if hangup and hangup.resets:
                writer.transport.abort()
            writer.close()

    async def read(self, reader: asyncio.StreamReader, hangup: Hangup | None) -> Reply | None:
        status_line = await reader.readline()
        if not status_line:
            raise Wrong("closed without an answer")
        status = int(status_line.split()[1])
        headers: dict[str, str] = {}
        while (line := (await reader.readline()).strip()) != b"":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("transfer-encoding") != "chunked":
            return Reply(status, headers, await reader.readexactly(int(headers.get("content-length", 0))))
        body = b""
        num_chunks = 0
        while (size := int(await reader.readline() or b"-1", 16)) > 0:
            body += await reader.readexactly(size)
            await reader.readexactly(2)
            num_chunks += 1
            if hangup and hangup.chunks is not None and num_chunks >= hangup.chunks:
                await asyncio.sleep(hangup.dawdle_s)
                return None
        if size < 0:
            raise Wrong("stream cut off")
        await reader.readline()
        return Reply(status, headers, body)

    def head(self, path: str, length: int, content_type: str = "application/json") -> bytes:
        return (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {length}\r\nConnection: close\r\n\r\n"
        ).encode()

    async def one(self, work: str) -> None:
        try:
            outcome = await asyncio.wait_for(getattr(self, work)(), TIMEOUT)
        except Wrong as wrong:
            outcome = "wrong"
            self.problems[f"{work}: {wrong}"] += 1
        except TimeoutError:
            outcome = "wrong"
            self.problems[f"{work}: no end within {TIMEOUT} s"] += 1
        except (OSError, asyncio.IncompleteReadError, ValueError, IndexError) as error:
            outcome = "wrong"
            self.problems[f"{work}: {type(error).__name__}: {error}"] += 1
        self.outcomes[outcome] += 1

    async def honest(self) -> str:
        path, body = soak_requests.generation(self.random, self.model)
        reply = await self.send(self.head(path, len(body)), body)
        assert reply is not None
        self.statuses[reply.status] += 1
        if reply.status == 429:
            if "retry-after" not in reply.headers:
                raise Wrong("429 without Retry-After")
            return "refused"
        if reply.status != 200:
            raise Wrong(f"HTTP {reply.status}: {reply.body[:200]!r}")
        soak_requests.check_complete(reply.body, json.loads(body)["stream"])
        return "done"

    async def rude(self) -> str:
        path, body = soak_requests.generation(self.random, self.model)
        hangup = soak_requests.hangup(self.random, len(body))
        reply = await self.send(self.head(path, len(body)), body, hangup)
        if reply is None:
            return "hung up"
        self.statuses[reply.status] += 1
        if reply.status == 429:
            return "refused"
        return "done" if reply.status == 200 else "malformed"  # half a body may be read as malformed

    async def malformed(self) -> str:
        bad = soak_requests.malformed(self.random, self.model)
        head = bad.head or self.head(bad.path, len(bad.body), bad.content_type)
        reply = await self.send(head, bad.body)
        assert reply is not None
        self.statuses[reply.status] += 1
        if not 400 <= reply.status < 500:
            raise Wrong(f"{bad.name}: HTTP {reply.status}")
        return "malformed"

    async def get(self, path: str) -> str:
        head = f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n".encode()
        reply = await self.send(head, b"")
        assert reply is not None and reply.status == 200, path
        return reply.body.decode()

    async def metrics(self) -> dict[str, float]:
        values = {}
        for line in (await self.get("/metrics")).splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                values[name] = float(value)
        return values

    async def state(self) -> State:
        metrics = await self.metrics()

        def total(name: str) -> float:
            return sum(value for key, value in metrics.items() if key.partition("{")[0] == name)

        ended = {}
        for reason in ("stop", "length", "abort", "error"):
            label = f'finished_reason="{reason}"'
            ended[reason] = sum(v for k, v in metrics.items() if "request_success_total" in k and label in k)
        process = Path(f"/proc/{self.pid}")
        resident = next(s for s in (process / "status").read_text().splitlines() if s.startswith("VmRSS"))
        return State(
            running=total("vllm:num_requests_running"),
            waiting=total("vllm:num_requests_waiting"),
            kv_usage=total("vllm:kv_cache_usage_perc"),
            sinks=total("nereid:request_sinks"),
            refused=sum(v for k, v in metrics.items() if k.startswith("http_requests_total") and '"429"' in k),
            ended=ended,
            descriptors=len(list((process / "fd").iterdir())),
            memory_mib=int(resident.split()[1]) / 1024,
        )

    async def quiet_state(self, limit_s: float = 30) -> State:
        """Once nothing runs any more, and closed connections have been noticed."""
        deadline = time.monotonic() + limit_s
        fewest = None
        while time.monotonic() < deadline:
            await asyncio.sleep(0.5)
            now = await self.state()
            if now.running == 0 and now.waiting == 0 and now.descriptors == fewest:
                return now
            fewest = now.descriptors
        return await self.state()

    async def load(self, duration_s: float, concurrency: int, burst: int) -> None:
        end = time.monotonic() + duration_s

        async def client() -> None:
            while time.monotonic() < end:
                work = self.random.choices(["honest", "rude", "malformed"], [5, 3, 1])[0]
                await self.one(work)
                await asyncio.sleep(self.random.expovariate(50))

        async def bursts() -> None:
            pause = max(2.0, min(30.0, duration_s / 5))
            while time.monotonic() + pause < end:
                await asyncio.sleep(pause)
                works = self.random.choices(["honest", "rude"], [2, 1], k=burst)
                await asyncio.gather(*(self.one(work) for work in works))

        await asyncio.gather(bursts(), *(client() for _ in range(concurrency)))

    def compare(self, before: State, after: State) -> None:
        """Adds to the problems what is not as it was."""
        for name in ("running", "waiting", "sinks"):
            if getattr(after, name) != 0:
                self.problems[f"{name}: {getattr(after, name):g} after, expected none"] += 1
        if after.kv_usage > before.kv_usage + 1e-9:
            self.problems[f"KV cache: {before.kv_usage:.4f} in use before, {after.kv_usage:.4f} after"] += 1
        if after.descriptors > before.descriptors:
            self.problems[f"descriptors: {before.descriptors} before, {after.descriptors} after"] += 1

    def compare_memory(self, middle: State, after: State) -> None:
        """It may grow to what the load needs, which the first half shows, and no more."""
        if after.memory_mib > 1.1 * middle.memory_mib + 16:
            middle_mib, after_mib = round(middle.memory_mib), round(after.memory_mib)
            self.problems[f"memory: {middle_mib} MiB half-way, {after_mib} MiB after"] += 1

    def compare_ends(self, before: State, after: State) -> None:
        """Each accepted request is counted once by the server: what clients saw done, and what they left."""
        ended = {reason: after.ended[reason] - before.ended[reason] for reason in after.ended}
        total, done, left = sum(ended.values()), self.outcomes["done"], self.outcomes["hung up"]
        if ended["error"] > 0:
            self.problems[f"{ended['error']:g} requests ended with an error"] += 1
        if ended["stop"] + ended["length"] < done:
            self.problems[f"clients saw {done} requests done, the server {ended}"] += 1
        if not self.outcomes["wrong"] and not done <= total <= done + left:
            self.problems[f"{done} done and {left} hung up, but the server counts {ended}"] += 1
        refused, counted = self.outcomes["refused"], after.refused - before.refused
        if not refused <= counted <= refused + left:
            self.problems[f"{refused} refused and {left} hung up, but the server counts {counted:g}"] += 1


async def run(options: argparse.Namespace, url: str, pid: int) -> int:
    place = urlsplit(url)
    assert place.hostname and place.port, url
    soak = Soak(place.hostname, place.port, pid, random.Random(options.seed))
    soak.model = json.loads(await soak.get("/v1/models"))["data"][0]["id"]
    first = await soak.state()
    # What is allocated once, and threads that start when they are needed, do not count as leaks.
    warmup_s = max(3.0, options.duration / 10)
    await soak.load(warmup_s, options.concurrency, options.burst)
    before = await soak.quiet_state()
    half_s = (options.duration - warmup_s) / 2
    await soak.load(half_s, options.concurrency, options.burst)
    middle = await soak.quiet_state()
    await soak.load(half_s, options.concurrency, options.burst)
    after = await soak.quiet_state()
    soak.compare(before, after)
    soak.compare_memory(middle, after)
    soak.compare_ends(first, after)
    print(f"outcomes {dict(soak.outcomes)}, statuses {dict(sorted(soak.statuses.items()))}")
    print(f"before {before}\nmiddle {middle}\nafter  {after}")
    for problem, count in soak.problems.most_common():
        print(f"soak: {count} x {problem}", file=sys.stderr)
    return 1 if soak.problems else 0


def start(command: list[str]) -> tuple[subprocess.Popen[str], str]:
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("listening on "):
            return server, line.split()[2]
    sys.exit(f"soak: {command[0]} ended with {server.wait()} before it listened")


def stop(server: subprocess.Popen[str]) -> int:
    """A server ends cleanly when it is told to. The fake one ends with its standard input."""
    assert server.stdin is not None
    server.stdin.close()
    try:
        code = server.wait(timeout=3)
    except subprocess.TimeoutExpired:
        server.send_signal(signal.SIGTERM)
        code = server.wait(timeout=60)
    if code != 0:
        print(f"soak: the server ended with {code}", file=sys.stderr)
    return 1 if code != 0 else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--duration", type=float, default=600, help="seconds (default: %(default)s)")
    parser.add_argument("--concurrency", type=int, default=24, help="clients (default: %(default)s)")
    parser.add_argument("--burst", type=int, default=100, help="at once now and then (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--url", help="a server that runs already; needs --pid")
    parser.add_argument("--pid", type=int)
    parser.add_argument("command", nargs="*", help="starts a server that prints 'listening on URL'")
    options = parser.parse_args()
    if (options.url is None) != (options.pid is None) or (options.url and options.command):
        parser.error("either --url and --pid, or a command")
    if options.duration < 10:
        parser.error("--duration: at least 10")
    if options.url:
        return asyncio.run(run(options, options.url, options.pid))
    server, url = start(options.command or DEFAULT_COMMAND)
    try:
        code = asyncio.run(run(options, url, server.pid))
    except BaseException:
        server.kill()
        raise
    return code | stop(server)


if __name__ == "__main__":
    sys.exit(main())
