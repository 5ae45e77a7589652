// The panel in the page: microphone to the kernel as 16 kHz int16 blocks, sound from the kernel without gaps.

const MICROPHONE = `
registerProcessor("emolib-microphone", class extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round(sampleRate * 0.032); this.begin();
  }
  begin() { this.block = new Int16Array(this.size); this.filled = 0; this.power = 0; }
  process([[samples]]) {
    for (const sample of samples || []) {
      const value = Math.max(-1, Math.min(1, sample));
      this.power += value * value;
      this.block[this.filled++] = Math.round(value * 32767);
      if (this.filled < this.size) continue;
      const pcm = this.block;
      this.port.postMessage({ pcm, power: this.power / pcm.length, filled: Date.now() }, [pcm.buffer]);
      this.begin();
    }
    return true;
  }
});`;

// What is to be played. It runs in the audio thread; in a page over plain HTTP, which has none, in the page.
class Queue {
  constructor(tell) {
    this.tell = tell; this.blocks = []; this.place = 0; this.played = 0; this.power = 0; this.told = 0; this.sent = null;
  }
  take(data) {
    if (data === "flush") { this.blocks = []; this.place = 0; return; }
    if (!this.blocks.length) this.sent = data.sent;
    this.blocks.push(data.pcm);
  }
  fill(out) {
    if (this.blocks.length && this.sent) { this.tell({ delay: Date.now() - this.sent }); this.sent = null; }
    for (let i = 0; i < out.length && this.blocks.length; i++) {
      const value = this.blocks[0][this.place++] / 32768;
      out[i] = value; this.power += value * value; this.played++;
      if (this.place >= this.blocks[0].length) { this.blocks.shift(); this.place = 0; }
    }
    if (this.played - this.told >= 1024 || (this.played > this.told && !this.blocks.length)) {
      this.told = this.played;
      this.tell({ played: this.played, power: this.power });
    }
  }
}

const SPEAKER = `
${Queue.toString()}
registerProcessor("emolib-speaker", class extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = new Queue((told) => this.port.postMessage(told));
    this.port.onmessage = ({ data }) => this.queue.take(data);
  }
  process(_, [[out]]) { this.queue.fill(out); return true; }
});`;

const REFUSALS = {
  NotAllowedError: "The browser refused the microphone: allow it beside the page's address, then press Talk again.",
  NotFoundError: "No microphone was found: connect one and press Talk again, or upload a WAV file.",
  NotReadableError: "Another program holds the microphone: close it there, then press Talk again.",
};

const PATIENCE_MS = 5000;
const NO_KERNEL = "The kernel does not answer: where a cell runs, wait for it; after a restart, run the panel's cell again.";
const TAKEN = "Another panel has taken the conversation over: press Talk to have it back here.";
const PLAIN_HTTP = "Browsers give the microphone to https:// or localhost only: open this page there, upload a WAV file, "
  + "or choose the sound of the kernel's computer.";
const FORBIDDEN = "Whatever shows this page keeps the microphone from it, as VS Code does: open the notebook in a browser, "
  + "upload a WAV file, or choose the sound of the kernel's computer.";
const HIDDEN = "The tab is in the background: the microphone stays open; Stop releases it.";
const COMPUTER = "the kernel's computer";
// Its outputLatency asks PulseAudio with a lock in hand for which PulseAudio's own callback may wait: the page hangs.
const FIREFOX = navigator.userAgent.includes("Firefox");

async function worklet(context, code, name) {
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  try { await context.audioWorklet.addModule(url); } finally { URL.revokeObjectURL(url); }
  return new AudioWorkletNode(context, name);
}

class Sound {
  constructor(model, onLevel, onSilence) {
    this.model = model; this.onLevel = onLevel; this.onSilence = onSilence; this.number = this.loudest = 0; this.deaf = false;
    this.page = Math.random();
  }

