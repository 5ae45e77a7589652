// A face whose expression and colour follow what is felt, and whose motion follows who speaks.

import { element } from "./dom.js";
import { shown } from "./emotions.js";

// Brows, eyes and mouth as paths in a square of 100: the shape says what the colour says.
const SMILE = "M32 62 Q50 80 68 62", EYES = "M35 44 v4 M65 44 v4";
export const EXPRESSIONS = {
  neutral: { brows: "M29 34 Q35 32 41 34 M59 34 Q65 32 71 34", eyes: EYES, mouth: "M36 66 H64" },
  joy: { brows: "M28 31 Q35 27 42 31 M58 31 Q65 27 72 31", eyes: "M30 47 Q35 40 40 47 M60 47 Q65 40 70 47", mouth: "M30 60 Q50 86 70 60 Z" },
  love: {
    brows: "", mouth: SMILE,
    eyes: "M35 50 l-7 -7 q0 -6 4 -6 q3 0 3 3 q0 -3 3 -3 q4 0 4 6 Z M65 50 l-7 -7 q0 -6 4 -6 q3 0 3 3 q0 -3 3 -3 q4 0 4 6 Z",
  },
  anger: { brows: "M28 31 L42 38 M72 31 L58 38", eyes: EYES, mouth: "M34 70 Q50 58 66 70" },
  fear: { brows: "M28 35 L41 29 M72 35 L59 29", eyes: "M35 42 v7 M65 42 v7", mouth: "M33 67 q4 -6 8.5 0 t8.5 0 t8.5 0 t8.5 0" },
  sadness: { brows: "M28 37 L41 32 M72 37 L59 32", eyes: EYES, mouth: "M35 71 Q50 59 65 71" },
  surprise: { brows: "M28 29 Q35 23 42 29 M58 29 Q65 23 72 29", eyes: "M35 42 v6 M65 42 v6", mouth: "M50 59 a7 9 0 1 0 .01 0 Z" },
};

const SVG = "http://www.w3.org/2000/svg";

export const expression = (label) => EXPRESSIONS[shown(label)] || EXPRESSIONS.neutral;

function svg(className, ...names) {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("viewBox", "0 0 100 100"); made.setAttribute("class", className);
  const paths = names.map(() => made.appendChild(document.createElementNS(SVG, "path")));
  return [made, ...paths];
}

export class Face {
  constructor(texts) {
    this.texts = texts; this.phase = "idle"; this.emotion = "neutral";
    this.element = element("div", "emolib-face", undefined, { role: "img" });
    this.halo = element("div", "emolib-halo"); this.disc = element("div", "emolib-disc");
    // The mouth is a picture of its own: the browser moves it without painting the rest.
    const [upper, brows, eyes] = svg("emolib-features", "brows", "eyes"), [lower, mouth] = svg("emolib-mouth", "mouth");
    Object.assign(this, { brows, eyes, mouth });
    this.element.append(this.halo, this.disc, upper, lower);
    this.draw();
  }

  show(phase, emotion) {
    if (phase === this.phase && emotion === this.emotion) return;
    this.phase = phase; this.emotion = emotion;
    this.draw();
  }

  draw() {
    const { brows, eyes, mouth } = expression(this.emotion);
    this.element.dataset.phase = this.phase; this.element.dataset.emotion = shown(this.emotion);
    this.brows.setAttribute("d", brows); this.eyes.setAttribute("d", eyes); this.mouth.setAttribute("d", mouth);
    const emotion = this.texts.name("emotion", this.emotion);
    this.element.setAttribute("aria-label", this.texts.say("face", { phase: this.texts.say(`phase.${this.phase}`), emotion }));
    if (this.phase !== "listening" && this.phase !== "hearing") this.halo.style.transform = "";
  }

  // The halo grows with the speaker's voice, `share` from 0 (silence) to 1.
  hear(share) {
    if (this.phase === "listening" || this.phase === "hearing") this.halo.style.transform = `scale(${(1 + 0.3 * share).toFixed(3)})`;
  }
}
