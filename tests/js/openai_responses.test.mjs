// The Responses API through the AI SDK's provider for OpenAI itself.
import { createOpenAI } from '@ai-sdk/openai';
import * as ai from 'ai';

import { has, key, url } from './glimt.mjs';
import { laws } from './laws.mjs';

const baseURL = `${url}/v1`;
const say = (reasoningEffort) => ({
  providerOptions: { openai: { store: false, reasoningEffort } },
});

laws({
  ai,
  model: createOpenAI({ baseURL, apiKey: key }).responses,
  stranger: createOpenAI({ baseURL, apiKey: 'wrong' }).responses,
  off: say('none'),
  on: say('high'),
  raises: {
    key: has({ name: 'AI_APICallError', statusCode: 401, isRetryable: false }),
    model: has({ statusCode: 404, message: /glimt\/nano/ }),
    input: has({ statusCode: 400, isRetryable: false, message: /input\[0\]/ }),
  },
});
