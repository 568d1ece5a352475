// The official OpenAI client for Node.js, unmodified, against the real model: every route and parameter.
// Run by tests/server/test_node_client.py: node --test openai_client.mjs, with the server's address and the
// folder of the installed package in the environment.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

const { OpenAI } = createRequire(`${process.env.NODE_CLIENT}/`)("openai");
const address = process.env.NEREID_ADDRESS;
const model = process.env.NEREID_MODEL_NAME;
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: "none", maxRetries: 0, timeout: 120_000 });

const ask = [{ role: "user", content: "Say hello to Ada." }];
const toolSchema = {
  type: "object",
  properties: { city: { type: "string", maxLength: 20 } },
  required: ["city"],
  additionalProperties: false,
};
const tools = [
  { type: "function", function: { name: "get_weather", description: "The weather of a city", parameters: toolSchema } },
];
const person = {
  type: "object",
  properties: {
    name: { type: "string", maxLength: 12 },
    age: { type: "integer", minimum: 0, maximum: 150 },
  },
  required: ["name", "age"],
  additionalProperties: false,
};
const keys = (text) => Object.keys(JSON.parse(text)).sort();

const chat = (more) => client.chat.completions.create({ model, messages: ask, max_tokens: 16, temperature: 0, ...more });
const complete = (more) =>
  client.completions.create({ model, prompt: "The capital of France is", max_tokens: 8, temperature: 0, ...more });

async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

test("models", async () => {
  const names = (await all(client.models.list())).map((entry) => entry.id);
  assert.deepEqual(names, [model]);
  assert.equal((await client.models.retrieve(model)).id, model);
  await assert.rejects(client.models.retrieve("other"), { status: 404 });
});

test("completion and its stream say the same", async () => {
  const whole = await complete();
  assert.match(whole.choices[0].text, /Paris/);
  assert.equal(whole.usage.completion_tokens, 8);
  assert.equal(whole.choices[0].finish_reason, "length");
  const chunks = await all(await complete({ stream: true, stream_options: { include_usage: true } }));
  const text = chunks.map((chunk) => chunk.choices[0]?.text ?? "").join("");
  assert.equal(text, whole.choices[0].text);
  assert.deepEqual(chunks.at(-1).usage.prompt_tokens, whole.usage.prompt_tokens);
});

test("completions of several prompts, and of ids", async () => {
  const several = await complete({ prompt: ["One, two,", "Red, green,"], n: 2, seed: 1 });
  assert.deepEqual(several.choices.map((choice) => choice.index), [0, 1, 2, 3]);
  assert.equal(several.choices[0].text, several.choices[1].text); // greedy
  assert.equal((await complete({ prompt: [504, 3575, 282, 4649, 314] })).usage.prompt_tokens, 5);
  assert.equal((await complete({ prompt: [[504, 3575], [504]] })).usage.prompt_tokens, 3);
});

test("echo and logprobs", async () => {
  const result = await complete({ prompt: "The sky is", echo: true, logprobs: 2, max_tokens: 3 });
  const { text, logprobs } = result.choices[0];
  assert.ok(text.startsWith("The sky is"));
  assert.equal(logprobs.tokens.join(""), text);
  assert.equal(logprobs.token_logprobs[0], null);
  assert.ok(logprobs.token_logprobs.slice(1).every((value) => value <= 0));
  logprobs.tokens.forEach((token, index) => assert.ok(text.slice(logprobs.text_offset[index]).startsWith(token)));
  assert.ok(logprobs.top_logprobs.slice(1).every((top) => Object.keys(top).length >= 2));
});

