// OpenRouter's own provider for the AI SDK, at the path of its dialect.
import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import * as ai from 'ai';

import { has, key, url } from './glimt.mjs';
import { laws } from './laws.mjs';

const baseURL = `${url}/api/v1`;
const say = (reasoning) => ({ providerOptions: { openrouter: { reasoning } } });

laws({
  ai,
  model: createOpenRouter({ baseURL, apiKey: key }).chat,
  stranger: createOpenRouter({ baseURL, apiKey: 'wrong' }).chat,
  off: say({ enabled: false }),
  on: say({ enabled: true }),
  raises: {
    key: has({ statusCode: 401 }),
    model: has({ statusCode: 404, message: /glimt\/nano/ }),
    input: has({ statusCode: 400, message: /messages\[0\]/ }),
  },
});
