// Vercel's AI Gateway: the program that its pages print, as it is. glimt.mjs says who is asked:
//
//   npm install ai
//   node --import ./glimt.mjs stream_text.mjs
import { streamText } from 'ai';

const result = streamText({
  model: 'zai/glm-4.7-flashx',
  prompt: 'What is 12 + 7?',
});

for await (const text of result.textStream) {
  process.stdout.write(text);
}
