// Plays versions of one recording in lockstep: all run, one is audible.

const RAMP_S = 0.008; // of a switch: long enough not to click, too short to be heard as a fade
const AHEAD_S = 0.02;

/** Sources that start at the same sample; switching changes gains, never positions. */
class Lockstep {
  constructor(context, buffers, gains, heard) {
    this.context = context;
    this.master = new GainNode(context, { gain: 1 });
    this.master.connect(context.destination);
    this.gains = gains;
    this.heard = heard;
    this.strands = buffers.map((buffer, index) => {
      const source = new AudioBufferSourceNode(context, { buffer });
      const gain = new GainNode(context, { gain: index === heard ? gains[index] : 0 });
      source.connect(gain).connect(this.master);
      return { source, gain };
    });
  }

  start(when, offset, loop) {
    for (const { source } of this.strands) {
      if (loop) Object.assign(source, { loop: true, loopStart: loop[0], loopEnd: loop[1] });
      source.start(when, offset);
    }
    this.master.gain.setValueAtTime(0, when);
    this.master.gain.linearRampToValueAtTime(1, when + RAMP_S);
  }

  /** Cross-fade to another version; their common part passes unchanged. */
  select(heard, when, gains = this.gains) {
    this.heard = heard;
    this.gains = gains;
    this.strands.forEach(({ gain }, index) => {
      const target = index === heard ? gains[index] : 0;
      gain.gain.cancelScheduledValues(when);
      gain.gain.setValueAtTime(gain.gain.value, when);
      gain.gain.linearRampToValueAtTime(target, when + RAMP_S);
    });
  }

  stop() {
    const now = this.context.currentTime;
    this.master.gain.cancelScheduledValues(now);
    this.master.gain.setValueAtTime(this.master.gain.value, now);
    this.master.gain.linearRampToValueAtTime(0, now + RAMP_S);
    for (const { source } of this.strands) source.stop(now + RAMP_S);
  }
}

class Player extends EventTarget {
  context = null;
  buffers = [];
  gains = [];
  heard = 0;
  offset = 0;
  loop = null; // [from, to] in seconds
  running = null;
  startedAt = 0;
  rate = 0;

  get playing() { return this.running !== null; }
  get duration() { return this.buffers.length ? Math.max(...this.buffers.map((buffer) => buffer.duration)) : 0; }

  /** Replace the versions; playback stops. */
  load(buffers, gains, heard, rate) {
    this.pause();
    Object.assign(this, { buffers, gains, rate, heard: Math.max(Math.min(heard, buffers.length - 1), 0), offset: 0, loop: null });
    this.changed();
  }

  /** Position of the audio playing now, in seconds. */
  position() {
    if (!this.running) return this.offset;
    const passed = Math.max(this.context.currentTime - this.startedAt, 0);
    const at = this.offset + passed;
    if (this.loop && at >= this.loop[1]) {
      const [from, to] = this.loop;
      return from + ((at - from) % (to - from));
    }
    return Math.min(at, this.duration);
  }

  async play() {
    if (this.playing || !this.buffers.length) return;
    if (this.context?.sampleRate !== this.rate) {
      await this.context?.close();
      this.context = new AudioContext({ sampleRate: this.rate, latencyHint: "interactive" });
    }
    await this.context.resume();
    if (!this.loop && this.offset >= this.duration - 0.01) this.offset = 0;
    if (this.loop && (this.offset < this.loop[0] || this.offset >= this.loop[1])) this.offset = this.loop[0];
    const running = new Lockstep(this.context, this.buffers, this.gains, this.heard);
    this.startedAt = this.context.currentTime + AHEAD_S;
    running.start(this.startedAt, this.offset, this.loop);
    running.strands[0].source.onended = () => {
      if (this.running !== running) return;
      this.running = null;
      this.offset = this.duration;
      this.changed();
    };
    this.running = running;
    this.changed();
  }

  pause() {
    if (!this.running) return;
    this.offset = this.position();
    this.running.stop();
    this.running = null;
    this.changed();
  }

  toggle() { return this.playing ? this.pause() : this.play(); }

  select(heard) {
    if (heard < 0 || heard >= this.buffers.length) return;
    this.heard = heard;
    this.running?.select(heard, this.context.currentTime, this.gains);
    this.changed();
  }

  setGains(gains) {
    this.gains = gains;
    this.select(this.heard);
  }

  seek(seconds) { this.restart(() => { this.offset = Math.min(Math.max(seconds, 0), this.duration); }); }

  setLoop(loop) { this.restart(() => { this.loop = loop; }); }

  restart(change) {
    const was = this.playing;
    this.pause();
    change();
    if (was) this.play();
    else this.changed();
  }

  changed() { this.dispatchEvent(new Event("change")); }
}
