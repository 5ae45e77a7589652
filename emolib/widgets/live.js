// The panel in the page: microphone to the kernel as 16 kHz int16 blocks, sound from the kernel without gaps.

const MICROPHONE = `
registerProcessor("emolib-microphone", class extends AudioWorkletProcessor {
  constructor() { super(); this.block = new Int16Array(512); this.filled = 0; this.power = 0; }
  process([[samples]]) {
    for (const sample of samples || []) {
      const value = Math.max(-1, Math.min(1, sample));
      this.power += value * value;
      this.block[this.filled++] = Math.round(value * 32767);
      if (this.filled < this.block.length) continue;
      const pcm = this.block;
      this.port.postMessage({ pcm, power: this.power / pcm.length }, [pcm.buffer]);
      this.block = new Int16Array(512); this.filled = 0; this.power = 0;
    }
    return true;
  }
});`;

const SPEAKER = `
registerProcessor("emolib-speaker", class extends AudioWorkletProcessor {
  constructor() {
    super(); this.queue = []; this.place = 0; this.played = 0; this.power = 0; this.told = 0; this.began = null;
    this.port.onmessage = ({ data }) => {
      if (data === "flush") { this.queue = []; this.place = 0; return; }
      if (!this.queue.length) this.began = data.sent;
      this.queue.push(data.pcm);
    };
  }
  process(_, [[out]]) {
    if (this.queue.length && this.began) { this.port.postMessage({ began: this.began }); this.began = null; }
    for (let i = 0; i < out.length && this.queue.length; i++) {
      const value = this.queue[0][this.place++] / 32768;
      out[i] = value; this.power += value * value; this.played++;
      if (this.place >= this.queue[0].length) { this.queue.shift(); this.place = 0; }
    }
    if (this.played - this.told >= 1024 || (this.played > this.told && !this.queue.length)) {
      this.told = this.played;
      this.port.postMessage({ played: this.played, power: this.power });
    }
    return true;
  }
});`;

const REFUSALS = {
  NotAllowedError: "The browser refused the microphone: allow it beside the page's address, then press Talk again.",
  NotFoundError: "No microphone was found: connect one and press Talk again, or upload a WAV file.",
  NotReadableError: "Another program holds the microphone: close it there, then press Talk again.",
};

const PATIENCE_MS = 5000;
const NO_KERNEL = "The kernel does not answer: where a cell runs, wait for it; after a restart, run the panel's cell again.";

async function worklet(context, code, name) {
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  try { await context.audioWorklet.addModule(url); } finally { URL.revokeObjectURL(url); }
  return new AudioWorkletNode(context, name);
}

class Sound {
  constructor(model, onLevel, onSilence) {
    this.model = model; this.onLevel = onLevel; this.onSilence = onSilence; this.number = 0; this.deaf = false;
    this.page = Math.random();
  }

  async open() {
    if (!window.isSecureContext || !navigator.mediaDevices) {
      throw new Error("Browsers give the microphone to https:// or localhost only: open this page there, "
        + "or upload a WAV file.");
    }
    await this.openSpeaker();
    if (this.stream) return;
    try {
      this.stream = await navigator.mediaDevices.getUserMedia(
        { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 } });
    } catch (error) { throw new Error(REFUSALS[error.name] || `The microphone failed (${error.message}): try again.`); }
    this.answered = performance.now();
    this.microphone = new AudioContext({ sampleRate: 16000 });
    const node = await worklet(this.microphone, MICROPHONE, "emolib-microphone");
    this.microphone.createMediaStreamSource(this.stream).connect(node);
    node.port.onmessage = ({ data }) => {
      this.onLevel(10 * Math.log10(Math.max(data.power, 1e-10)));
      if (performance.now() - this.answered > PATIENCE_MS) this.onSilence();
      this.model.send({ kind: "sound", number: this.number++, page: this.page, sent: Date.now() }, undefined, [data.pcm.buffer]);
    };
    this.stream.getTracks()[0].onended = () => this.model.send({ kind: "lost" });
  }

  async openSpeaker() {
    if (!this.speaker) {
      this.speaker = new AudioContext({ sampleRate: this.model.get("sample_rate") });
      this.player = await worklet(this.speaker, SPEAKER, "emolib-speaker");
      this.player.connect(this.speaker.destination);
      this.player.port.onmessage = ({ data }) => {
        if (data.began) this.model.send({ kind: "began", delay_ms: Date.now() - data.began });
        else window.emolibPlayed = data;
      };
    }
    await this.speaker.resume();
  }

  play(buffer, sent) {
    if (this.deaf) return;
    const view = buffer instanceof DataView ? buffer : new DataView(buffer.buffer || buffer);
    const pcm = new Int16Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
    this.player?.port.postMessage({ pcm, sent }, [pcm.buffer]);
  }

  flush() { this.player?.port.postMessage("flush"); }

  // What the kernel sent before it knew of the interruption still arrives: nothing is played until it answers.
  interrupt() { this.deaf = true; this.flush(); }

  interrupted() { this.deaf = false; this.flush(); }

  close() {
    this.stream?.getTracks().forEach((track) => { track.onended = null; track.stop(); });
    this.microphone?.close(); this.speaker?.close();
    this.stream = this.microphone = this.speaker = this.player = null;
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
    const item = element("li");
    item.append(element("b", "", turn.emotion), ` ${turn.transcript || "(not understood)"} `, element("i", "", turn.reply || "(nothing was heard)"));
    return item;
  }));
}

