"""nereid run on real models: text, JSON, conversations, sampling, stopping."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Nereid

QUESTION = "What is the capital of Japan?"


def test_default_model_answers(nereid: Nereid, default_model: Path, device: list[str]) -> None:
    done = nereid("run", QUESTION, "-n", "24", *device)
    assert done.code == 0, done.err
    assert "Tokyo" in done.out
    assert done.out.endswith("\n")


def test_json_and_text_agree(nereid: Nereid, default_model: Path, device: list[str]) -> None:
    flags = ["-n", "16", "-m", str(default_model), *device]
    answer = nereid("run", QUESTION, "--json", *flags).json()
    text = nereid("run", QUESTION, *flags).out
    assert set(answer) == {"model", "prompt_token_ids", "token_ids", "text", "stop", "timings"}
    assert answer["text"].rstrip("\n") == text.rstrip("\n")
    assert 0 < len(answer["token_ids"]) <= 16
    assert answer["stop"] in {"eos", "length"}
    assert answer["timings"]["load_seconds"] > 0
    assert answer["timings"]["prefill_tokens_per_second"] > 0
    assert answer["timings"]["decode_tokens_per_second"] > 0


def test_messages_give_the_same_as_a_prompt(nereid: Nereid, default_model, device, tmp_path) -> None:
    file = tmp_path / "talk.json"
    file.write_text(json.dumps([{"role": "user", "content": QUESTION}]))
    flags = ["--json", "-n", "8", *device]
    by_file = nereid("run", "--messages", file, *flags).json()
    by_prompt = nereid("run", QUESTION, *flags).json()
    raw = nereid("run", QUESTION, "--raw", *flags).json()
    assert by_file["prompt_token_ids"] == by_prompt["prompt_token_ids"]
    assert by_file["token_ids"] == by_prompt["token_ids"]
    assert len(raw["prompt_token_ids"]) < len(by_prompt["prompt_token_ids"])


def test_prompt_from_standard_input(nereid: Nereid, default_model, device) -> None:
    flags = ["--json", "-n", "4", *device]
    assert (
        nereid("run", "-", *flags, stdin=QUESTION).json()["prompt_token_ids"]
        == nereid("run", QUESTION, *flags).json()["prompt_token_ids"]
    )


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "talk.json"),
        ("{", "talk.json"),
        ("[]", "at least one message"),
        ('{"a": 1}', "messages"),
        ('[{"content": "x"}]', "role"),
        ('[{"role": 1}]', "role"),
        ("[" * 10000, "talk.json"),
        ('[{"role": "user", "role": "user", "content": "x"}]', "role"),
    ],
)
def test_broken_conversation(nereid: Nereid, default_model, tmp_path, text: str, word: str) -> None:
    file = tmp_path / "talk.json"
    file.write_text(text)
    assert word in nereid("run", "--messages", file).error()


BAD_BYTE = "caf\udce9"  # becomes the byte e9, which is not UTF-8


def test_text_that_is_not_utf8(nereid: Nereid, default_model: Path, device: list[str]) -> None:
    prompt = nereid("run", BAD_BYTE, *device).error()
    assert "prompt" in prompt and "UTF-8" in prompt and "byte 3" in prompt
    raw = nereid("run", BAD_BYTE, "--raw", *device).error()
    assert "UTF-8" in raw and "byte 3" in raw
    for command in (["run", "x"], ["chat"]):
        system = nereid(*command, "--system", BAD_BYTE, *device).error()
        assert "system message" in system and "UTF-8" in system and "byte 3" in system


def test_seed_reproduces(nereid: Nereid, default_model, device) -> None:
    def ids(seed: int) -> list[int]:
        flags = ["--temperature", "1.2", "--seed", str(seed), "-n", "16", "--ignore-eos", "--json"]
        return nereid("run", "Tell me a story.", *flags, *device).json()["token_ids"]

    first = ids(1)
    assert ids(1) == first
    assert any(ids(seed) != first for seed in (2, 3))


def test_logit_bias_forbids_a_token(nereid: Nereid, default_model, device) -> None:
    flags = ["--json", "-n", "1", *device]
    best = nereid("run", QUESTION, *flags).json()["token_ids"][0]
    other = nereid("run", QUESTION, *flags, "--logit-bias", f"{best}:-100").json()["token_ids"]
    assert other[0] != best


def test_ignore_eos_goes_on(nereid: Nereid, default_model, device) -> None:
    answer = nereid("run", "Say hi.", "--ignore-eos", "-n", "100", "--json", *device).json()
    assert len(answer["token_ids"]) == 100
    assert answer["stop"] == "length"


def test_prompt_longer_than_the_context(nereid: Nereid, default_model, device) -> None:
    message = nereid("run", "word " * 300, "--max-model-len", "128", *device).error()
    assert "127" in message and "--max-model-len" in message


def test_empty_raw_prompt_is_an_error(nereid: Nereid, default_model, device) -> None:
    """The default model puts no BOS before a text, so nothing is left to continue."""
    message = nereid("run", "", "--raw", "-n", "1", *device).error()
    assert message == "prompt: found no tokens, expected at least one"


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_dtypes(nereid: Nereid, default_model, device, dtype: str) -> None:
    assert "Tokyo" in nereid("run", QUESTION, "-n", "16", "--dtype", dtype, *device).out


def test_threads_do_not_change_the_answer(nereid: Nereid, default_model, device) -> None:
    answers = {nereid("run", QUESTION, "-n", "16", "--threads", n, *device).out for n in "12"}
    assert len(answers) == 1


def test_broken_pipe_is_quiet(nereid: Nereid, default_model, device) -> None:
    process = nereid.popen(
        "run", "Tell me a long story.", "-n", "400", *device,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(4)
    process.stdout.close()
    started = time.monotonic()
    assert process.wait(60) == 0
    assert time.monotonic() - started < 5
    assert process.stderr.read() == b""


def test_full_standard_output(nereid: Nereid, default_model, device) -> None:
    with open("/dev/full", "wb") as full:
        process = nereid.popen("run", "Hi", "-n", "4", *device, stdout=full, stderr=subprocess.PIPE)
        error = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert b"No space left" in error


def test_text_streams_and_control_c_stops(nereid: Nereid, default_model, device) -> None:
    process = nereid.popen(
        "run", "Tell me a long story.", "-n", "3000", "--ignore-eos", *device,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    first = os.read(process.stdout.fileno(), 1000)
    assert 0 < len(first) < 1000, "the reply came as a whole, not token by token"
    process.send_signal(signal.SIGINT)
    rest, error = process.communicate(timeout=30)
    assert process.returncode == 130, error
    assert (first + rest).endswith(b"\n")
    assert error == b""
