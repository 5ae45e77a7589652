// What the conversation runs on, the language and the appearance: folded away until somebody looks for it.

import { element } from "./dom.js";
import { LANGUAGES } from "./texts.js";

export const CHOICES = ["recognizer", "emotion", "voice_emotion", "reply", "speech", "voice", "sound"];
const FROM_LIST_ALONE = ["voice", "sound"];
const ANOTHER = "\u0000another";
const APPEARANCES = ["page", "light", "dark"];

function options(list, found) {
  list.replaceChildren(...found.map(([value, text]) => {
    const made = element("option", "", text);
    made.value = value;
    return made;
  }));
}

// A list of what was found, and for the models a field for what was not.
function chooser(texts, model, name) {
  const title = texts.say(`choose.${name}`), hint = texts.say(`choose.${name}.hint`);
  const row = element("label", "emolib-choice"), list = element("select"), field = element("input");
  // The list shows what the kernel has taken, so that a refusal changes nothing.
  const choose = (value) => { field.hidden = true; model.send({ kind: "choose", name, value }); show(); };
  const typed = FROM_LIST_ALONE.includes(name) ? [] : [[ANOTHER, texts.say("another")]];
  const show = () => {
    if (!field.hidden) return; // somebody is typing
    options(list, [...(model.get("options")[name] || []).map((value) => [value, value]), ...typed]);
    list.value = model.get("chosen")[name];
  };
  list.title = hint; field.placeholder = hint; field.hidden = true; field.setAttribute("aria-label", `${title}: ${hint}`);
  list.onchange = () => {
    if (list.value !== ANOTHER) { choose(list.value); return; }
    field.hidden = false; field.value = ""; field.focus();
  };
  const take = () => { if (!field.hidden && field.value.trim()) choose(field.value.trim()); };
  field.onchange = take;
  // JupyterLab keeps Enter from ending the input.
  field.onkeydown = ({ key }) => {
    if (key === "Enter") take();
    if (key === "Escape") { field.hidden = true; show(); list.focus(); }
  };
  row.append(element("span", "", title), list, field);
  return { row, show };
}

function listOf(title, found, value, onchange) {
  const row = element("label", "emolib-choice"), list = element("select");
  options(list, found);
  list.value = value; list.onchange = () => onchange(list.value);
  row.append(element("span", "", title), list);
  return row;
}

// `appearance` and `language` are what is chosen in this browser, and `keep(name, value)` changes them.
export class Settings {
  constructor(texts, model, appearance, keep) {
    this.element = element("details", "emolib-fold emolib-settings");
    this.choosers = CHOICES.map((name) => chooser(texts, model, name));
    const grid = element("div", "emolib-choices");
    const looks = APPEARANCES.map((name) => [name, texts.say(`appearance.${name}`)]);
    grid.append(...this.choosers.map(({ row }) => row),
      listOf(texts.say("language"), Object.entries(LANGUAGES), texts.language, (value) => keep("language", value)),
      listOf(texts.say("appearance"), looks, appearance, (value) => keep("appearance", value)));
    this.element.append(element("summary", "", texts.say("settings")), grid);
  }

  show() { this.choosers.forEach((one) => one.show()); }
}
