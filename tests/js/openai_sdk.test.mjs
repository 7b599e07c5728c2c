// OpenAI's own package: chat completions, its helpers on top of them, and the list of models.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { MODEL, frees, has, key, url } from './glimt.mjs';

const settings = { baseURL: `${url}/v1`, maxRetries: 0 };
const client = new OpenAI({ ...settings, apiKey: key });
const stranger = new OpenAI({ ...settings, apiKey: 'wrong' });
const QUESTION = [{ role: 'user', content: 'What is 12 + 7?' }];
const CITY = [{ role: 'user', content: 'What is the weather in Oslo?' }];
const SUM = z.object({ sum: z.number().int().min(0).max(99) });
const plain = {
  model: MODEL,
  messages: QUESTION,
  temperature: 0,
  thinking: { type: 'disabled' },
};
const weather = {
  name: 'get_weather',
  description: 'The weather in a city',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  },
};
const tools = [{ type: 'function', function: weather }];
const forced = { type: 'function', function: { name: 'get_weather' } };

function checkUsage(usage) {
  assert.ok(usage.prompt_tokens > 0 && usage.completion_tokens > 0);
  assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
  assert.ok(usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens);
  assert.ok(usage.completion_tokens_details.reasoning_tokens <= usage.completion_tokens);
}

test('an answer, and a stream that adds up to it', async () => {
  const whole = await client.chat.completions.create(plain);
  assert.match(whole.choices[0].message.content, /19/);
  checkUsage(whole.usage);
  const runner = client.chat.completions.stream({
    ...plain,
    stream_options: { include_usage: true },
  });
  const summed = await runner.finalChatCompletion();
  assert.equal(summed.choices[0].message.content, whole.choices[0].message.content);
  assert.equal(summed.choices[0].finish_reason, whole.choices[0].finish_reason);
  assert.equal(summed.usage.completion_tokens, whole.usage.completion_tokens);
});

test('a thought is apart from the answer, and billed', async () => {
  const answer = await client.chat.completions.create({
    ...plain,
    thinking: undefined,
    reasoning_effort: 'high',
    max_completion_tokens: 200,
  });
  assert.ok(answer.choices[0].message.reasoning_content);
  assert.ok(answer.usage.completion_tokens_details.reasoning_tokens > 0);
});

test('a forced call, whole and streamed', async () => {
  const ask = { ...plain, messages: CITY, tools, tool_choice: forced };
  const whole = await client.chat.completions.create(ask);
  const [call] = whole.choices[0].message.tool_calls;
  assert.equal(call.function.name, 'get_weather');
  assert.equal(typeof JSON.parse(call.function.arguments).city, 'string');
  const summed = await client.chat.completions.stream(ask).finalChatCompletion();
  assert.equal(
    summed.choices[0].message.tool_calls[0].function.arguments,
    call.function.arguments,
  );
});

test('the tool runner goes round until there is an answer', async () => {
  const asked = [];
  const runner = client.chat.completions.runTools({
    ...plain,
    messages: CITY,
    tool_choice: forced,
    tools: [
      {
        type: 'function',
        function: {
          ...weather,
          parse: JSON.parse,
          function: ({ city }) => {
            asked.push(city);
            return '{"sky": "clear"}';
          },
        },
      },
    ],
  });
  await runner.done();
  assert.equal(asked.length, 1);
  const roles = runner.messages.map((message) => message.role);
  assert.deepEqual(roles.slice(0, 3), ['user', 'assistant', 'tool']);
});

test('a result is taken back and answered', async () => {
  const ask = { ...plain, messages: CITY, tools };
  const called = await client.chat.completions.create({ ...ask, tool_choice: 'required' });
  const { message } = called.choices[0];
  const result = { role: 'tool', tool_call_id: message.tool_calls[0].id, content: 'clear' };
  const messages = [...CITY, message, result];
  const answer = await client.chat.completions.create({ ...ask, messages, tool_choice: 'none' });
  assert.ok(answer.choices[0].message.content);
});

test('a parsed answer is of its schema', async () => {
  const answer = await client.chat.completions.parse({
    ...plain,
    response_format: zodResponseFormat(SUM, 'sum'),
  });
  const { parsed } = answer.choices[0].message;
  assert.deepEqual(SUM.parse(parsed), parsed);
});

test('what was asked before is cached', async () => {
  const content = `Count these words: ${`${Math.random()} red green blue `.repeat(20)}`;
  const ask = { ...plain, messages: [{ role: 'user', content }], max_tokens: 1 };
  await client.chat.completions.create(ask);
  const { usage } = await client.chat.completions.create(ask);
  assert.ok(usage.prompt_tokens_details.cached_tokens >= 64);
});

test('errors have their classes', async () => {
  const ask = (fields, who = client) => who.chat.completions.create({ ...plain, ...fields });
  await assert.rejects(ask({}, stranger), (error) => {
    assert.ok(error instanceof OpenAI.AuthenticationError);
    return has({ status: 401, code: 'invalid_api_key' })(error);
  });
  await assert.rejects(ask({ model: 'gpt-9' }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    return has({ status: 404, code: 'model_not_found' })(error);
  });
  for (const stream of [false, true]) {
    await assert.rejects(ask({ temperature: 9, stream }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      return has({ status: 400, param: 'temperature' })(error);
    });
  }
});

test('a stream that breaks off half-way is an error', async () => {
  const endless = { ignore_eos: true, max_tokens: 5000, deadline_s: 0.5, stream: true };
  const stream = await client.chat.completions.create({ ...plain, ...endless });
  await assert.rejects(drained(stream), has({ message: /0\.5 s/ }));
});

test('a reader that leaves frees the engine', async () => {
  await frees(async () => {
    const endless = { ignore_eos: true, max_tokens: 5000, stream: true };
    const stream = await client.chat.completions.create({ ...plain, ...endless });
    let seen = 0;
    for await (const _ of stream) {
      seen += 1;
      if (seen === 3) break;
    }
    assert.equal(seen, 3);
  });
});

test('models are listed and can be asked for', async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes(MODEL));
  assert.equal((await client.models.retrieve(MODEL)).id, MODEL);
  await assert.rejects(client.models.retrieve('nobody'), OpenAI.NotFoundError);
});

async function drained(stream) {
  for await (const _ of stream);
}
