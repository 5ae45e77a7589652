// Where the time of the last turn went: its stages on one line of time, from the end of the speech on.

import { element, write } from "./dom.js";

// Each stage with its bars in percent of the line, and the place of the first sound; null without spans.
// The playing itself runs out of the line.
export function layOut(spans, firstSound) {
  const work = spans.filter((span) => span.stage !== "play");
  if (!work.length) return null;
  const from = Math.min(0, ...work.map((span) => span.start_ms));
  const to = 1.05 * Math.max(firstSound, ...work.map((span) => span.end_ms)) || 1;
  const place = (ms) => Math.max(0, Math.min(100, (100 * (ms - from)) / (to - from)));
  const names = [...new Set([...spans].sort((a, b) => a.start_ms - b.start_ms).map((span) => span.stage))];
  const stages = names.map((stage) => {
    const own = spans.filter((span) => span.stage === stage);
    return {
      stage,
      bars: own.map((span) => ({ left: place(span.start_ms), width: place(span.end_ms) - place(span.start_ms) })),
      busy: Math.round(own.reduce((sum, span) => sum + span.end_ms - span.start_ms, 0)),
    };
  });
  return { stages, first: firstSound ? place(firstSound) : null };
}

export class Timing {
  constructor(texts) {
    this.texts = texts;
    this.element = element("details", "emolib-fold emolib-timing");
    this.latency = element("p", "emolib-latency", texts.say("no_timing")); this.delays = element("p", "emolib-delays");
    this.stages = element("div", "emolib-waterfall");
    this.element.append(element("summary", "", texts.say("timing")), this.latency, this.stages, this.delays);
  }

  show(spans, firstSound) {
    const found = layOut(spans, firstSound);
    if (!found) { this.stages.replaceChildren(); write(this.latency, this.texts.say("no_timing")); return; }
    write(this.latency, firstSound ? this.texts.say("first_sound", { ms: firstSound }) : "");
    this.stages.replaceChildren(...found.stages.map((stage) => this.row(stage, found.first)));
  }

  row({ stage, bars, busy }, first) {
    const row = element("div", "emolib-row"), track = element("div", "emolib-track");
    for (const { left, width } of bars) {
      const bar = element("div", "emolib-span"); bar.dataset.stage = stage;
      bar.style.left = `${left}%`; bar.style.width = `max(2px, ${width}%)`;
      track.append(bar);
    }
    if (first !== null) {
      const line = element("div", "emolib-first"); line.style.left = `${first}%`;
      track.append(line);
    }
    row.append(element("span", "emolib-name", this.texts.name("stage", stage)), track, element("span", "emolib-value", `${busy} ms`));
    return row;
  }

  showDelays(delays) {
    const list = Object.entries(delays).map(([name, ms]) => `${name} ${ms} ms`).join(", ");
    write(this.delays, list && this.texts.say("delays", { list }));
  }
}