  async open() {
    if (!window.isSecureContext || !navigator.mediaDevices) throw new Error(PLAIN_HTTP);
    if (document.featurePolicy?.allowsFeature("microphone") === false) throw new Error(FORBIDDEN);
    await this.openSpeaker();
    if (this.stream) return;
    try {
      this.stream = await navigator.mediaDevices.getUserMedia(
        { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 } });
    } catch (error) { throw new Error(REFUSALS[error.name] || `The microphone failed (${error.message}): try again.`); }
    this.answered = performance.now();
    const heard = this.listen();
    const node = await worklet(this.microphone, MICROPHONE, "emolib-microphone");
    heard.connect(node);
    node.port.onmessage = ({ data }) => this.send(data);
    this.stream.getTracks()[0].onended = () => this.model.send({ kind: "lost", page: this.page });
  }

  // Firefox connects a microphone at its own rate only; the kernel resamples what comes at another than 16 kHz.
  listen() {
    this.microphone = new AudioContext({ sampleRate: 16000 });
    try { return this.microphone.createMediaStreamSource(this.stream); } catch {
      this.microphone.close(); this.microphone = new AudioContext();
      return this.microphone.createMediaStreamSource(this.stream);
    }
  }

  send({ pcm, power, filled }) {
    this.loudest = Math.max(this.loudest, power);
    // Each change is painted, which is in the way of what is sent: ten a second are enough for eyes.
    if (this.number++ % 3 === 0) { this.onLevel(10 * Math.log10(Math.max(this.loudest, 1e-10))); this.loudest = 0; }
    if (performance.now() - this.answered > PATIENCE_MS) {
      this.onSilence();
      // A page that waits for its kernel keeps what it sends: one block a second asks for a sign of life.
      if (this.number % 31) return;
    }
    this.model.send({ kind: "sound", number: this.number, page: this.page, sent: filled }, undefined, [pcm.buffer]);
  }

  get rate() { return this.microphone ? this.microphone.sampleRate : 16000; }

  async openSpeaker() {
    if (!this.speaker) {
      this.speaker = new AudioContext({ sampleRate: this.model.get("sample_rate"), latencyHint: "interactive" });
      const node = this.speaker.audioWorklet ? await this.inAudioThread() : this.inPage();
      node.connect(this.speaker.destination);
    }
    await this.speaker.resume();
  }

  async inAudioThread() {
    const node = await worklet(this.speaker, SPEAKER, "emolib-speaker");
    node.port.onmessage = ({ data }) => this.told(data);
    this.give = (data) => node.port.postMessage(data, data.pcm ? [data.pcm.buffer] : []);
    return node;
  }

  inPage() {
    const queue = new Queue((data) => this.told(data)), node = this.speaker.createScriptProcessor(1024, 0, 1);
    node.onaudioprocess = ({ outputBuffer }) => {
      const out = outputBuffer.getChannelData(0);
      out.fill(0); queue.fill(out);
    };
    this.give = (data) => queue.take(data);
    return node;
  }

  told(data) {
    if (data.delay === undefined) { window.emolibPlayed = data; return; }
    const device_ms = 1000 * (this.speaker.baseLatency + (FIREFOX ? 0 : this.speaker.outputLatency || 0));
    this.model.send({ kind: "began", delay_ms: data.delay, device_ms });
  }

  play(buffer, sent) {
    if (this.deaf || !this.give) return;
    const view = buffer instanceof DataView ? buffer : new DataView(buffer.buffer || buffer);
    this.give({ pcm: new Int16Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)), sent });
  }

  flush() { this.give?.("flush"); }

  // What the kernel sent before it knew of the interruption still arrives: nothing is played until it answers.
  interrupt() { this.deaf = true; this.flush(); }

  interrupted() { this.deaf = false; this.flush(); }

  close() {
    this.stream?.getTracks().forEach((track) => { track.onended = null; track.stop(); });
    this.microphone?.close(); this.speaker?.close();
    this.stream = this.microphone = this.speaker = this.give = null;
  }
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className || ""; made.textContent = text || "";
  return made;
}

function bars(model, into) {
  const scores = model.get("emotions");
  into.replaceChildren(...Object.entries(scores).map(([label, score]) => {
    const row = element("div", "emolib-row"), track = element("div", "emolib-track"), bar = element("div", "emolib-bar");
    bar.style.width = `${100 * score}%`; bar.dataset.emotion = label;
    track.append(bar);
    row.append(element("span", "emolib-name", label), track, element("span", "emolib-value", `${Math.round(100 * score)} %`));
    return row;
  }));
}

function history(model, into) {
  into.replaceChildren(...model.get("history").map((turn) => {
    const item = element("li"), mark = element("span", "emolib-mark");
    mark.dataset.emotion = turn.emotion;
    const broken = turn.interrupted ? " (interrupted)" : "";
    item.append(mark, element("b", "", turn.emotion), ` ${turn.transcript || "(not understood)"} `,
      element("i", "", (turn.reply || "(nothing was heard)") + broken));
    return item;
  }));
}

