// Buttons: what begins and ends a conversation, and what is done with its turns.

import { element } from "./dom.js";

// `acts` has a function for each name; `upload` gets the chosen file.
export class Controls {
  constructor(texts, acts) {
    this.texts = texts; this.acts = acts;
    this.element = element("div", "emolib-controls"); this.more = element("div", "emolib-more");
    const [calibrate, talk, interrupt, stop] = ["calibrate", "talk", "interrupt", "stop"].map((name) => this.button(name));
    Object.assign(this, { calibrate, talk, interrupt, stop });
    talk.classList.add("emolib-main"); stop.classList.add("emolib-main");
    this.element.append(talk, calibrate, stop, interrupt);
    this.more.append(this.uploader(), ...["save", "reopen", "clear"].map((name) => this.button(name, "emolib-quiet")));
    this.show(false);
  }

  button(name, className = "") {
    const made = element("button", className, this.texts.say(name), { type: "button", title: this.texts.say(`${name}_hint`) });
    made.onclick = this.acts[name];
    return made;
  }

  uploader() {
    const made = element("label", "emolib-upload emolib-quiet", this.texts.say("upload"));
    const file = element("input", "", undefined, { type: "file", accept: ".wav,audio/wav" });
    file.onchange = async () => {
      if (file.files[0]) await this.acts.upload(file.files[0]);
      file.value = "";
    };
    made.append(file);
    return made;
  }

  // While a conversation runs, what ends it stands in the place of what begins it; the keyboard's place goes along.
  show(talking) {
    const [from, to] = talking ? [this.talk, this.stop] : [this.stop, this.talk];
    const focused = from.getRootNode().activeElement === from;
    this.talk.hidden = this.calibrate.hidden = talking;
    this.stop.hidden = this.interrupt.hidden = !talking;
    if (focused) to.focus();
  }
}
