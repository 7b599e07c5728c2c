// Vercel's AI Gateway: streamText with the model's name there. AI SDK 7; see docs/guides/ai-sdk.md.
import { createGateway } from '@ai-sdk/gateway';
import { streamText } from 'ai';

const gateway = createGateway({
  baseURL: `${process.env.GLIMT_URL ?? 'http://127.0.0.1:4747'}/v4/ai`,
  apiKey: process.env.GLIMT_API_KEY ?? 'none',
});

const result = streamText({
  model: gateway('zai/glm-4.7-flashx'),
  prompt: 'What is 12 + 7?',
  temperature: 0,
  reasoning: 'none',
});
for await (const text of result.textStream) process.stdout.write(text);
process.stdout.write('\n');
