// What has to hold of every language model of the AI SDK, whichever protocol is behind it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';

import { MODEL, frees } from './glimt.mjs';

export const QUESTION = 'What is 12 + 7?';
const CITY = 'What is the weather in Oslo?';
const SUM = z.object({ sum: z.number().int().min(0).max(99) });
const LINES = Array.from({ length: 60 }, (_, i) => `line_${i}`);
/** A document that takes a while, and of which there are pieces early on, also as a call. */
const LONG = {
  type: 'object',
  properties: Object.fromEntries(LINES.map((name) => [name, { type: 'string', minLength: 60 }])),
  required: LINES,
  additionalProperties: false,
};
const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

/** The parts of a bill, wherever the generation has them. */
export const cached = (usage) => usage.inputTokenDetails?.cacheReadTokens ?? usage.cachedInputTokens;
export const thought = (usage) =>
  usage.outputTokenDetails?.reasoningTokens ?? usage.reasoningTokens ?? 0;

export function checkUsage(usage) {
  assert.ok(usage.inputTokens > 0);
  assert.ok(usage.outputTokens > 0);
  assert.equal(usage.totalTokens, usage.inputTokens + usage.outputTokens);
  assert.ok(cached(usage) >= 0 && cached(usage) < usage.inputTokens);
  assert.ok(thought(usage) <= usage.outputTokens);
}

/** Everything that a stream says, in order. */
export async function parts(stream) {
  const all = [];
  for await (const part of stream) all.push(part);
  return all;
}

/**
 * Register the tests.
 *
 * ai: one generation of the SDK. model, stranger: a model by its name, with the key and with another
 * one. off, on: settings for no thought and for some. raises: checks that an error is of the class
 * that the SDK has for a bad "key", "model" or "input". shown: whether the provider shows thoughts.
 * least: the lowest limit of tokens that the format has. stops: whether the provider sends stop
 * sequences. free: whether it has JSON without a schema. fixed: what makes an answer the same each time.
 */
