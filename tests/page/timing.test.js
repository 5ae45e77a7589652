import assert from "node:assert/strict";
import { test } from "node:test";

import { layOut } from "../../emolib/widgets/page/timing.js";

const SPANS = [
  { stage: "recognise", start_ms: 200, end_ms: 300 },
  { stage: "endpoint", start_ms: 0, end_ms: 200 },
  { stage: "speak", start_ms: 300, end_ms: 350 },
  { stage: "speak", start_ms: 360, end_ms: 400 },
  { stage: "play", start_ms: 380, end_ms: 9000 },
];

test("stages stand in the order in which they began, with the time that each was busy", () => {
  const { stages } = layOut(SPANS, 380);
  assert.deepEqual(stages.map(({ stage }) => stage), ["endpoint", "recognise", "speak", "play"]);
  assert.equal(stages[2].busy, 90);
});

test("the line ends soon after the work; the playing is cut off there", () => {
  const { stages, first } = layOut(SPANS, 380);
  const [play] = stages[3].bars;
  assert.equal(play.left + play.width, 100);
  assert.ok(Math.abs(first - (100 * 380) / 420) < 1e-9);
});

test("what began before the end of the speech stands at the left", () => {
  const { stages } = layOut([{ stage: "reply", start_ms: -100, end_ms: 100 }], 0);
  assert.equal(stages[0].bars[0].left, 0);
});

test("without spans there is no picture", () => assert.equal(layOut([], 0), null));
