// The panel: what the kernel knows is shown, and what is pressed and said goes to the kernel.

import { Sound, Trouble } from "./audio.js";
import { Conversation } from "./bubbles.js";
import { Controls } from "./controls.js";
import { element, write } from "./dom.js";
import { Bars, feltText } from "./emotions.js";
import { Face } from "./face.js";
import { Settings } from "./settings.js";
import { LANGUAGES, Texts, preferred } from "./texts.js";
import { Timing } from "./timing.js";

const COMPUTER = "the kernel's computer";

// What this browser remembers; in a frame without storage of its own, for as long as the page is open.
const here = {};
function remembered(name) { try { return localStorage.getItem(`emolib-${name}`); } catch { return here[name]; } }
function remember(name, value) { try { localStorage.setItem(`emolib-${name}`, value); } catch { here[name] = value; } }

class Panel {
  constructor(model, el) {
    this.model = model; this.el = el; this.taken = false;
    // A text of the page's own that stands in place of the kernel's status until that changes.
    this.own = null;
    this.sound = new Sound(model, (dbfs) => this.measure(dbfs), () => this.say("no_kernel"));
    // Of the panels in this browser, other kernels' too, the one that was used last has microphone and loudspeaker.
    this.others = new BroadcastChannel("emolib-panel");
    this.others.onmessage = ({ data }) => { if (data !== model.get("panel")) this.giveWay(); };
    this.message = (content, buffers) => this.take(content, buffers);
    this.hidden = () => this.noteHidden();
    this.leave = () => { this.sound.close(); model.send({ kind: "leave", page: this.sound.page }); };
    this.build();
    this.shows = Object.entries(this.handlers());
    this.shows.forEach(([name, show]) => { model.on(`change:${name}`, show); show(); });
    model.on("msg:custom", this.message);
    document.addEventListener("visibilitychange", this.hidden);
    window.addEventListener("pagehide", this.leave);
  }

  close() {
    this.shows.forEach(([name, show]) => this.model.off(`change:${name}`, show));
    this.model.off("msg:custom", this.message);
    document.removeEventListener("visibilitychange", this.hidden);
    window.removeEventListener("pagehide", this.leave);
    this.leave(); this.others.close();
  }

  // The page is built anew when its language changes; microphone and loudspeaker stay open.
  build() {
    const kept = remembered("language"), language = kept in LANGUAGES ? kept : preferred(navigator.languages);
    const texts = this.texts = new Texts(language), model = this.model, appearance = remembered("appearance") || "page";
    model.set("language", language); model.save_changes();
    this.face = new Face(texts); this.bars = new Bars(texts); this.timing = new Timing(texts);
    this.conversation = new Conversation(texts, ({ number }) => model.send({ kind: "earlier", before: number }));
    this.controls = new Controls(texts, this.acts());
    this.settings = new Settings(texts, model, appearance, (name, value) => { remember(name, value); this.rebuild(); });
    this.phase = element("p", "emolib-phase", undefined, { "aria-hidden": "true" });
    this.status = element("p", "emolib-status", undefined, { role: "status", dir: "auto" });
    this.felt = element("p", "emolib-felt", undefined, { dir: "auto" });
    const root = element("section", "emolib-panel", undefined, { "aria-label": texts.say("title"), lang: language });
    // Keys pressed in here are not JupyterLab's, which in its command mode takes Enter, and d d as "delete the cell".
    root.dataset.lmSuppressShortcuts = "true"; root.dataset.appearance = appearance;
    const state = element("div", "emolib-state"), stage = element("div", "emolib-stage"), inside = element("div", "emolib-inside");
    state.append(this.phase, this.status, this.meter(), this.controls.element);
    stage.append(this.face.element, state);
    const feelings = element("div", "emolib-feelings"), below = element("div", "emolib-below");
    feelings.append(this.felt, this.bars.element);
    below.append(this.controls.more, this.timing.element, this.settings.element);
    inside.append(stage, this.conversation.element, feelings, below);
    root.append(inside);
    this.el.replaceChildren(root);
  }

  rebuild() {
    const open = [...this.el.querySelectorAll("details")].map((fold) => fold.open);
    this.build();
    this.el.querySelectorAll("details").forEach((fold, at) => { fold.open = open[at]; });
    this.shows.forEach(([, show]) => show());
    if (this.own) this.say(...this.own);
  }

  meter() {
    const row = element("div", "emolib-row emolib-room"), name = element("span", "emolib-name", this.texts.say("microphone"));
    const track = element("div", "emolib-meter", undefined, { role: "img", "aria-label": this.texts.say("level") });
    this.level = element("div", "emolib-level"); this.floor = element("div", "emolib-floor");
    this.floorValue = element("span", "emolib-value");
    track.append(this.level, this.floor); row.append(name, track, this.floorValue);
    return row;
  }

