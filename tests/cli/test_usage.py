"""Help, wrong usage, and errors that need no model."""

from __future__ import annotations

import subprocess

import pytest
from conftest import Nereid

COMMANDS = ["run", "chat", "eval", "bench", "bench-serve", "inspect", "devices", "compile"]
# Flags that the help of a command must explain.
FLAGS = {
    "run": "--model --device --dtype --threads --max-model-len --kv-cache-memory --memory-utilization --pack --trace --messages --raw --json --system "
    "--temperature --top-k --top-p --min-p --seed --max-tokens --repetition-penalty --logit-bias",
    "chat": "--model --system --temperature --seed --max-tokens",
    "eval": "--input --top-logprobs --perplexity --model --dtype token_ids messages logprobs",
    "bench": "--prefill --decode --context --batch --json --threads",
    "bench-serve": "--url --endpoint --model --concurrency --request-rate --num-requests --duration --goodput --json",
    "inspect": "--json --tensors --model",
    "devices": "--json",
    "compile": "MODEL --target --out --dtype",
}


def test_help(nereid: Nereid) -> None:
    done = nereid("--help")
    assert done.code == 0
    assert all(command in done.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_command(nereid: Nereid, command: str) -> None:
    done = nereid(command, "--help")
    assert done.code == 0
    missing = [flag for flag in FLAGS[command].split() if flag not in done.out]
    assert not missing, f"{command} --help does not name {missing}"


def test_version(nereid: Nereid) -> None:
    done = nereid("--version")
    assert done.code == 0
    assert done.out.startswith("nereid ")


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["swim"],
        ["run"],
        ["run", "x", "--colour"],
        ["run", "x", "--dtype", "int3"],
        ["run", "x", "--threads", "many"],
        ["run", "x", "--max-tokens", "-1"],
        ["run", "x", "--temperature", "warm"],
        ["run", "x", "y"],
        ["eval"],
        ["eval", "--input", "f", "--top-logprobs", "1000"],
        ["eval", "--input", "f", "--window", "8"],
        ["eval", "--input", "f", "--stride", "4"],
        ["eval", "--perplexity", "f", "--top-logprobs", "2"],
        ["bench", "--batch", "0"],
        ["compile", "a", "b"],
        ["compile", "a", "--max-model-len", "64"],
        ["compile", "a", "--threads", "1"],
    ],
)
def test_wrong_usage(nereid: Nereid, args: list[str]) -> None:
    assert nereid(*args).error(code=2)


def test_missing_model(nereid: Nereid) -> None:
    assert "/no/such/model.gguf" in nereid("run", "x", "-m", "/no/such/model.gguf").error()
    from_environment = nereid("run", "x", env={"NEREID_MODEL": "/no/such/other.gguf"})
    assert "/no/such/other.gguf" in from_environment.error()


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--temperature", "-1", "0 to 100"),
        ("--temperature", "nan", "0 to 100"),
        ("--top-p", "1.5", "more than 0 and at most 1"),
        ("--top-k", "-3", "at least 0"),
        ("--top-k", "99999999999", "a whole number from 0 to 2147483647"),
        ("--min-p", "2", "0 to 1"),
        ("--repetition-penalty", "0", "0.01 to 100"),
        ("--logit-bias", "x:1", "ID:VALUE"),
        ("--seed", "-1", "a whole number from 0 to 18446744073709551615"),
        ("--seed", "18446744073709551616", "a whole number from 0 to 18446744073709551615"),
        ("--max-tokens", "0", "at least 1"),
        ("--max-tokens", "1e18", "a whole number from 1 to 2147483647"),
        ("--max-model-len", "99999999999", "a whole number from 0 to 2147483647"),
        ("--kv-cache-memory", "8 gallons", "bytes such as 8589934592 or 8GiB"),
        ("--kv-cache-memory", "0", "bytes such as 8589934592 or 8GiB"),
        ("--memory-utilization", "1.1", "a number from 0.01 to 1"),
        ("--memory-utilization", "0", "a number from 0.01 to 1"),
    ],
)
def test_values_out_of_range(nereid: Nereid, flag: str, value: str, expected: str) -> None:
    message = nereid("run", "x", flag, value).error(code=2)
    assert message.startswith(f"{flag}: found ") and value in message
    assert f"expected {expected}" in message


@pytest.mark.parametrize("flags", [["--logit-bias", "99999999:1"], ["--device", "abacus"]])
def test_values_that_this_model_or_machine_lacks(nereid: Nereid, tiny_model, flags: list[str]) -> None:
    message = nereid("run", "x", "--raw", "-m", tiny_model, *flags).error()
    assert flags[1].removesuffix(":1") in message


@pytest.mark.parametrize(
    "command",
    [["run", "x", "--raw"], ["bench", "--prefill", "8", "--decode", "8"], ["eval", "--perplexity", "/dev/null"]],
)
def test_too_little_memory_is_an_account(nereid: Nereid, tiny_model, command: list[str]) -> None:
    message = nereid(*command, "-m", tiny_model, "--device", "null:1MiB").error()
    assert "out of memory" in message and "of the 1.0 MiB free" in message
    assert all(part in message for part in ("weights ", "activations ", "KV cache ", "--"))


def test_help_on_a_full_disk(nereid: Nereid) -> None:
    with open("/dev/full", "wb") as full:  # written to, never replaced
        process = nereid.popen("--help", stdout=full, stderr=subprocess.PIPE)
        error = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert error == b"nereid: error: cannot write the output: No space left on device\n"


def test_devices(nereid: Nereid) -> None:
    devices = {entry["device"]: entry for entry in nereid("devices", "--json").json()}
    assert devices["cpu"]["workers"] >= 1
    assert devices["cpu"]["memory_bytes"] > devices["cpu"]["free_bytes"] > 0
    assert all(target.startswith("cpu:") for target in devices["cpu"]["targets"])
    assert "cpu" in nereid("devices").out
