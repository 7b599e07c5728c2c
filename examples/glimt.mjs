// Makes Glimt the one whom AI SDK 7 asks for a model by its plain name.
import { createGateway } from 'ai';

globalThis.AI_SDK_DEFAULT_PROVIDER = createGateway({
  baseURL: `${process.env.GLIMT_URL ?? 'http://127.0.0.1:4747'}/v4/ai`,
  apiKey: process.env.GLIMT_API_KEY ?? 'none',
});
