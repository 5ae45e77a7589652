// What is felt: a chip that names it beside its colour, and the bars of all emotions.

import { element } from "./dom.js";

export const percent = (share) => `${Math.round(100 * share)} %`;

// Classes that a voice is given by recognisers, as the emotion that the face shows for each.
const OF_VOICE = { happy: "joy", sad: "sadness", angry: "anger", disgusted: "anger", fearful: "fear", surprised: "surprise" };

export const shown = (label) => OF_VOICE[label] || label;

// `found` is {label, share}; without a share, the label alone.
export function chip(texts, kind, found) {
  const made = element("span", "emolib-chip"), mark = element("span", "emolib-mark", "", { "aria-hidden": "true" });
  mark.dataset.emotion = shown(found.label);
  const share = found.share === undefined ? "" : ` ${percent(found.share)}`;
  made.append(mark, `${texts.say(kind)}: ${texts.name("emotion", found.label)}${share}`);
  return made;
}

export function feltText(texts, felt) {
  if (!felt.label) return "";
  return texts.say(felt.abstained ? "unsure" : "sure",
    { emotion: texts.name("emotion", felt.label), share: percent(felt.share) });
}

// The rows are made once for a set of labels; after that, only widths and numbers change.
export class Bars {
  constructor(texts) { this.texts = texts; this.element = element("div", "emolib-bars"); this.rows = new Map(); }

  show(scores) {
    if ([...this.rows.keys()].join("\n") !== Object.keys(scores).join("\n")) this.make(Object.keys(scores));
    for (const [label, { bar, value }] of this.rows) {
      bar.style.transform = `scaleX(${scores[label]})`;
      value.textContent = percent(scores[label]);
    }
  }

  make(labels) {
    this.rows = new Map(labels.map((label) => {
      const row = element("div", "emolib-row"), track = element("div", "emolib-track"), bar = element("div", "emolib-bar");
      const name = element("span", "emolib-name", this.texts.name("emotion", label)), value = element("span", "emolib-value");
      bar.dataset.emotion = label;
      track.append(bar); row.append(name, track, value);
      return [label, { row, bar, value }];
    }));
    this.element.replaceChildren(...[...this.rows.values()].map(({ row }) => row));
  }
}