test("stop", async () => {
  const free = (await complete({ prompt: "1 2 3 4", max_tokens: 24 })).choices[0].text;
  const word = free.slice(8, 11);
  const stopped = await complete({ prompt: "1 2 3 4", max_tokens: 24, stop: [word] });
  assert.equal(stopped.choices[0].text, free.slice(0, free.indexOf(word)));
  assert.equal(stopped.choices[0].finish_reason, "stop");
  const chunks = await all(await complete({ prompt: "1 2 3 4", max_tokens: 24, stop: word, stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), free.slice(0, free.indexOf(word)));
});

test("sampling parameters", async () => {
  const sampling = {
    temperature: 0.9, top_p: 0.9, seed: 7, presence_penalty: 0.5, frequency_penalty: 0.5,
    top_k: 40, min_p: 0.02, repetition_penalty: 1.1, min_tokens: 4, ignore_eos: true,
    stop_token_ids: [3], priority: 1, user: "ada", metadata: { a: "b" }, store: false, service_tier: "auto",
  };
  const first = await chat(sampling);
  const again = await chat(sampling);
  assert.equal(again.choices[0].message.content, first.choices[0].message.content);
  assert.equal(first.usage.completion_tokens, 16);
  const biased = await chat({ logit_bias: { 28: 100 }, max_tokens: 4, ignore_eos: true });
  assert.equal(new Set(biased.choices[0].message.content).size, 1);
});

test("chat with logprobs", async () => {
  const result = await chat({ logprobs: true, top_logprobs: 3, n: 2 });
  assert.equal(result.choices.length, 2);
  const { logprobs, message } = result.choices[0];
  const bytes = logprobs.content.flatMap((entry) => entry.bytes);
  assert.equal(Buffer.from(bytes).toString(), message.content);
  assert.ok(logprobs.content.every((entry) => entry.top_logprobs.length === 3));
  const chunks = await all(await chat({ logprobs: true, stream: true }));
  const names = chunks.flatMap((chunk) => chunk.choices[0].logprobs?.content ?? []).map((entry) => entry.token);
  assert.deepEqual(names, logprobs.content.map((entry) => entry.token));
});

test("chat stream", async () => {
  const whole = await chat({ max_completion_tokens: 16, max_tokens: undefined });
  const chunks = await all(await chat({ stream: true, stream_options: { include_usage: true } }));
  assert.equal(chunks[0].choices[0].delta.role, "assistant");
  const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(chunks.at(-1).usage.total_tokens, whole.usage.total_tokens);
  const helper = client.chat.completions.stream({ model, messages: ask, max_tokens: 16, temperature: 0 });
  assert.equal((await helper.finalMessage()).content, text);
});

test("a stream that is aborted", async () => {
  const stream = await chat({ stream: true, max_tokens: 1500, ignore_eos: true });
  let chunks = 0;
  for await (const chunk of stream) {
    assert.ok(chunk.id);
    if (++chunks === 3) break; // the client closes the connection
  }
  assert.equal((await chat({ max_tokens: 1 })).choices.length, 1);
});

test("roles and parts", async () => {
  const result = await chat({
    messages: [
      { role: "developer", content: "Be brief." },
      { role: "user", content: [{ type: "text", text: "Hi" }, { type: "text", text: " there" }] },
      { role: "assistant", content: "Hello" },
      { role: "user", content: "Bye", name: "ada" },
    ],
  });
  assert.equal(result.choices[0].message.role, "assistant");
});

test("JSON", async () => {
  const messages = [{ role: "user", content: "Describe Ada, who is 36, as JSON." }];
  const format = { type: "json_schema", json_schema: { name: "person", strict: true, schema: person } };
  const result = await chat({ messages, response_format: format, max_tokens: 100 });
  assert.deepEqual(keys(result.choices[0].message.content), ["age", "name"]);
  const parsed = await client.chat.completions.parse({
    model, messages, response_format: format, max_tokens: 100, temperature: 0,
  });
  assert.deepEqual(Object.keys(parsed.choices[0].message.parsed).sort(), ["age", "name"]);
  const chunks = await all(await chat({ messages, response_format: format, max_tokens: 100, stream: true }));
  assert.deepEqual(keys(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join("")), ["age", "name"]);
  const any = await chat({ messages, response_format: { type: "json_object" }, max_tokens: 200 });
  if (any.choices[0].finish_reason === "stop") JSON.parse(any.choices[0].message.content);
});

test("constraints by vLLM's names", async () => {
  const table = [
    [{ guided_choice: ["red", "green"] }, /^(red|green)$/],
    [{ guided_regex: "(yes|no)!" }, /^(yes|no)!$/],
    [{ guided_grammar: 'start: "a" | "bc"' }, /^(a|bc)$/],
    [{ guided_json: { const: 7 } }, /^7$/],
    [{ structured_outputs: { choice: ["x"] } }, /^x$/],
  ];
  for (const [more, expected] of table) {
    const { choices } = await chat(more);
    assert.match(choices[0].message.content, expected);
    assert.equal(choices[0].finish_reason, "stop");
  }
});

for (const choice of ["required", { type: "function", function: { name: "get_weather" } }]) {
  const demanded = {
    messages: [{ role: "user", content: "What is the weather in Paris?" }],
    tools, tool_choice: choice, parallel_tool_calls: false, max_tokens: 80,
  };
  test(`tool call, ${typeof choice === "string" ? choice : "named"}`, async () => {
    const { choices } = await chat(demanded);
    assert.equal(choices[0].finish_reason, "tool_calls");
    const call = choices[0].message.tool_calls[0];
    assert.equal(call.function.name, "get_weather");
    assert.deepEqual(keys(call.function.arguments), ["city"]);
    const answered = [...demanded.messages, choices[0].message, { role: "tool", tool_call_id: call.id, content: "sunny" }];
    assert.equal((await chat({ messages: answered, tools })).choices[0].message.role, "assistant");
  });
  test(`streamed tool call, ${typeof choice === "string" ? choice : "named"}`, async () => {
    const helper = client.chat.completions.stream({ model, temperature: 0, ...demanded });
    const { choices } = await helper.finalChatCompletion();
    assert.equal(choices[0].finish_reason, "tool_calls");
    assert.equal(choices[0].message.tool_calls[0].function.name, "get_weather");
    assert.deepEqual(keys(choices[0].message.tool_calls[0].function.arguments), ["city"]);
  });
}

test("tools that are not to be called", async () => {
  const { choices } = await chat({ tools, tool_choice: "none" });
  assert.equal(choices[0].message.tool_calls, undefined);
});

test("responses", async () => {
  const asked = { model, input: "Say hello to Ada.", instructions: "Be brief.", max_output_tokens: 12, temperature: 0 };
  const whole = await client.responses.create(asked);
  assert.ok(["completed", "incomplete"].includes(whole.status) && whole.output_text);
  assert.ok(whole.usage.output_tokens <= 12);
  const events = await all(await client.responses.create({ ...asked, stream: true }));
  assert.equal(events[0].type, "response.created");
  const deltas = events.filter((event) => event.type === "response.output_text.delta");
  assert.equal(deltas.map((event) => event.delta).join(""), whole.output_text);
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, index) => index));
  const helper = await client.responses.stream(asked).finalResponse();
  assert.equal(helper.output_text, whole.output_text);
  const more = await client.responses.create({
    ...asked, input: [{ role: "user", content: "Hi" }, ...whole.output, { role: "user", content: "Bye" }],
  });
  assert.ok(more.output_text);
});

