// The Responses API through the AI SDK's provider for OpenAI itself.
import { createOpenAI } from '@ai-sdk/openai';
import * as ai from 'ai';

import { has, key, url } from './glimt.mjs';
import { laws } from './laws.mjs';

const baseURL = `${url}/v1`;
// The provider knows by their names which models think, and sends none of those a temperature.
const greedy = (address, init) =>
  fetch(address, { ...init, body: JSON.stringify({ temperature: 0, ...JSON.parse(init.body) }) });
const say = (reasoningEffort) => ({
  providerOptions: {
    openai: { store: false, forceReasoning: true, reasoningEffort, reasoningSummary: 'detailed' },
  },
});

laws({
  ai,
  model: createOpenAI({ baseURL, apiKey: key, fetch: greedy }).responses,
  stranger: createOpenAI({ baseURL, apiKey: 'wrong' }).responses,
  off: say('none'),
  on: say('high'),
  least: 16,
  stops: false,
  fixed: {},
  raises: {
    key: has({ name: 'AI_APICallError', statusCode: 401, isRetryable: false }),
    model: has({ statusCode: 404, message: /glimt\/nano/ }),
    input: has({ statusCode: 400, isRetryable: false, message: /input\[0\]/ }),
  },
});
