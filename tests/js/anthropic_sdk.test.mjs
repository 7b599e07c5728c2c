// Anthropic's own package: messages, their stream, the tool runner, counting.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';

import { MODEL, frees, has, key, url } from './glimt.mjs';

const settings = { baseURL: url, maxRetries: 0 };
const client = new Anthropic({ ...settings, apiKey: key });
const stranger = new Anthropic({ ...settings, apiKey: 'wrong' });
const QUESTION = [{ role: 'user', content: 'What is 12 + 7?' }];
const CITY = [{ role: 'user', content: 'What is the weather in Oslo?' }];
const plain = {
  model: MODEL,
  messages: QUESTION,
  max_tokens: 300,
  temperature: 0,
  thinking: { type: 'disabled' },
};
const weather = {
  name: 'get_weather',
  description: 'The weather in a city',
  input_schema: {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
  },
};
const thoughtful = { ...plain, max_tokens: 2000, thinking: { type: 'enabled', budget_tokens: 1024 } };

const text = (message) =>
  message.content
    .filter((block) => block.type === 'text')
    .map((block) => block.text)
    .join('');

test('an answer, and a stream that adds up to it', async () => {
  const whole = await client.messages.create(plain);
  assert.match(text(whole), /19/);
  assert.equal(whole.stop_reason, 'end_turn');
  assert.ok(whole.usage.input_tokens > 0 && whole.usage.output_tokens > 0);
  const stream = client.messages.stream(plain);
  const types = [];
  for await (const event of stream) types.push(event.type);
  assert.equal(types[0], 'message_start');
  assert.equal(types.at(-1), 'message_stop');
  const summed = await stream.finalMessage();
  assert.equal(text(summed), text(whole));
  assert.equal(summed.stop_reason, whole.stop_reason);
  assert.equal(summed.usage.output_tokens, whole.usage.output_tokens);
});

test('a thought is a signed block before the answer, and is taken back', async () => {
  for (const answer of [
    await client.messages.create(thoughtful),
    await client.messages.stream(thoughtful).finalMessage(),
  ]) {
    const [thought] = answer.content;
    assert.equal(thought.type, 'thinking');
    assert.ok(thought.thinking && thought.signature);
    const messages = [
      ...QUESTION,
      { role: 'assistant', content: answer.content },
      { role: 'user', content: 'What is 1 + 1?' },
    ];
    assert.ok(text(await client.messages.create({ ...thoughtful, messages })));
  }
});

test('a forced call, and its result', async () => {
  const ask = {
    ...plain,
    messages: CITY,
    tools: [weather],
    tool_choice: { type: 'tool', name: 'get_weather' },
  };
  const whole = await client.messages.create(ask);
  const summed = await client.messages.stream(ask).finalMessage();
  assert.equal(whole.stop_reason, 'tool_use');
  const call = whole.content.find((block) => block.type === 'tool_use');
  assert.equal(call.name, 'get_weather');
  assert.equal(typeof call.input.city, 'string');
  assert.deepEqual(summed.content.find((block) => block.type === 'tool_use').input, call.input);
  const messages = [
    ...CITY,
    { role: 'assistant', content: whole.content },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: 'clear' }] },
  ];
  const answer = await client.messages.create({ ...ask, messages, tool_choice: { type: 'none' } });
  assert.ok(text(answer));
});

test('tokens are counted as they are billed', async () => {
  const { input_tokens: counted } = await client.messages.countTokens({
    model: MODEL,
    messages: QUESTION,
    thinking: { type: 'disabled' },
  });
  const { usage } = await client.messages.create(plain);
  const read = usage.cache_read_input_tokens ?? 0;
  assert.equal(counted, usage.input_tokens + read + (usage.cache_creation_input_tokens ?? 0));
});

test('errors have their classes', async () => {
  const ask = (fields, who = client) => who.messages.create({ ...plain, ...fields });
  await assert.rejects(ask({}, stranger), (error) => {
    assert.ok(error instanceof Anthropic.AuthenticationError);
    return has({ status: 401 })(error);
  });
  await assert.rejects(ask({ model: 'gpt-9' }), Anthropic.NotFoundError);
  for (const stream of [false, true]) {
    await assert.rejects(ask({ temperature: 9, stream }), (error) => {
      assert.ok(error instanceof Anthropic.BadRequestError);
      assert.equal(error.error.error.type, 'invalid_request_error');
      return has({ message: /temperature/ })(error);
    });
  }
});

test('a reader that leaves frees the engine', async () => {
  await frees(async () => {
    const long = { ...plain, max_tokens: 5000, output_config: { format: LONG } };
    const stream = client.messages.stream({ ...long, messages: CITY });
    let seen = 0;
    for await (const event of stream) {
      if (event.type === 'content_block_delta') seen += 1;
      if (seen === 3) break;
    }
    assert.equal(seen, 3);
  });
});

const LONG = {
  type: 'json_schema',
  schema: {
    type: 'object',
    properties: {
      digits: { type: 'array', items: { type: 'integer', minimum: 0, maximum: 9 }, minItems: 2000 },
    },
    required: ['digits'],
  },
};