test("responses with a schema and tools", async () => {
  const text = { format: { type: "json_schema", name: "person", schema: person, strict: true } };
  const result = await client.responses.create({ model, input: "Ada is 36.", text, max_output_tokens: 100 });
  assert.deepEqual(keys(result.output_text), ["age", "name"]);
  const tool = { type: "function", name: "get_weather", parameters: toolSchema, strict: true };
  const asked = {
    model, input: "Weather in Rome?", tools: [tool], tool_choice: "required",
    parallel_tool_calls: false, max_output_tokens: 80, temperature: 0,
  };
  const whole = await client.responses.create(asked);
  const streamed = (await all(await client.responses.create({ ...asked, stream: true }))).at(-1).response;
  for (const { output } of [whole, streamed]) {
    assert.equal(output[0].type, "function_call");
    assert.deepEqual(keys(output[0].arguments), ["city"]);
  }
  const input = [
    { role: "user", content: "Weather in Rome?" },
    ...whole.output,
    { type: "function_call_output", call_id: whole.output[0].call_id, output: "sunny" },
  ];
  assert.ok((await client.responses.create({ model, input, max_output_tokens: 8 })).output.length > 0);
});

test("routes beside OpenAI's", async () => {
  const tokens = await client.post("/../tokenize", { body: { prompt: "hello" } });
  assert.equal(tokens.count, tokens.tokens.length);
  const text = await client.post("/../detokenize", { body: { tokens: tokens.tokens } });
  assert.equal(text.prompt, "hello");
  for (const path of ["health", "ready", "version", "openapi.json"]) assert.ok(await client.get(`/../${path}`));
  const { data, response } = await client.models.list().withResponse();
  assert.equal(data.data[0].id, model);
  assert.match(response.headers.get("x-request-id"), /^req-/);
});

test("errors", async () => {
  const table = [
    [{ model: "other" }, 404, "model"],
    [{ n: 1000 }, 400, "n"],
    [{ temperature: -1 }, 400, "temperature"],
    [{ messages: [] }, 400, "messages"],
    [{ logit_bias: { 99999999: 1 } }, 400, "logit_bias"],
    [{ guided_regex: "(a" }, 400, "guided_regex"],
    [{ what_is_this: 1 }, 400, "what_is_this"],
  ];
  for (const [more, status, param] of table) {
    await assert.rejects(chat(more), (error) => error.status === status && error.param === param, param);
    await assert.rejects(chat({ ...more, stream: true }), { status, param });
  }
});
