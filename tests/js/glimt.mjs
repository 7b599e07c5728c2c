// The server under test: where it is, and what its engine is doing.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

export const url = process.env.GLIMT_URL;
export const key = process.env.GLIMT_API_KEY;
/** Who answers there, also to any GLM model's name. */
export const MODEL = 'glimt/nano';
export const FLASHX = 'zai/glm-4.7-flashx';

assert.ok(url && key, 'GLIMT_URL and GLIMT_API_KEY say where the server under test is');

/** The engine's own numbers, by their names in /metrics without the prefix. */
export async function engine() {
  const response = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${key}` } });
  assert.equal(response.status, 200);
  const lines = (await response.text()).split('\n');
  const pairs = lines.filter((line) => line.startsWith('glimt_engine_')).map((l) => l.split(' '));
  return Object.fromEntries(pairs.map(([name, n]) => [name.slice('glimt_engine_'.length), +n]));
}

/** A check that an error has these members; fields may be patterns. */
export const has = (fields) => (error) => {
  assert.ok(error instanceof Error, String(error));
  for (const [name, wanted] of Object.entries(fields)) {
    if (wanted instanceof RegExp) assert.match(String(error[name]), wanted, error);
    else assert.equal(error[name], wanted, error);
  }
  return true;
};

/** Leaves nothing behind: `leave` gives up an answer half-way, and the engine forgets it. */
export async function frees(leave) {
  const before = (await engine()).aborted_total;
  await leave();
  const deadline = Date.now() + 20_000;
  let now = await engine();
  while (now.aborted_total === before) {
    assert.ok(Date.now() < deadline, 'the engine still works on an answer that nobody reads');
    await sleep(20);
    now = await engine();
  }
  assert.equal(now.running, 0);
  assert.equal(now.pages_used, 0);
}
