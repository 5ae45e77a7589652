import assert from "node:assert/strict";
import { test } from "node:test";

import { Queue } from "../../emolib/widgets/page/audio.js";

const blocks = (...sizes) => sizes.map((size, at) => ({ pcm: new Int16Array(size).fill(at + 1), sent: 1 }));

test("what comes in is played in order, without a gap between blocks", () => {
  const queue = new Queue(() => {}), out = new Float32Array(6);
  blocks(2, 4).forEach((block) => queue.take(block));
  queue.fill(out);
  assert.deepEqual([...out].map((value) => value * 32768), [1, 1, 2, 2, 2, 2]);
});

test("a flush silences at once, and what comes afterwards is heard", () => {
  const queue = new Queue(() => {}), out = new Float32Array(2);
  blocks(100).forEach((block) => queue.take(block));
  queue.take("flush");
  queue.fill(out);
  assert.deepEqual([...out], [0, 0]);
  blocks(2).forEach((block) => queue.take(block));
  queue.fill(out);
  assert.ok(out[0] > 0);
});

test("how much was played is told when the queue runs dry", () => {
  const told = [], queue = new Queue((data) => told.push(data));
  blocks(3).forEach((block) => queue.take(block));
  queue.fill(new Float32Array(8));
  assert.equal(told.at(-1).played, 3);
});