function render({ model, el }) {
  const root = element("section", "emolib-panel");
  root.setAttribute("aria-label", "Voice conversation");
  const status = element("p", "emolib-status"); status.setAttribute("role", "status");
  const controls = element("div", "emolib-controls"), meter = element("div", "emolib-meter");
  const level = element("div", "emolib-level"), floor = element("div", "emolib-floor");
  meter.setAttribute("aria-label", "Microphone level"); floor.title = "noise of the room";
  meter.append(level, floor);
  const room = element("div", "emolib-row");
  room.append(element("span", "emolib-name", "microphone"), meter, element("span", "emolib-value"));
  const heard = element("p", "emolib-heard"), reply = element("p", "emolib-reply"), spoken = element("p", "emolib-spoken");
  const emotions = element("div", "emolib-emotions"), latency = element("p", "emolib-latency"), turns = element("ol", "emolib-history");
  const column = (dbfs) => `${Math.max(0, Math.min(100, 100 * (1 + dbfs / 80)))}%`;
  const sound = new Sound(model, (dbfs) => { level.style.width = column(dbfs); }, () => say(NO_KERNEL));
  const say = (text) => { status.textContent = text; };

  const begin = (kind) => async () => {
    try { await sound.open(); model.send({ kind, page: sound.page }); } catch (error) { say(error.message); }
  };
  const button = (name, title, work) => {
    const made = element("button", "", name);
    made.type = "button"; made.title = title; made.onclick = work;
    controls.append(made);
  };
  button("Calibrate", "Measure the room: be silent for two seconds", begin("calibrate"));
  button("Talk", "Start the conversation", begin("talk"));
  button("Interrupt", "Stop the answer", () => { sound.interrupt(); model.send({ kind: "interrupt" }); });
  button("Stop", "End the conversation and release the microphone", () => { sound.close(); model.send({ kind: "stop" }); });
  button("Clear", "Forget the history", () => model.send({ kind: "clear" }));
  button("Save", "Write the turns to a file", () => model.send({ kind: "save" }));
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

  const show = {
    status: () => say(model.get("status")), partial: () => { heard.textContent = model.get("partial"); },
    reply: () => { reply.textContent = model.get("reply"); }, spoken: () => { spoken.textContent = model.get("spoken"); },
    latency: () => { latency.textContent = model.get("latency"); },
    floor_dbfs: () => { floor.style.left = column(model.get("floor_dbfs"));
      room.lastChild.textContent = `${Math.round(model.get("floor_dbfs"))} dB`; room.lastChild.title = floor.title;
    },
    delays: () => { latency.title = Object.entries(model.get("delays")).map(([name, ms]) => `${name} ${ms} ms`).join(", "); },
    emotions: () => bars(model, emotions), history: () => history(model, turns),
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
    else if (content.kind === "close") sound.close();
  };
  model.on("msg:custom", message);
  const hidden = () => { if (document.hidden && sound.stream) say("The tab is in the background: the microphone stays open; Stop releases it."); };
  document.addEventListener("visibilitychange", hidden);
  root.append(controls, status, room, heard, emotions, reply, spoken, latency, turns);
  el.append(root);
  return () => {
    Object.entries(show).forEach(([name, work]) => model.off(`change:${name}`, work));
    model.off("msg:custom", message);
    document.removeEventListener("visibilitychange", hidden);
    sound.close(); model.send({ kind: "stop" });
  };
}

export default { render };