export function laws({
  ai,
  model,
  stranger,
  off,
  on,
  raises,
  shown = true,
  least = 1,
  stops = true,
  free = true,
  fixed = { temperature: 0 },
}) {
  const { generateText, streamText, tool } = ai;
  const plain = { model: model(MODEL), maxRetries: 0, ...fixed, ...off };
  const thinking = { ...plain, ...on, maxOutputTokens: 200 };
  const weather = (execute) =>
    tool({
      description: 'The weather in a city',
      inputSchema: z.object({ city: z.string() }),
      ...(execute ? { execute } : {}),
    });
  const forced = { toolChoice: { type: 'tool', toolName: 'get_weather' }, prompt: CITY };

  test('an answer is text, has an end and a bill, and names whoever gave it', async () => {
    const answer = await generateText({ ...plain, prompt: QUESTION });
    assert.match(answer.text, /19/);
    assert.equal(answer.finishReason, 'stop');
    assert.ok(answer.response.id);
    checkUsage(answer.usage);
    assert.equal(answer.reasoningText ?? '', '');
  });

  test('a stream says the same, piece by piece', async () => {
    const whole = await generateText({ ...plain, prompt: QUESTION });
    const stream = streamText({ ...plain, prompt: QUESTION });
    const all = await parts(stream.fullStream);
    assert.deepEqual(all.filter((part) => part.type === 'error'), []);
    assert.ok(all.filter((part) => part.type === 'text-delta').length > 1);
    assert.equal(await stream.text, whole.text);
    assert.equal(await stream.finishReason, whole.finishReason);
    assert.equal((await stream.response).modelId, MODEL);
    const usage = await stream.usage;
    checkUsage(usage);
    assert.equal(usage.outputTokens, whole.usage.outputTokens);
  });

  test('a system message, earlier turns and settings are understood', async () => {
    const limit = Math.max(3, least);
    const answer = await generateText({
      ...plain,
      ...(limit > 3 ? on : {}), // A thought is longer.
      messages: [
        { role: 'user', content: 'My name is Ada.' },
        { role: 'assistant', content: 'Hello Ada.' },
        { role: 'user', content: QUESTION },
      ],
      temperature: 0.5,
      topP: 0.9,
      maxOutputTokens: limit,
    });
    assert.equal(answer.finishReason, 'length');
    assert.equal(answer.usage.outputTokens, limit);
  });

  const withStops = stops ? test : () => {};
  withStops('a stop sequence ends the answer and is no part of it', async () => {
    const whole = await generateText({ ...plain, prompt: QUESTION });
    const cut = await generateText({ ...plain, prompt: QUESTION, stopSequences: ['9'] });
    assert.equal(cut.text, whole.text.slice(0, whole.text.indexOf('9')));
    assert.equal(cut.finishReason, 'stop');
  });

  test('what was asked before is cached, and the bill says so', async () => {
    const prompt = `Count these words: ${`${Math.random()} red green blue `.repeat(20)}`;
    const ask = () => generateText({ ...plain, prompt, maxOutputTokens: least });
    const first = (await ask()).usage;
    const second = (await ask()).usage;
    assert.ok(cached(second) >= cached(first) + 64);
    assert.equal(second.inputTokens, first.inputTokens);
  });

  test('a thought is billed, and no part of the answer', async () => {
    const answer = await generateText({ ...thinking, prompt: QUESTION });
    assert.match(answer.text, /19/);
    assert.doesNotMatch(answer.text, /<\/?think>/);
    checkUsage(answer.usage);
    assert.ok(thought(answer.usage) > 0);
    assert.equal(Boolean(answer.reasoningText), shown);
  });

  const withThoughts = shown ? test : () => {};
  withThoughts('a thought is streamed before the answer, and taken back', async () => {
    const messages = [{ role: 'user', content: QUESTION }];
    const whole = await generateText({ ...thinking, messages });
    const stream = streamText({ ...thinking, messages });
    const types = (await parts(stream.fullStream)).map((part) => part.type);
    assert.ok(types.indexOf('reasoning-delta') >= 0);
    assert.ok(types.indexOf('reasoning-delta') < types.indexOf('text-delta'));
    assert.equal(await stream.reasoningText, whole.reasoningText);
    assert.equal(await stream.text, whole.text);

    for (const said of [whole.response.messages, (await stream.response).messages]) {
      const more = [...messages, ...said, { role: 'user', content: 'What is 1 + 1?' }];
      const next = await generateText({ ...thinking, messages: more });
      assert.ok(next.text);
      assert.deepEqual(next.warnings ?? [], []);
    }
  });

  test('a forced call has the declared name and arguments of its schema', async () => {
    const tools = { get_weather: weather() };
    const answer = await generateText({ ...plain, ...forced, tools });
    assert.equal(answer.finishReason, 'tool-calls');
    const [call, ...others] = answer.toolCalls;
    assert.deepEqual(others, []);
    assert.equal(call.toolName, 'get_weather');
    assert.ok(call.toolCallId);
    assert.equal(typeof call.input.city, 'string');

    const stream = streamText({ ...plain, ...forced, tools });
    const all = await parts(stream.fullStream);
    const pieces = all.filter((part) => part.type === 'tool-input-delta');
    assert.deepEqual(JSON.parse(pieces.map((p) => p.delta ?? p.inputTextDelta).join('')), call.input);
    assert.deepEqual((await stream.toolCalls).map((c) => c.input), [call.input]);
    assert.equal(await stream.finishReason, 'tool-calls');
  });

  test('a tool loop: the call is executed, its result is read, the answer is text', async () => {
    const asked = [];
    const loop = {
      ...plain,
      prompt: CITY,
      tools: {
        get_weather: weather(async ({ city }) => {
          asked.push(city);
          return { sky: 'clear', degrees: 7 };
        }),
      },
      stopWhen: ai.stepCountIs(2),
      prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? 'required' : 'none' }),
    };
    const answer = await generateText(loop);
    assert.equal(asked.length, 1);
    assert.equal(answer.steps.length, 2);
    assert.equal(answer.finishReason, 'stop');
    assert.ok(answer.text);
    for (const step of answer.steps) assert.deepEqual(step.warnings ?? [], []);

    const stream = streamText(loop);
    const types = (await parts(stream.fullStream)).map((part) => part.type);
    assert.ok(types.indexOf('tool-call') < types.indexOf('tool-result'));
    assert.ok(types.indexOf('tool-result') < types.indexOf('text-delta'));
    assert.equal(await stream.text, answer.text);
    assert.equal(asked.length, 2);
  });

  test('an object is of its schema, whole and streamed', async () => {
    const { object, finishReason, usage } = await ai.generateObject({
      ...plain,
      schema: SUM,
      prompt: QUESTION,
    });
    assert.deepEqual(SUM.parse(object), object);
    assert.equal(finishReason, 'stop');
    checkUsage(usage);

    const stream = ai.streamObject({ ...plain, schema: SUM, prompt: QUESTION });
    await parts(stream.partialObjectStream);
    assert.deepEqual(await stream.object, object);
  });

  test('so is the output of a text with a schema', async () => {
    const output = ai.Output.object({ schema: SUM });
    const name = 'ToolLoopAgent' in ai ? 'output' : 'experimental_output';
    const answer = await generateText({ ...plain, [name]: output, prompt: QUESTION });
    assert.deepEqual(SUM.parse(answer[name]), answer[name]);
  });

  test('and whatever else the SDK makes of schemas', async () => {
    const record = z.object({ ages: z.record(z.string(), z.number().int()) });
    const { object } = await ai.generateObject({ ...plain, schema: record, prompt: QUESTION });
    assert.deepEqual(record.parse(object), object);
    const list = { output: 'array', schema: SUM, prompt: QUESTION };
    for (const item of (await ai.generateObject({ ...plain, ...list })).object) SUM.parse(item);
    const choice = { output: 'enum', enum: ['sunny', 'rainy'], prompt: CITY };
    assert.ok(choice.enum.includes((await ai.generateObject({ ...plain, ...choice })).object));
    if (!free) return;
    const any = { output: 'no-schema', prompt: 'json' };
    assert.equal(typeof (await ai.generateObject({ ...plain, ...any })).object, 'object');
  });

  test('a tool without arguments, and one that fails', async () => {
    const now = tool({
      description: 'The time',
      inputSchema: z.object({}),
      execute: async () => {
        throw new Error('The clock has stopped.');
      },
    });
    const answer = await generateText({
      ...plain,
      prompt: 'What time is it?',
      tools: { now },
      stopWhen: ai.stepCountIs(2),
      prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? 'required' : 'none' }),
    });
    const [first, second] = answer.steps;
    assert.deepEqual(first.content.map((part) => part.type), ['tool-call', 'tool-error']);
    assert.deepEqual(first.content[0].input, {});
    assert.ok(second.text);
    assert.deepEqual(second.warnings ?? [], []);
  });

  test('a reader that leaves frees the engine', async () => {
    await frees(async () => {
      const leaving = new AbortController();
      const stream = ai.streamObject({
        ...plain,
        schema: ai.jsonSchema(LONG),
        prompt: 'Many digits.',
        abortSignal: leaving.signal,
        onError: () => {},
      });
      stream.object.catch(() => {});
      let seen = 0;
      try {
        for await (const part of stream.fullStream) {
          if (part.type === 'error') throw part.error;
          if (part.type === 'object' || part.type === 'text-delta') seen += 1;
          if (seen === 3) leaving.abort();
        }
      } catch (error) {
        assert.equal(error.name, 'AbortError', error);
      }
      assert.ok(seen >= 3, `${seen} pieces`);
    });
  });

  test('a request that is given up before its answer frees the engine', async () => {
    await frees(async () => {
      const leaving = new AbortController();
      const asked = ai.generateObject({
        ...plain,
        schema: ai.jsonSchema(LONG),
        prompt: 'Many digits.',
        abortSignal: leaving.signal,
      });
      setTimeout(() => leaving.abort(), 300);
      await assert.rejects(asked);
    });
  });

  const mistakes = {
    key: { model: stranger(MODEL), prompt: QUESTION },
    model: { model: model('gpt-9'), prompt: QUESTION },
    input: {
      messages: [
        {
          role: 'user',
          content: [{ type: 'file', mediaType: 'image/png', data: PIXEL, filename: 'a.png' }],
        },
      ],
    },
  };
  for (const [kind, fields] of Object.entries(mistakes)) {
    test(`a bad ${kind} is an error of the right class, streamed or not`, async () => {
      await assert.rejects(generateText({ ...plain, ...fields }), raises[kind]);
      const stream = streamText({ ...plain, ...fields, onError: () => {} });
      const errors = (await parts(stream.fullStream)).filter((part) => part.type === 'error');
      assert.equal(errors.length, 1);
      raises[kind](errors[0].error);
    });
  }

  test('an answer that breaks off half-way is an error, with what was said before', async () => {
    const stream = ai.streamObject({
      ...plain,
      schema: ai.jsonSchema(LONG),
      prompt: 'Many digits.',
      headers: { 'x-glimt-deadline-s': '0.5' },
      onError: () => {},
    });
    stream.object.catch(() => {});
    const errors = [];
    let seen = 0;
    try {
      for await (const part of stream.fullStream) {
        if (part.type === 'error') errors.push(part.error);
        if (part.type === 'object' || part.type === 'text-delta') seen += 1;
      }
    } catch (error) {
      errors.push(error);
    }
    assert.ok(seen > 0);
    assert.equal(errors.length, 1);
    assert.match(String(errors[0].message ?? JSON.stringify(errors[0])), /within 0\.5 s/);
  });
}
