// Anthropic's Messages through the AI SDK's provider for Anthropic itself.
import { createAnthropic } from '@ai-sdk/anthropic';
import * as ai from 'ai';

import { has, key, url } from './glimt.mjs';
import { laws } from './laws.mjs';

const baseURL = `${url}/v1`;
// The provider sends no temperature with a thought.
const greedy = (address, init) =>
  fetch(address, { ...init, body: JSON.stringify({ temperature: 0, ...JSON.parse(init.body) }) });
const say = (thinking) => ({ providerOptions: { anthropic: { thinking } } });

laws({
  ai,
  model: createAnthropic({ baseURL, apiKey: key, fetch: greedy }),
  stranger: createAnthropic({ baseURL, apiKey: 'wrong' }),
  // Without a limit the provider warns that it does not know this model.
  fixed: { maxOutputTokens: 4000 },
  free: false,
  off: say({ type: 'disabled' }),
  on: say({ type: 'enabled', budgetTokens: 1024 }),
  raises: {
    key: has({ name: 'AI_APICallError', statusCode: 401, isRetryable: false }),
    model: has({ statusCode: 404, message: /glimt\/nano/ }),
    input: has({ statusCode: 400, isRetryable: false, message: /messages\[0\]/ }),
  },
});