// The stages of the last turn on one line of time, from the end of the speech on; the playing itself runs out of it.
function waterfall(model, into) {
  const spans = model.get("waterfall"), work = spans.filter((span) => span.stage !== "play");
  if (!work.length) { into.replaceChildren(); return; }
  const first = model.get("first_sound_ms");
  const from = Math.min(0, ...work.map((span) => span.start_ms));
  const to = 1.05 * Math.max(first, ...work.map((span) => span.end_ms));
  const place = (ms) => Math.max(0, Math.min(100, (100 * (ms - from)) / (to - from)));
  const stages = [...new Set([...spans].sort((a, b) => a.start_ms - b.start_ms).map((span) => span.stage))];
  into.replaceChildren(...stages.map((stage) => {
    const row = element("div", "emolib-row"), track = element("div", "emolib-track");
    const own = spans.filter((span) => span.stage === stage);
    for (const span of own) {
      const bar = element("div", "emolib-span"); bar.dataset.stage = stage;
      bar.style.left = `${place(span.start_ms)}%`;
      bar.style.width = `max(2px, ${place(span.end_ms) - place(span.start_ms)}%)`;
      track.append(bar);
    }
    if (first) { const line = element("div", "emolib-first"); line.style.left = `${place(first)}%`; track.append(line); }
    const busy = own.reduce((sum, span) => sum + span.end_ms - span.start_ms, 0);
    row.append(element("span", "emolib-name", stage), track, element("span", "emolib-value", `${Math.round(busy)} ms`));
    return row;
  }));
}

const CHOOSERS = {
  recognizer: ["Recogniser", "whisper:FOLDER, funasr:MODEL, ws://… or http://…/v1"],
  emotion: ["Emotion of the words", "A run folder, an adapter folder, a GGUF file, or the URL of a llama-server"],
  voice_emotion: ["Emotion of the voice", "encoder, recognizer, emotion2vec:FOLDER or off"],
  reply: ["Reply model", "A GGUF file, gpt:MODEL, or the URL of a server, with #MODEL"],
  speech: ["Speech service", "own, fish, or the URL of a service"],
  voice: ["Voice", "A voiceprint of `emolib voice add`, or a voice of the speech service"],
  sound: ["Sound", "Whose microphone and loudspeaker are used"],
};
const ANOTHER = "another …";

