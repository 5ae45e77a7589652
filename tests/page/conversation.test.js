import assert from "node:assert/strict";
import { test } from "node:test";

import "./page.js";
import { Conversation, KEPT, aroundSpoken, missing, turnItem } from "../../emolib/widgets/page/bubbles.js";
import { Texts } from "../../emolib/widgets/page/texts.js";

const texts = new Texts("en");
const turn = (number, more = {}) => ({
  number, conversation: 0, transcript: `sentence ${number}`, emotion: "joy", words: { label: "joy", share: 0.83 },
  voice: { label: "happy", share: 0.6 }, reply: "Good.", spoken_as: "joy", interrupted: false, problems: [], ...more,
});
const turns = (from, to) => Array.from({ length: to - from }, (_, at) => turn(from + at));
const shown = (conversation) => conversation.list.children.map((item) => item.dataset.turn);

test("only the turns that the page lacks are added", () => {
  assert.deepEqual(missing(turn(4), turns(2, 7)), { anew: false, turns: turns(5, 7) });
  assert.equal(missing(null, turns(0, 2)).anew, true);
  assert.equal(missing(turn(4), turns(10, 12)).anew, true, "some between were missed");
  assert.equal(missing(turn(4), [turn(0, { conversation: 1 })]).anew, true, "another conversation");
  assert.deepEqual(missing(turn(4), []), { anew: true, turns: [] });
});

test("of 300 turns the page keeps the newest and offers the earlier ones", () => {
  const asked = [], conversation = new Conversation(texts, (first) => asked.push(first.number));
  for (let end = 1; end <= 300; end++) conversation.show(turns(Math.max(0, end - 20), end));
  assert.deepEqual(shown(conversation), turns(300 - KEPT, 300).map(({ number }) => number));
  assert.equal(conversation.earlier.textContent, `Show earlier turns (${300 - KEPT})`);
  conversation.earlier.onclick();
  assert.deepEqual(asked, [300 - KEPT]);
  conversation.prepend(turns(200, 250));
  assert.equal(shown(conversation)[0], 200);
  conversation.show(turns(281, 301));
  assert.equal(shown(conversation).length, 101, "what was asked for stays");
});

test("an answer to an older question for earlier turns is not put in a wrong place", () => {
  const conversation = new Conversation(texts, () => {});
  conversation.show(turns(280, 300));
  conversation.prepend(turns(100, 150));
  assert.equal(shown(conversation)[0], 280);
});

test("a cleared conversation shows the hint again", () => {
  const conversation = new Conversation(texts, () => {});
  conversation.showNow("", "", "");
  assert.equal(conversation.hint.hidden, false);
  conversation.show(turns(0, 2));
  assert.equal(conversation.hint.hidden, true);
  conversation.show([]);
  assert.equal(conversation.hint.hidden, false);
  assert.deepEqual(shown(conversation), []);
});

test("the clause that is heard is marked in the reply, the last one of its words", () => {
  assert.deepEqual(aroundSpoken("Yes. Yes. No.", "Yes."), ["Yes. ", "Yes.", " No."]);
  assert.deepEqual(aroundSpoken("Yes.", ""), ["Yes.", "", ""]);
  const conversation = new Conversation(texts, () => {});
  conversation.showNow("how are you", "I have 2 cats.", "I have two cats.");
  assert.equal(conversation.spoken.textContent, "I have two cats.", "spoken otherwise than it is written");
});

test("a bubble has the emotion of words and voice in words, and says what went wrong", () => {
  const item = turnItem(texts, turn(0, { interrupted: true, problems: ["no reply within 20 s"] }));
  assert.match(item.textContent, /Words: joy 83 %/);
  assert.match(item.textContent, /Voice: happy 60 %/);
  assert.match(item.textContent, /Spoken as: joy/);
  assert.match(item.textContent, /\(interrupted\)/);
  assert.match(item.textContent, /⚠ no reply within 20 s/);
});

test("words of either direction of writing stand as they are written", () => {
  const item = turnItem(texts, turn(0, { transcript: "أنا سعيد اليوم" }));
  const said = item.children[0].children[1];
  assert.equal(said.textContent, "أنا سعيد اليوم");
  assert.equal(said.getAttribute("dir"), "auto");
});

test("markup that is said stays text", () => {
  const item = turnItem(texts, turn(0, { transcript: "<img src=x onerror=alert(1)>" }));
  assert.equal(item.children[0].children[1].children.length, 0);
});
