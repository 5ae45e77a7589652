// Sound in the page: microphone to the kernel as 16 kHz int16 blocks, sound from the kernel without gaps.

// A text of the table, with its values, that the user is to read.
export class Trouble extends Error {
  constructor(key, values = {}) { super(key); this.key = key; this.values = values; }
}

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
export class Queue {
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

// What a browser says when it gives no microphone, and the text that explains it.
const REFUSALS = { NotAllowedError: "refused", NotFoundError: "no_microphone", NotReadableError: "microphone_in_use" };

const PATIENCE_MS = 5000;
// Its outputLatency asks PulseAudio with a lock in hand for which PulseAudio's own callback may wait: the page hangs.
const FIREFOX = globalThis.navigator?.userAgent.includes("Firefox");

async function worklet(context, code, name) {
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  try { await context.audioWorklet.addModule(url); } finally { URL.revokeObjectURL(url); }
  return new AudioWorkletNode(context, name);
}

export class Sound {
  constructor(model, onLevel, onSilence) {
    this.model = model; this.onLevel = onLevel; this.onSilence = onSilence; this.number = this.loudest = 0; this.deaf = false;
    this.page = Math.random();
  }

  async open() {
    if (!window.isSecureContext || !navigator.mediaDevices) throw new Trouble("plain_http");
    if (document.featurePolicy?.allowsFeature("microphone") === false) throw new Trouble("forbidden");
    await this.openSpeaker();
    if (this.stream) return;
    try {
      this.stream = await navigator.mediaDevices.getUserMedia(
        { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 } });
    } catch (error) { throw new Trouble(REFUSALS[error.name] || "microphone_failed", { error: error.message }); }
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
    if (!window.AudioContext) throw new Trouble("no_web_audio");
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
