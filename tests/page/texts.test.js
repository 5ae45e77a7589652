import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { LANGUAGES, Texts, preferred } from "../../emolib/widgets/page/texts.js";

const widgets = new URL("../../emolib/widgets/", import.meta.url);
const table = JSON.parse(readFileSync(new URL("page/texts.json", widgets), "utf8"));
const names = (text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();

test("every text is there in every language, with the same values in it", () => {
  for (const [key, texts] of Object.entries(table)) {
    assert.equal(texts.length, Object.keys(LANGUAGES).length, key);
    assert.ok(texts.every((text) => text.trim()), key);
    assert.deepEqual(names(texts[1]), names(texts[0]), key);
  }
});

test("every text is used, and no other is asked for", () => {
  const sources = ["page/", ""].flatMap((folder) => readdirSync(new URL(folder, widgets))
    .filter((name) => /\.(js|py)$/.test(name)).map((name) => readFileSync(new URL(folder + name, widgets), "utf8"))).join("\n");
  const built = /^(emotion|stage|phase|choose|appearance)\.|_hint$/;
  for (const key of Object.keys(table)) if (!built.test(key)) assert.ok(sources.includes(`"${key}"`), `${key} is not used`);
  for (const [, key] of sources.matchAll(/(?:\.say|[^.]text|Trouble|stop)\("([\w.]+)"/g)) assert.ok(key in table, `there is no ${key}`);
});

test("values stand in the place of their names, in the chosen language", () => {
  assert.equal(new Texts("en").say("saved", { count: 3, file: "turns.jsonl" }), "3 turns were written to turns.jsonl.");
  assert.equal(new Texts("zh").say("saved", { count: 3, file: "turns.jsonl" }), "已将 3 轮对话写入 turns.jsonl。");
  assert.equal(new Texts("en").say("saved", { count: 0 }), "0 turns were written to {file}.");
});

test("a label of one's own keeps its name", () => {
  assert.equal(new Texts("zh").name("emotion", "joy"), "喜悦");
  assert.equal(new Texts("zh").name("emotion", "curiosity"), "curiosity");
});

test("the first language of the browser decides", () => {
  assert.equal(preferred(["zh-CN", "en"]), "zh");
  assert.equal(preferred(["de", "zh"]), "en");
  assert.equal(preferred([]), "en");
});
