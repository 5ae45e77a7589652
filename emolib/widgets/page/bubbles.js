// The conversation: a bubble for what was said and one for the answer, and the turn that is under way.

import { element, write } from "./dom.js";
import { chip } from "./emotions.js";

// So many turns are kept in the page unless earlier ones are asked for: a long conversation stays quick.
export const KEPT = 50;

// Which of `turns` the page lacks, and whether it must begin anew; `last` is the newest turn that it shows.
export function missing(last, turns) {
  if (!turns.length) return { anew: true, turns: [] };
  const anew = !last || turns[0].conversation !== last.conversation || turns[0].number > last.number + 1;
  return { anew, turns: anew ? turns : turns.filter(({ number }) => number > last.number) };
}

// Text before, at and after the clause that is heard now.
export function aroundSpoken(reply, spoken) {
  const at = spoken ? reply.lastIndexOf(spoken) : -1;
  if (at < 0) return [reply, "", ""];
  return [reply.slice(0, at), spoken, reply.slice(at + spoken.length)];
}

function bubble(texts, who, className) {
  const made = element("div", `emolib-bubble ${className}`);
  made.append(element("span", "emolib-who", texts.say(who)));
  return made;
}

export function turnItem(texts, turn) {
  const item = element("li", "emolib-turn"), yours = bubble(texts, "you", "emolib-yours");
  item.dataset.turn = turn.number; item.dataset.emotion = turn.emotion;
  yours.append(element("p", "", turn.transcript || texts.say("not_understood"), { dir: "auto" }));
  const chips = element("div", "emolib-chips");
  if (turn.words) chips.append(chip(texts, "words", turn.words));
  if (turn.voice) chips.append(chip(texts, "voice", turn.voice));
  if (chips.childNodes.length) yours.append(chips);
  const answer = bubble(texts, "answer", "emolib-answer");
  answer.append(element("p", "", turn.reply || texts.say("nothing_heard"), { dir: "auto" }));
  const after = element("div", "emolib-chips");
  after.append(chip(texts, "spoken_as", { label: turn.spoken_as }));
  if (turn.interrupted) after.append(element("span", "emolib-chip", `(${texts.say("interrupted")})`));
  answer.append(after);
  for (const problem of turn.problems) answer.append(element("p", "emolib-problem", `⚠ ${problem}`, { dir: "auto" }));
  item.append(yours, answer);
  return item;
}

export class Conversation {
  constructor(texts, askEarlier) {
    this.texts = texts; this.first = this.last = null; this.kept = KEPT;
    this.element = element("div", "emolib-conversation", undefined,
      { role: "region", tabindex: "0", "aria-label": texts.say("conversation") });
    this.hint = element("p", "emolib-hint", texts.say("hint"));
    this.earlier = element("button", "emolib-quiet emolib-earlier", "", { type: "button" });
    this.earlier.hidden = true;
    this.earlier.onclick = () => { this.kept = Infinity; askEarlier(this.first); };
    this.list = element("ol", "emolib-history");
    const log = element("div", "", undefined, { role: "log", "aria-label": texts.say("conversation") });
    log.append(this.list);
    this.makeNow();
    this.element.append(this.hint, this.earlier, log, this.now);
  }

  // The turn under way changes several times a second and is not announced: its end is.
  makeNow() {
    this.now = element("div", "emolib-now", undefined, { "aria-live": "off" });
    this.yours = bubble(this.texts, "you", "emolib-yours"); this.answer = bubble(this.texts, "answer", "emolib-answer");
    this.heard = element("p", "emolib-heard", "", { dir: "auto" }); this.reply = element("p", "emolib-reply", "", { dir: "auto" });
    this.before = element("span"); this.spoken = element("mark", "emolib-spoken"); this.after = element("span");
    this.reply.append(this.before, this.spoken, this.after);
    this.yours.append(this.heard); this.answer.append(this.reply);
    this.now.append(this.yours, this.answer);
  }

  // New turns come at the end; `turns` are the newest that the kernel has.
  show(turns) {
    const found = missing(this.last, turns);
    this.atTheEnd(() => {
      if (found.anew) { this.list.replaceChildren(); this.first = this.last = null; this.kept = KEPT; }
      this.list.append(...found.turns.map((turn) => turnItem(this.texts, turn)));
      this.first ??= found.turns[0] || null;
      this.last = turns.at(-1) || null;
      while (this.list.children.length > this.kept) {
        this.list.firstChild.remove();
        this.first = { ...this.first, number: this.first.number + 1 };
      }
      this.offer();
    });
  }

  // Earlier turns come before the first; what is being read stays where it is.
  prepend(turns) {
    if (!turns.length || !this.first || turns.at(-1).number !== this.first.number - 1) return;
    const below = this.element.scrollHeight - this.element.scrollTop;
    this.list.prepend(...turns.map((turn) => turnItem(this.texts, turn)));
    this.first = turns[0];
    this.offer();
    this.element.scrollTop = this.element.scrollHeight - below;
  }

  offer() {
    const count = this.first ? this.first.number : 0;
    this.earlier.hidden = count === 0;
    this.earlier.textContent = this.texts.say("earlier", { count });
    this.showHint();
  }

  showHint() { this.hint.hidden = Boolean(this.last || this.heard.textContent || this.reply.textContent); }

  // A turn under way: partial words, the reply as far as it is written, and the clause that is heard.
  showNow(partial, reply, spoken) {
    this.atTheEnd(() => {
      const [before, clause, after] = aroundSpoken(reply, spoken);
      // What is spoken otherwise than it is written, such as numbers, stands behind the reply.
      write(this.heard, partial); write(this.before, spoken && !clause ? `${before} ` : before); write(this.spoken, clause || spoken); write(this.after, after);
      this.yours.hidden = !partial; this.answer.hidden = !reply && !spoken;
      this.showHint();
    });
  }

  // Follows what is new unless the reader has scrolled away from it.
  atTheEnd(change) {
    const place = this.element, follows = place.scrollHeight - place.scrollTop - place.clientHeight < 60;
    change();
    if (follows) place.scrollTop = place.scrollHeight;
  }
}