  measure(dbfs) {
    this.level.style.transform = `scaleX(${share(dbfs)})`;
    this.face.hear(share(dbfs));
  }

  say(key, values) {
    this.own = [key, values];
    this.tell(this.texts.say(key, values), key !== "hidden");
  }

  tell(text, trouble) {
    write(this.status, text);
    this.status.dataset.trouble = trouble;
  }

  // What the kernel says; a panel that another has taken over goes on saying so.
  sayStatus() {
    if (this.taken) return;
    this.own = null;
    this.tell(this.model.get("status"), this.model.get("trouble"));
  }

  showFace() {
    const phase = this.model.get("phase"), felt = this.model.get("felt");
    write(this.phase, this.texts.say(`phase.${phase}`));
    this.face.show(phase, felt.label && !felt.abstained ? felt.label : "neutral");
    write(this.felt, feltText(this.texts, felt));
  }

  handlers() {
    const get = (name) => this.model.get(name);
    const now = () => this.conversation.showNow(get("partial"), get("reply"), get("spoken"));
    const status = () => this.sayStatus(), face = () => this.showFace(), settings = () => this.settings.show();
    const timing = () => this.timing.show(get("waterfall"), get("first_sound_ms"));
    return {
      status, trouble: status, phase: face, felt: face, partial: now, reply: now, spoken: now, waterfall: timing,
      options: settings, chosen: settings, talking: () => this.controls.show(get("talking")),
      delays: () => this.timing.showDelays(get("delays")), emotions: () => this.bars.show(get("emotions")),
      history: () => this.conversation.show(get("history")), level_dbfs: () => this.measure(get("level_dbfs")),
      floor_dbfs: () => {
        const level = Math.round(get("floor_dbfs"));
        this.floor.style.left = `${100 * share(level)}%`;
        this.floor.title = this.floorValue.title = this.texts.say("floor", { level });
        write(this.floorValue, `${level} dB`);
      },
    };
  }

  acts() {
    const tell = (kind) => () => this.model.send({ kind });
    return {
      calibrate: () => this.begin("calibrate"), talk: () => this.begin("talk"),
      interrupt: () => { this.sound.interrupt(); this.model.send({ kind: "interrupt" }); },
      stop: () => { this.sound.close(); this.model.send({ kind: "stop" }); },
      clear: tell("clear"), save: tell("save"), reopen: tell("reopen"), upload: (file) => this.upload(file),
    };
  }

  async begin(kind) {
    try {
      if (this.model.get("chosen").sound !== COMPUTER) await this.sound.open();
      this.taken = false;
      this.others.postMessage(this.model.get("panel"));
      this.model.send({ kind, page: this.sound.page, rate: this.sound.rate });
    } catch (error) { this.explain(error, "microphone_failed"); }
  }

  async upload(file) {
    const limit = this.model.get("upload_limit");
    if (file.size > limit) {
      this.say("too_large", { file: file.name, size: Math.round(file.size / 1e6), limit: limit / 1e6 });
      return;
    }
    try {
      await this.sound.openSpeaker();
      this.model.send({ kind: "upload", name: file.name }, undefined, [await file.arrayBuffer()]);
    } catch (error) { this.explain(error, "not_sent"); }
  }

  explain(error, otherwise) {
    if (error instanceof Trouble) this.say(error.key, error.values);
    else this.say(otherwise, { error: error.message });
  }

  giveWay() {
    if (!this.sound.speaker) return;
    this.taken = true;
    this.leave(); this.say("taken");
  }

  take(content, buffers) {
    if (content.kind === "sound") this.sound.play(buffers[0], content.sent);
    else if (content.kind === "flush") this.sound.interrupted();
    else if (content.kind === "alive") this.alive();
    else if (content.kind === "taken") { if (content.page !== this.sound.page) this.giveWay(); }
    else if (content.kind === "earlier") this.conversation.prepend(content.turns);
    else if (content.kind === "close") this.sound.close();
  }

  alive() {
    this.sound.answered = performance.now();
    if (this.own?.[0] === "no_kernel") this.sayStatus();
  }

  noteHidden() {
    if (document.hidden && this.sound.stream) this.say("hidden");
    else if (this.own?.[0] === "hidden") this.sayStatus();
  }
}

// A level as a share of the meter, which begins at -80 dBFS.
function share(dbfs) { return Math.max(0, Math.min(1, 1 + dbfs / 80)); }

function render({ model, el }) {
  const panel = new Panel(model, el);
  return () => panel.close();
}

export default { render };
