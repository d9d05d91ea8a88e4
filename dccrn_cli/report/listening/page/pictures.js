// Spectrograms, waveforms and curves on canvases.

const RANGE_DB = 80;
const STOPS = {
  dark: ["#07090c", "#131d3c", "#46277a", "#a0327f", "#e8594f", "#fda44a", "#fff3c4"],
  light: ["#ffffff", "#e3ecf7", "#b4cfe8", "#6fa3d3", "#2f6db0", "#173f7f", "#0a1433"],
};
const darkTheme = matchMedia("(prefers-color-scheme: dark)");

const palettes = Object.fromEntries(Object.entries(STOPS).map(([name, stops]) => {
  const rgb = stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));
  const table = new Uint32Array(256);
  for (let level = 0; level < 256; level++) {
    const place = (level / 255) * (rgb.length - 1);
    const low = Math.min(Math.floor(place), rgb.length - 2);
    const [r, g, b] = rgb[low].map((value, index) => Math.round(value + (rgb[low + 1][index] - value) * (place - low)));
    table[level] = 0xff000000 | (b << 16) | (g << 8) | r;
  }
  return [name, table];
}));

/** In-place FFT of a power of two. */
class Fft {
  constructor(size) {
    this.size = size;
    this.cos = Float32Array.from({ length: size / 2 }, (_, k) => Math.cos((2 * Math.PI * k) / size));
    this.sin = Float32Array.from({ length: size / 2 }, (_, k) => Math.sin((2 * Math.PI * k) / size));
    const bits = Math.log2(size);
    this.reversed = Uint16Array.from({ length: size }, (_, index) => {
      let value = 0;
      for (let bit = 0; bit < bits; bit++) value |= ((index >> bit) & 1) << (bits - 1 - bit);
      return value;
    });
    this.window = Float32Array.from({ length: size }, (_, k) => 0.5 - 0.5 * Math.cos((2 * Math.PI * k) / size));
    this.re = new Float32Array(size);
    this.im = new Float32Array(size);
  }

  /** Power of each bin of the windowed frame centred at a sample. */
  power(samples, centre, out) {
    const { size, re, im, reversed, window } = this;
    const first = Math.round(centre) - size / 2;
    for (let k = 0; k < size; k++) {
      re[reversed[k]] = (samples[first + k] ?? 0) * window[k];
      im[reversed[k]] = 0;
    }
    for (let half = 1; half < size; half *= 2) {
      const step = size / (2 * half);
      for (let start = 0; start < size; start += 2 * half) {
        for (let k = 0; k < half; k++) {
          const [i, j] = [start + k, start + k + half];
          const [c, s] = [this.cos[k * step], this.sin[k * step]];
          const [x, y] = [re[j] * c + im[j] * s, im[j] * c - re[j] * s];
          re[j] = re[i] - x; im[j] = im[i] - y;
          re[i] += x; im[i] += y;
        }
      }
    }
    for (let k = 0; k <= size / 2; k++) out[k] = re[k] * re[k] + im[k] * im[k];
  }
}

const mel = (hz) => Math.log1p(hz / 700);
const hz = (value) => 700 * Math.expm1(value);

/** Mean of the channels. */
function mono(buffer) {
  if (buffer.numberOfChannels === 1) return buffer.getChannelData(0);
  const mixed = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const data = buffer.getChannelData(channel);
    for (let k = 0; k < data.length; k++) mixed[k] += data[k] / buffer.numberOfChannels;
  }
  return mixed;
}

const transforms = new Map();
function transformFor(rate) {
  const size = 2 ** Math.round(Math.log2(rate * 0.032));
  if (!transforms.has(size)) transforms.set(size, new Fft(size));
  return transforms.get(size);
}

/** The highest level of any version in dB, which is the top of their common scale. */
function topLevel(signals, rate) {
  const fft = transformFor(rate);
  const power = new Float32Array(fft.size / 2 + 1);
  let top = 1e-12;
  for (const samples of signals) {
    for (let at = 0; at < samples.length; at += fft.size) {
      fft.power(samples, at, power);
      for (const value of power) if (value > top) top = value;
    }
  }
  return 10 * Math.log10(top);
}

/** Fit a canvas to its box; returns its context and its size in device pixels. */
function fitted(canvas) {
  const scale = Math.min(devicePixelRatio || 1, 2);
  const width = Math.max(Math.round(canvas.clientWidth * scale), 1);
  const height = Math.max(Math.round(canvas.clientHeight * scale), 1);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  return { context, width, height, scale };
}

