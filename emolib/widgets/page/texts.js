// Every text of the panel, in the language that is chosen, from the table that the kernel reads too.

import TABLE from "./texts.json" with { type: "json" };

export const LANGUAGES = { en: "English", zh: "中文" };

export function preferred(languages) {
  return (languages[0] || "en").toLowerCase().startsWith("zh") ? "zh" : "en";
}

export class Texts {
  constructor(language) { this.language = language; }

  has(key) { return key in TABLE; }

  // The text of `key`, each {name} in it replaced by that value.
  say(key, values = {}) {
    const text = TABLE[key][Object.keys(LANGUAGES).indexOf(this.language)];
    return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
  }

  // A name that may be in the table, as an emotion, or not, as a label of one's own.
  name(kind, name) {
    const key = `${kind}.${name}`;
    return this.has(key) ? this.say(key) : name;
  }
}
