// The gateway protocol, spoken by three generations of the AI SDK; AI_SDK names one of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FLASHX, MODEL, has, key, url } from './glimt.mjs';
import { QUESTION, laws, parts } from './laws.mjs';

const name = process.env.AI_SDK;
const [path, version] = { 'ai-5': ['v1', 'v2'], 'ai-6': ['v3', 'v3'], ai: ['v4', 'v4'] }[name];
const ai = await import(name);
const baseURL = `${url}/${path}/ai`;
const gateway = ai.createGateway({ baseURL, apiKey: key });
const stranger = ai.createGateway({ baseURL, apiKey: 'wrong' });
const say = (type) => ({ providerOptions: { zai: { thinking: { type } } } });
const off = name === 'ai' ? { reasoning: 'none' } : say('disabled');
const on = name === 'ai' ? { reasoning: 'high' } : say('enabled');
const plain = { model: gateway(MODEL), temperature: 0, maxRetries: 0, ...off };

laws({
  ai,
  model: gateway,
  stranger,
  off,
  on,
  raises: {
    key: has({ name: 'GatewayAuthenticationError' }),
    model: has({ type: 'model_not_found', statusCode: 404, modelId: 'gpt-9' }),
    input: has({ type: 'invalid_request_error', statusCode: 400, message: /^prompt\[0\]/ }),
  },
});

test('the metadata says who answered, how that came about, and what it cost', async () => {
  const ask = { ...plain, model: gateway(FLASHX), prompt: QUESTION };
  const stream = ai.streamText(ask);
  const [opening] = (await parts(stream.fullStream)).filter((part) => part.type === 'text-start');
  const answers = [await ai.generateText(ask), { providerMetadata: await stream.providerMetadata }];
  for (const { providerMetadata } of answers) {
    const { generationId, cost, routing } = providerMetadata.gateway;
    assert.ok(generationId);
    assert.equal(cost, '0');
    assert.equal(routing.originalModelId, FLASHX);
    assert.equal(routing.resolvedProviderApiModelId, MODEL);
    assert.equal(routing.modelAttempts[0].providerAttempts[0].success, true);
    assert.ok(providerMetadata.glimt.timing.totalS > 0);
  }
  const { generationId } = answers[1].providerMetadata.gateway;
  assert.equal(opening.providerMetadata.gateway.generationId, generationId);
});

test('what is not honoured is a warning, and a wish that cannot be met an error', async () => {
  const sorted = { gateway: { sort: 'cost' }, anthropic: { effort: 'high' } };
  const { warnings } = await ai.generateText({
    ...plain,
    model: gateway(FLASHX),
    prompt: QUESTION,
    providerOptions: { ...plain.providerOptions, ...sorted },
  });
  const words = JSON.stringify(warnings);
  for (const word of ['providerOptions.gateway.sort', 'providerOptions.anthropic', FLASHX]) {
    assert.ok(words.includes(word), words);
  }
  const elsewhere = { providerOptions: { gateway: { only: ['elsewhere'] } } };
  await assert.rejects(
    ai.generateText({ ...plain, prompt: QUESTION, ...elsewhere }),
    has({ type: 'invalid_request_error', message: /^providerOptions\.gateway\.only/ }),
  );
});

test('a file of text is read', async () => {
  const ask = (content) =>
    ai.generateText({ ...plain, messages: [{ role: 'user', content }], maxOutputTokens: 5 });
  const text = { type: 'text', text: 'Read this.' };
  const data = Buffer.from('red green blue '.repeat(20));
  const file = { type: 'file', mediaType: 'text/plain', data, filename: 'colours.txt' };
  const [read, unread] = [await ask([text, file]), await ask([text])];
  assert.ok(read.usage.inputTokens > unread.usage.inputTokens + 40);
  assert.deepEqual(read.warnings ?? [], []);
});

test('the models that are there are listed in the generation of who asks', async () => {
  const { models } = await gateway.getAvailableModels();
  const found = models.find((model) => model.id === MODEL);
  assert.equal(found.modelType, 'language');
  assert.equal(found.specification.specificationVersion, version);
  await assert.rejects(stranger.getAvailableModels(), has({ statusCode: 401 }));
});

test('a model by its plain name asks the default provider', async () => {
  globalThis.AI_SDK_DEFAULT_PROVIDER = gateway;
  try {
    const stream = ai.streamText({ ...plain, model: FLASHX, prompt: QUESTION });
    assert.match(await stream.text, /19/);
  } finally {
    delete globalThis.AI_SDK_DEFAULT_PROVIDER;
  }
});