function drawSpectrogram(canvas, samples, rate, [from, to], topDb) {
  const { context, width, height } = fitted(canvas);
  const fft = transformFor(rate);
  const power = new Float32Array(fft.size / 2 + 1);
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const table = palettes[darkTheme.matches ? "dark" : "light"];
  const highest = mel(rate / 2);
  const edges = Float32Array.from({ length: height + 1 }, (_, row) => (hz(highest * (1 - row / height)) * fft.size) / rate);
  for (let x = 0; x < width; x++) {
    fft.power(samples, (from + ((to - from) * (x + 0.5)) / width) * rate, power);
    for (let y = 0; y < height; y++) {
      const [low, high] = [edges[y + 1], edges[y]];
      let value = 0;
      if (high - low < 1) {
        const bin = Math.min(Math.floor((low + high) / 2), power.length - 2);
        const share = (low + high) / 2 - bin;
        value = power[bin] * (1 - share) + power[bin + 1] * share;
      } else {
        for (let bin = Math.floor(low); bin <= high && bin < power.length; bin++) value = Math.max(value, power[bin]);
      }
      const level = (10 * Math.log10(value + 1e-20) - topDb + RANGE_DB) / RANGE_DB;
      pixels[y * width + x] = table[Math.min(Math.max(Math.round(level * 255), 0), 255)];
    }
  }
  context.putImageData(image, 0, 0);
}

/** Frequencies to mark, each with its height as a share from the top. */
function frequencyMarks(rate) {
  return [500, 1000, 2000, 4000, 8000, 16000].filter((mark) => mark < rate * 0.47)
    .map((mark) => ({ label: mark < 1000 ? `${mark} Hz` : `${mark / 1000} kHz`, top: 1 - mel(mark) / mel(rate / 2) }));
}

/** Draw overlaid waveforms, each in its colour. */
function drawWaves(canvas, waves) {
  const { context, width, height } = fitted(canvas);
  const peak = Math.max(...waves.map(({ samples }) => samples.reduce((most, value) => Math.max(most, Math.abs(value)), 0)), 1e-6);
  for (const { samples, colour } of waves) {
    context.fillStyle = colour;
    for (let x = 0; x < width; x++) {
      const [start, stop] = [x, x + 1].map((at) => Math.floor((at * samples.length) / width));
      let [low, high] = [0, 0];
      for (let k = start; k < stop; k++) {
        if (samples[k] < low) low = samples[k];
        if (samples[k] > high) high = samples[k];
      }
      const top = ((1 - high / peak) * height) / 2;
      context.fillRect(x, top, 1, Math.max(((high - low) / peak) * height / 2, 1));
    }
  }
}

/** Draw the level change relative to the first signal in dB over time, one line per other signal. */
function drawRemoved(canvas, noisy, others, rate, [from, to]) {
  const { context, width, height, scale } = fitted(canvas);
  const [highest, lowest] = [6, -42];
  const y = (db) => ((highest - Math.min(Math.max(db, lowest), highest)) / (highest - lowest)) * height;
  const style = getComputedStyle(document.documentElement);
  context.font = `${10.5 * scale}px system-ui, sans-serif`;
  for (const mark of [0, -12, -24, -36]) {
    context.fillStyle = style.getPropertyValue("--line");
    context.fillRect(0, y(mark), width, 1);
    context.fillStyle = style.getPropertyValue("--muted");
    context.fillText(mark === 0 ? "0 dB" : `−${-mark}`, 4 * scale, y(mark) - 3 * scale);
  }
  const span = Math.max(Math.round(0.05 * rate), 1);
  const level = (samples, centre) => {
    let sum = 1e-10 * span;
    for (let k = Math.round(centre - span / 2), end = k + span; k < end; k++) sum += (samples[k] ?? 0) ** 2;
    return 10 * Math.log10(sum / span);
  };
  const step = 2 * scale;
  for (const { samples, colour } of others) {
    context.beginPath();
    for (let x = 0; x <= width; x += step) {
      const centre = (from + ((to - from) * x) / width) * rate;
      context.lineTo(x, y(level(samples, centre) - level(noisy, centre)));
    }
    Object.assign(context, { strokeStyle: colour, lineWidth: 1.6 * scale, lineJoin: "round" });
    context.stroke();
  }
}