// A list of what was found, and for the models a field for what was not.
function chooser(model, name) {
  const [title, hint] = CHOOSERS[name];
  const row = element("label", "emolib-choice"), list = element("select"), field = element("input");
  // The list shows what the kernel has taken, so that a refusal changes nothing.
  const choose = (value) => { field.hidden = true; model.send({ kind: "choose", name, value }); show(); };
  const typed = ["voice", "sound"].includes(name) ? [] : [ANOTHER];
  const show = () => {
    if (!field.hidden) return; // somebody is typing
    const found = [...(model.get("options")[name] || []), ...typed];
    list.replaceChildren(...found.map((value) => { const option = element("option", "", value); option.value = value; return option; }));
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

function render({ model, el }) {
  const root = element("section", "emolib-panel");
  root.setAttribute("aria-label", "Voice conversation");
  // Keys pressed in here are not JupyterLab's, which in its command mode takes Enter, and d d as "delete the cell".
  root.dataset.lmSuppressShortcuts = "true";
  const status = element("p", "emolib-status"); status.setAttribute("role", "status");
  const controls = element("div", "emolib-controls"), meter = element("div", "emolib-meter");
  const level = element("div", "emolib-level"), floor = element("div", "emolib-floor");
  meter.setAttribute("role", "img"); meter.setAttribute("aria-label", "Microphone level"); floor.title = "noise of the room";
  meter.append(level, floor);
  const room = element("div", "emolib-row");
  room.append(element("span", "emolib-name", "microphone"), meter, element("span", "emolib-value"));
  const heard = element("p", "emolib-heard"), reply = element("p", "emolib-reply"), spoken = element("p", "emolib-spoken");
  const emotions = element("div", "emolib-emotions"), felt = element("p", "emolib-felt");
  const latency = element("p", "emolib-latency"), stages = element("div", "emolib-waterfall"), turns = element("ol", "emolib-history");
  const share = (dbfs) => Math.max(0, Math.min(1, 1 + dbfs / 80));
  const measure = (dbfs) => { level.style.transform = `scaleX(${share(dbfs)})`; };
  const sound = new Sound(model, measure, () => say(NO_KERNEL));
  let taken = false;
  const say = (text) => { if (status.textContent !== text) status.textContent = text; };
  // Of the panels in this browser, other kernels' too, the one that was used last has microphone and loudspeaker.
  const others = new BroadcastChannel("emolib-panel");
  const leave = () => { sound.close(); model.send({ kind: "leave", page: sound.page }); };
  const giveWay = () => { if (sound.speaker) { taken = true; leave(); say(TAKEN); } };
  others.onmessage = ({ data }) => { if (data !== model.get("panel")) giveWay(); };
  const begin = (kind) => async () => {
    try {
      if (model.get("chosen").sound !== COMPUTER) await sound.open();
      taken = false;
      others.postMessage(model.get("panel"));
      model.send({ kind, page: sound.page, rate: sound.rate });
    } catch (error) { say(error.message); }
  };
  const tell = (kind) => () => model.send({ kind });
  const button = (name, title, work) => {
    const made = element("button", "", name);
    made.type = "button"; made.title = title; made.onclick = work;
    controls.append(made);
    return made;
  };
  button("Calibrate", "Measure the room: be silent for two seconds", begin("calibrate"));
  const talk = button("Talk", "Start the conversation", begin("talk"));
  button("Interrupt", "Stop the answer", () => { sound.interrupt(); tell("interrupt")(); });
  button("Stop", "End the conversation and release the microphone", () => { sound.close(); tell("stop")(); });
  button("Clear", "Forget the history", tell("clear"));
  button("Save", "Write the turns to a file", tell("save"));
  const upload = element("label", "emolib-upload", "Upload a WAV");
  const file = element("input"); file.type = "file"; file.accept = ".wav,audio/wav";
  file.onchange = async () => {
    const chosen = file.files[0]; if (!chosen) return;
    const limit = model.get("upload_limit");
    if (chosen.size > limit) {
      say(`${chosen.name} has ${Math.round(chosen.size / 1e6)} MB; a recording may have ${limit / 1e6} MB: cut it shorter.`);
    } else {
      try {
        await sound.openSpeaker();
        model.send({ kind: "upload", name: chosen.name }, undefined, [await chosen.arrayBuffer()]);
      } catch (error) { say(`The file could not be sent (${error.message}): try again.`); }
    }
    file.value = "";
  };
  upload.append(file); controls.append(upload);
  const choosers = Object.keys(CHOOSERS).map((name) => chooser(model, name)), choices = element("div", "emolib-choices");
  choices.append(...choosers.map(({ row }) => row));

  const show = {
    status: () => { if (!taken) say(model.get("status")); }, partial: () => { heard.textContent = model.get("partial"); },
    talking: () => talk.setAttribute("aria-pressed", model.get("talking")),
    reply: () => { reply.textContent = model.get("reply"); }, spoken: () => { spoken.textContent = model.get("spoken"); },
    latency: () => { latency.textContent = model.get("latency"); }, waterfall: () => waterfall(model, stages),
    floor_dbfs: () => { floor.style.left = `${100 * share(model.get("floor_dbfs"))}%`;
      room.lastChild.textContent = `${Math.round(model.get("floor_dbfs"))} dB`; room.lastChild.title = floor.title;
    },
    level_dbfs: () => measure(model.get("level_dbfs")),
    delays: () => { latency.title = Object.entries(model.get("delays")).map(([name, ms]) => `${name} ${ms} ms`).join(", "); },
    emotions: () => bars(model, emotions), felt: () => { felt.textContent = model.get("felt"); },
    history: () => history(model, turns),
    options: () => choosers.forEach((one) => one.show()), chosen: () => choosers.forEach((one) => one.show()),
  };
  Object.entries(show).forEach(([name, work]) => { model.on(`change:${name}`, work); work(); });
  const alive = () => {
    sound.answered = performance.now();
    if (status.textContent === NO_KERNEL) say(model.get("status"));
  };
  const message = (content, buffers) => {
    if (content.kind === "sound") sound.play(buffers[0], content.sent);
    else if (content.kind === "flush") sound.interrupted();
    else if (content.kind === "alive") alive();
    else if (content.kind === "taken") { if (content.page !== sound.page) giveWay(); }
    else if (content.kind === "close") sound.close();
  };
  model.on("msg:custom", message);
  const hidden = () => {
    if (document.hidden && sound.stream) say(HIDDEN);
    else if (status.textContent === HIDDEN) say(model.get("status"));
  };
  document.addEventListener("visibilitychange", hidden);
  window.addEventListener("pagehide", leave);
  root.append(controls, choices, status, room, heard, emotions, felt, reply, spoken, latency, stages, turns);
  el.append(root);
  return () => {
    Object.entries(show).forEach(([name, work]) => model.off(`change:${name}`, work));
    model.off("msg:custom", message);
    document.removeEventListener("visibilitychange", hidden);
    window.removeEventListener("pagehide", leave);
    leave(); others.close();
  };
}

export default { render };
