"""The official OpenAI Python client, unmodified, against the real model: routes and parameters."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from conftest import NAME, RealServer

ASK = [{"role": "user", "content": "Say hello to Ada."}]
TOOL_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city",
            "parameters": TOOL_SCHEMA,
        },
    }
]
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def client(real_server: RealServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{real_server.address}/v1", api_key="none", max_retries=0, timeout=120)


def chat(client: openai.OpenAI, **parameters: Any) -> Any:
    defaults = {"model": NAME, "messages": ASK, "max_tokens": 16, "temperature": 0}
    return client.chat.completions.create(**(defaults | parameters))


def complete(client: openai.OpenAI, **parameters: Any) -> Any:
    defaults = {"model": NAME, "prompt": "The capital of France is", "max_tokens": 8, "temperature": 0}
    return client.completions.create(**(defaults | parameters))


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [NAME]
    assert client.models.retrieve(NAME).id == NAME


def test_completion_and_its_stream_say_the_same(client: openai.OpenAI) -> None:
    whole = complete(client)
    assert "Paris" in whole.choices[0].text
    assert whole.usage.completion_tokens == 8 and whole.choices[0].finish_reason == "length"
    chunks = list(complete(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].text for c in chunks if c.choices) == whole.choices[0].text
    assert chunks[-1].usage.completion_tokens == 8
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens


def test_completion_of_several_prompts_and_ids(client: openai.OpenAI) -> None:
    several = complete(client, prompt=["One, two,", "Red, green,"], n=2, seed=1)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    assert several.choices[0].text == several.choices[1].text  # greedy
    ids = complete(client, prompt=[504, 3575, 282, 4649, 314])
    assert ids.usage.prompt_tokens == 5
    both = complete(client, prompt=[[504, 3575], [504]])
    assert both.usage.prompt_tokens == 3


def test_completion_echo_and_logprobs(client: openai.OpenAI) -> None:
    result = complete(client, prompt="The sky is", echo=True, logprobs=2, max_tokens=3)
    choice = result.choices[0]
    assert choice.text.startswith("The sky is")
    logprobs = choice.logprobs
    assert "".join(logprobs.tokens) == choice.text
    assert logprobs.token_logprobs[0] is None
    assert all(value <= 0 for value in logprobs.token_logprobs[1:])
    assert len(logprobs.tokens) == result.usage.total_tokens
    for token, offset in zip(logprobs.tokens, logprobs.text_offset, strict=True):
        assert choice.text[offset:].startswith(token)
    assert all(len(top) >= 2 for top in logprobs.top_logprobs[1:])
    only = complete(client, prompt="The sky is", echo=True, logprobs=0, max_tokens=0)
    assert only.choices[0].text == "The sky is" and only.usage.completion_tokens == 0


def test_stop(client: openai.OpenAI) -> None:
    free = complete(client, prompt="1 2 3 4", max_tokens=24).choices[0].text
    word = free[8:11]
    for stream in (False, True):
        result = complete(client, prompt="1 2 3 4", max_tokens=24, stop=[word], stream=stream)
        chunks = list(result) if stream else [result]
        assert "".join(c.choices[0].text for c in chunks) == free[: free.index(word)]
        assert chunks[-1].choices[0].finish_reason == "stop"


def test_sampling_parameters(client: openai.OpenAI) -> None:
    sampling = {"temperature": 0.9, "top_p": 0.9, "seed": 7, "presence_penalty": 0.5, "frequency_penalty": 0.5}
    more = {"top_k": 40, "min_p": 0.02, "repetition_penalty": 1.1, "min_tokens": 4, "ignore_eos": True}
    first = chat(client, **sampling, extra_body=more)
    assert chat(client, **sampling, extra_body=more).choices[0].message.content == first.choices[0].message.content
    assert first.usage.completion_tokens == 16
    biased = chat(client, logit_bias={"28": 100}, max_tokens=4, extra_body={"ignore_eos": True})
    assert len(set(biased.choices[0].message.content)) == 1


def test_chat_with_logprobs(client: openai.OpenAI) -> None:
    result = chat(client, logprobs=True, top_logprobs=3, n=2)
    assert len(result.choices) == 2
    choice = result.choices[0]
    entries = choice.logprobs.content
    assert b"".join(bytes(entry.bytes) for entry in entries).decode() == choice.message.content
    assert all(len(entry.top_logprobs) == 3 for entry in entries)
    assert all(entry.logprob == entry.top_logprobs[0].logprob for entry in entries)  # greedy
    streamed = list(chat(client, logprobs=True, stream=True))
    names = [e.token for c in streamed if c.choices[0].logprobs for e in c.choices[0].logprobs.content]
    assert names == [entry.token for entry in entries]


def test_chat_stream(client: openai.OpenAI) -> None:
    whole = chat(client)
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens == whole.usage.total_tokens


def test_cached_tokens(client: openai.OpenAI) -> None:
    long = [{"role": "user", "content": "Once upon a time there was a king. " * 40}]
    chat(client, messages=long, max_tokens=1)
    usage = chat(client, messages=long, max_tokens=1).usage
    assert 0 < usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens


def test_json_schema(client: openai.OpenAI) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
    ask = [{"role": "user", "content": "Describe Ada, who is 36, as JSON."}]
    result = chat(client, messages=ask, response_format=form, max_tokens=100)
    assert set(json.loads(result.choices[0].message.content)) == {"name", "age"}
    anything = chat(client, messages=ask, response_format={"type": "json_object"}, max_tokens=200)
    if anything.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(anything.choices[0].message.content), dict)


def test_guided(client: openai.OpenAI) -> None:
    for extra, allowed in (
        ({"guided_choice": ["red", "green"]}, {"red", "green"}),
        ({"guided_regex": "(yes|no)!"}, {"yes!", "no!"}),
        ({"guided_grammar": 'start: "a" | "bc"'}, {"a", "bc"}),
        ({"structured_outputs": {"choice": ["x"]}}, {"x"}),
    ):
        result = chat(client, extra_body=extra)
        assert result.choices[0].message.content in allowed
        assert result.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_demanded_tool_call(client: openai.OpenAI, choice: Any, stream: bool) -> None:
    ask = [{"role": "user", "content": "What is the weather in Paris?"}]
    result = chat(
        client, messages=ask, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False, max_tokens=80, stream=stream
    )
    name = arguments = finish = ""
    if stream:
        for chunk in result:
            finish = chunk.choices[0].finish_reason or finish
            for call in chunk.choices[0].delta.tool_calls or []:
                name += call.function.name or ""
                arguments += call.function.arguments or ""
    else:
        finish = result.choices[0].finish_reason
        call = result.choices[0].message.tool_calls[0]
        name, arguments = call.function.name, call.function.arguments
        answer = [*ask, result.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
        assert chat(client, messages=answer, tools=TOOLS).choices[0].message.role == "assistant"
    assert (name, finish) == ("get_weather", "tool_calls")
    assert set(json.loads(arguments)) == {"city"}


def test_responses(client: openai.OpenAI) -> None:
    asked = {"model": NAME, "input": "Say hello to Ada.", "max_output_tokens": 12, "temperature": 0}
    whole = client.responses.create(**asked, instructions="Be brief.")
    assert whole.status in ("completed", "incomplete") and whole.output_text
    assert whole.usage.output_tokens <= 12 and whole.instructions == "Be brief."
    with client.responses.stream(**asked, instructions="Be brief.") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert text == whole.output_text
    more = client.responses.create(
        **asked | {"input": [{"role": "user", "content": "Hi"}, *whole.output, {"role": "user", "content": "Bye"}]}
    )
    assert more.output_text


def test_responses_schema_and_tools(client: openai.OpenAI) -> None:
    form = {"format": {"type": "json_schema", "name": "person", "schema": PERSON, "strict": True}}
    result = client.responses.create(model=NAME, input="Ada is 36.", text=form, max_output_tokens=100)
    assert set(json.loads(result.output_text)) == {"name", "age"}
    tool = {"type": "function", "name": "get_weather", "parameters": TOOL_SCHEMA, "strict": True}
    for stream in (False, True):
        asked = client.responses.create(
            model=NAME, input="Weather in Rome?", tools=[tool], tool_choice="required",
            parallel_tool_calls=False, max_output_tokens=80, stream=stream,
        )  # fmt: skip
        if stream:
            asked = list(asked)[-1].response
        call = asked.output[0]
        assert call.type == "function_call" and set(json.loads(call.arguments)) == {"city"}


def test_recursive_schema(client: openai.OpenAI) -> None:
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}}
    text = chat(client, extra_body={"guided_json": schema}).choices[0].message.content
    assert text.startswith("[")


@pytest.mark.parametrize(
    ("parameters", "status", "param"),
    [
        ({"model": "other"}, 404, "model"),
        ({"n": 1000}, 400, "n"),
        ({"temperature": -1}, 400, "temperature"),
        ({"max_tokens": 2048}, 400, "max_tokens"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "user", "content": "word " * 4000}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages[0].content[0].type"),
        ({"logit_bias": {"99999999": 1}}, 400, "logit_bias"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"$ref": "#/$defs/no"}}}],
          "tool_choice": "required"}, 400, "tools"),
        ({"extra_body": {"guided_regex": "(a"}}, 400, "guided_regex"),
        ({"extra_body": {"guided_grammar": "start: " + "(" * 60000}}, 400, "guided_grammar"),
        ({"extra_body": {"guided_grammar": "start: " + "(" * 20000}}, 400, "guided_grammar"),
        ({"extra_body": {"best_of": 5}}, 400, "best_of"),
    ],
)  # fmt: skip
def test_refused(client: openai.OpenAI, parameters: dict[str, Any], status: int, param: str) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        chat(client, **parameters)
    assert refused.value.status_code == status
    assert refused.value.body["param"] == param, refused.value.body
    assert chat(client, max_tokens=1).choices  # it lives
