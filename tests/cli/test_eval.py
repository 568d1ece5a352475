"""nereid eval: log-probabilities that agree with what run does, JSON lines, perplexity."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from conftest import Nereid


def lines(*objects: object) -> str:
    return "".join(json.dumps(item) + "\n" for item in objects)


def test_three_kinds_of_input(nereid: Nereid, default_model: Path, device) -> None:
    requests = [
        {"id": "a", "prompt": "The sky is blue"},
        {"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": True},
        {"token_ids": [10, 20, 30]},
    ]
    done = nereid("eval", "--input", "-", "--top-logprobs", "5", *device, stdin=lines(*requests))
    answers = done.json_lines()
    assert len(answers) == 3
    assert answers[0]["id"] == "a"
    assert answers[2]["token_ids"] == [10, 20, 30]
    for answer in answers:
        count = len(answer["token_ids"])
        assert len(answer["logprobs"]) == len(answer["top_logprobs"]) == count
        assert answer["logprobs"][0] is None
        assert all(-100 < value <= 0 for value in answer["logprobs"][1:])
        for best in answer["top_logprobs"]:
            values = [logprob for _, logprob in best]
            assert len(best) == 5 and values == sorted(values, reverse=True)
            assert sum(map(math.exp, values)) <= 1.0001


def test_logprobs_are_those_of_top_logprobs(nereid: Nereid, default_model, device) -> None:
    """Where a token is among the likeliest after its predecessor, both places agree."""
    request = lines({"prompt": "One, two, three, four, five, six, seven"})
    done = nereid("eval", "--input", "-", "--top-logprobs", "20", *device, stdin=request)
    answer = done.json_lines()[0]
    compared = 0
    for position in range(1, len(answer["token_ids"])):
        best = dict(map(tuple, answer["top_logprobs"][position - 1]))
        token = answer["token_ids"][position]
        if token in best:
            assert best[token] == pytest.approx(answer["logprobs"][position], abs=1e-3)
            compared += 1
    assert compared >= 5


def test_greedy_reply_is_the_top_logprob(nereid: Nereid, default_model, device) -> None:
    flags = ["--dtype", "f32", *device]
    answer = nereid("run", "Name three colours.", "-n", "12", "--json", *flags).json()
    ids = answer["prompt_token_ids"] + answer["token_ids"]
    scored = nereid(
        "eval", "--input", "-", "--top-logprobs", "1", *flags, stdin=lines({"token_ids": ids})
    ).json_lines()[0]
    prompt_length = len(answer["prompt_token_ids"])
    likeliest = [best[0][0] for best in scored["top_logprobs"]]
    assert likeliest[prompt_length - 1 : -1] == answer["token_ids"]


def test_perplexity(nereid: Nereid, default_model, device, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog. " * 30)
    result = nereid("eval", "--perplexity", text, "--window", "128", *device).json()
    assert result["tokens"] > 250
    assert result["scored_tokens"] == result["tokens"] - 1
    assert result["perplexity"] == pytest.approx(math.exp(result["mean_negative_logprob"]))
    assert 1 < result["perplexity"] < 5  # the same sentence over and over


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{}", "-:1"),
        ("\n{", "-:2"),
        ('{"prompt": 5}', "prompt"),
        ('{"token_ids": [1.5]}', "token_ids[0]"),
        ('{"token_ids": [99999999]}', "99999999"),
        ('{"token_ids": []}', "-:1"),
        ('{"prompt": "a", "token_ids": [1]}', "-:1"),
    ],
)
def test_broken_requests(nereid: Nereid, default_model, device, text: str, word: str) -> None:
    assert word in nereid("eval", "--input", "-", *device, stdin=text).error()


def test_missing_input(nereid: Nereid, default_model) -> None:
    assert "/no/such.jsonl" in nereid("eval", "--input", "/no/such.jsonl").error()
