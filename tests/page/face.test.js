import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import "./page.js";
import { feltText } from "../../emolib/widgets/page/emotions.js";
import { EXPRESSIONS, Face, expression } from "../../emolib/widgets/page/face.js";
import { Texts } from "../../emolib/widgets/page/texts.js";

const texts = new Texts("en");

test("no two emotions have the same expression: colour is not needed to tell them apart", () => {
  const drawn = Object.values(EXPRESSIONS).map(({ brows, eyes, mouth }) => brows + eyes + mouth);
  assert.equal(new Set(drawn).size, drawn.length);
});

test("every emotion has a colour of its own in the style", () => {
  const style = readFileSync(new URL("../../emolib/widgets/page/panel.css", import.meta.url), "utf8");
  for (const label of Object.keys(EXPRESSIONS)) assert.match(style, new RegExp(`--${label}: light-dark`));
});

test("a voice's class has the face of its emotion, and an unknown label a neutral one", () => {
  assert.equal(expression("happy"), EXPRESSIONS.joy);
  assert.equal(expression("curiosity"), EXPRESSIONS.neutral);
});

test("a face says who speaks and what it shows", () => {
  const face = new Face(texts);
  face.show("speaking", "joy");
  assert.equal(face.element.getAttribute("aria-label"), "Answering; the face shows joy");
  assert.equal(face.element.dataset.phase, "speaking");
});

test("the halo follows the microphone while somebody is listened to, and only then", () => {
  const face = new Face(texts);
  face.show("listening", "neutral");
  face.hear(0.5);
  assert.equal(face.halo.style.transform, "scale(1.150)");
  face.show("speaking", "joy");
  face.hear(1);
  assert.equal(face.halo.style.transform, "");
});

test("an unsure classification is not called an emotion", () => {
  assert.equal(feltText(texts, { label: "joy", share: 0.9, abstained: false }), "joy, 90 % sure");
  assert.match(feltText(texts, { label: "joy", share: 0.3, abstained: true }), /^nothing in particular/);
  assert.equal(feltText(texts, {}), "");
});
