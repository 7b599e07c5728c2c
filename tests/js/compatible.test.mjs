// Chat completions through the AI SDK's provider for OpenAI-compatible servers.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import * as ai from 'ai';

import { MODEL, has, key, url } from './glimt.mjs';
import { QUESTION, laws } from './laws.mjs';

const settings = {
  name: 'zai',
  baseURL: `${url}/v1`,
  includeUsage: true,
  supportsStructuredOutputs: true,
};
const model = createOpenAICompatible({ ...settings, apiKey: key });
const say = (type) => ({ providerOptions: { zai: { thinking: { type } } } });

laws({
  ai,
  model,
  stranger: createOpenAICompatible({ ...settings, apiKey: 'wrong' }),
  off: say('disabled'),
  on: say('enabled'),
  raises: {
    key: has({ name: 'AI_APICallError', statusCode: 401, isRetryable: false }),
    model: has({ statusCode: 404, message: /glimt\/nano/ }),
    input: has({ statusCode: 400, isRetryable: false, message: /messages\[0\]/ }),
  },
});

test("the SDK's own word for thinking is understood too", async () => {
  const ask = { model: model(MODEL), prompt: QUESTION, temperature: 0 };
  const silent = await ai.generateText({ ...ask, reasoning: 'none' });
  assert.equal(silent.reasoningText, undefined);
  const thoughtful = await ai.generateText({ ...ask, reasoning: 'low' });
  assert.ok(thoughtful.reasoningText);
});
