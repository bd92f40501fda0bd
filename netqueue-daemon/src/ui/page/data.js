// What the page knows: polled counts, streamed events, and how fresh both are.

const PERIOD = 2000;
const MANY_PERIOD = 5000;
const MANY = 300;
/** Samples of a listener: 15 minutes at one every two seconds, and what the daemon remembered. */
const SAMPLES = 640;
const EVENTS = 500;
/** What "now" means where a rate is shown. */
export const NOW_SECONDS = 15;

export const state = {
  /** Answers, as the API gives them. */
  status: null,
  listeners: [],
  /** Verdicts and spikes; null until the first answer. */
  diagnosis: null,
  warnings: [],
  coverage: null,
  /** Newest first. */
  events: [],
  /** Events the stream says are missing. */
  streamLost: 0,
  /** `wait` before the first answer, then `live`, `slow` or `gone`. */
  link: "wait",
  streaming: false,
  lastAnswer: 0,
  error: "",
  /** By id: samples `{t, drops, resets, accept}`. */
  history: new Map(),
  started: Date.now(),
};

const watchers = new Set();
let timer = 0;
let waiting = null;

/** Calls `watcher` after each change; gives what ends it. */
export function watch(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

let told = false;
function tell() {
  if (told) return;
  told = true;
  requestAnimationFrame(() => {
    told = false;
    watchers.forEach((watcher) => watcher());
  });
}

/** An answer's JSON, or an error whose message is worth reading. */
export async function ask(path, patience = 10000) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(patience), headers: { accept: "application/json" } });
  const body = await answer.json().catch(() => null);
  if (answer.ok && body) return body;
  throw new Error(body?.error ?? `the daemon answered with status ${answer.status}`);
}

async function poll() {
  clearTimeout(timer);
  const begun = performance.now();
  try {
    const [listeners, status, diagnosis] = await Promise.all(["listeners", "status", "diagnosis"].map((what) => ask(`api/v1/${what}`)));
    state.listeners = listeners.data.listeners;
    state.warnings = listeners.warnings ?? [];
    state.coverage = listeners.coverage ?? null;
    state.status = status.data;
    state.diagnosis = diagnosis.data;
    state.link = "live";
    state.lastAnswer = Date.now();
    state.error = "";
    const first = !state.begun;
    sample(Date.parse(status.data.taken) || Date.now());
    if (first) backfill();
  } catch (error) {
    state.error = error.name === "TimeoutError" ? "it does not answer in time" : error.message;
    state.link = Date.now() - state.lastAnswer > 10000 ? "gone" : "slow";
  }
  if (!state.streaming) await pollEvents();
  tell();
  const pause = state.listeners.length > MANY ? MANY_PERIOD : PERIOD;
  const spent = performance.now() - begun;
  // A slow daemon or a slow network is not asked more often than it can answer.
  if (!document.hidden) timer = setTimeout(poll, Math.max(pause - spent, spent, 250));
}

function sample(now) {
  const seen = new Set();
  for (const listener of state.listeners) {
    seen.add(listener.id);
    let samples = state.history.get(listener.id);
    const point = { t: now, drops: listener.drops.total, resets: listener.resets.total, accept: listener.accept_queue?.length ?? null };
    if (!samples) {
      // Known to the page from the start: nothing can be said of before. New since: it began at zero.
      const fresh = state.history.size > 0 && state.begun;
      samples = fresh ? [{ ...point, t: now - PERIOD, drops: 0, resets: 0 }] : [];
      state.history.set(listener.id, samples);
    }
    // Nothing before the newest is ever looked at twice by time, so equal times would divide by zero.
    if (samples.length && samples.at(-1).t >= now) continue;
    samples.push(point);
    if (samples.length > SAMPLES) {
      samples.shift();
      if (samples.laid) samples.laid -= 1;
    }
  }
  for (const id of state.history.keys()) if (!seen.has(id)) state.history.delete(id);
  state.begun = true;
}

/** The daemon's memory of the last minutes, laid before what the page has seen itself. */
async function backfill() {
  const past = 900;
  const start = Math.floor(Date.parse(state.status.taken) / 1000) - past;
  for (const [measure, what] of [["drop", "drops"], ["reset", "resets"]]) {
    let series;
    try {
      series = (await ask(`api/v1/timeseries?measure=${measure}&step=5&start=${start}`)).data.series;
    } catch {
      // Then history begins with the page.
      return;
    }
    const sums = new Map();
    for (const one of series.filter((entry) => entry.listener)) {
      const known = sums.get(one.listener);
      if (known) one.values.forEach((value, index) => { known.values[index] += value; });
      else sums.set(one.listener, { ...one, values: [...one.values] });
    }
    for (const [id, { start: begin, step, values }] of sums) lay(id, what, begin, step, values);
  }
  tell();
}

/** Turns what was added in each step into running totals that end at the first sample the page took. */
function lay(id, what, begin, step, values) {
  const samples = state.history.get(id);
  if (!samples?.length) return;
  if (!samples.laid) {
    const first = samples[0];
    const times = values.map((_, index) => (begin + (index + 1) * step) * 1000).filter((t) => t < first.t);
    samples.unshift(...times.map((t) => ({ t, drops: first.drops, resets: first.resets, accept: null })));
    samples.laid = times.length;
  }
  let total = samples[samples.laid][what];
  for (let index = samples.laid - 1; index >= 0; index -= 1) {
    samples[index][what] = total;
    total -= values[index] ?? 0;
  }
}

/** Drops or resets a second over the last moments. */
export function rateNow(id, what) {
  const samples = state.history.get(id);
  if (!samples || samples.length < 2) return 0;
  const last = samples.at(-1);
  const first = samples.find((point) => point.t >= last.t - NOW_SECONDS * 1000) ?? last;
  const seconds = (last.t - first.t) / 1000;
  return seconds > 0 ? Math.max(0, last[what] - first[what]) / seconds : 0;
}

/** How much was added in each of `slots` equal parts of the last `seconds`; null where the page was not looking. */
export function buckets(id, what, seconds, slots) {
  const sums = new Array(slots).fill(null);
  const samples = state.history.get(id) ?? [];
  const end = state.status ? Date.parse(state.status.taken) : Date.now();
  const start = end - seconds * 1000;
  for (let index = 1; index < samples.length; index += 1) {
    const point = samples[index];
    if (point.t <= start) continue;
    const slot = Math.min(slots - 1, Math.floor(((point.t - start) / (seconds * 1000)) * slots));
    sums[slot] = (sums[slot] ?? 0) + Math.max(0, point[what] - samples[index - 1][what]);
  }
  return sums;
}

/** The same summed over all accounts. */
export function allBuckets(what, seconds, slots) {
  const sums = new Array(slots).fill(null);
  for (const id of state.history.keys()) {
    buckets(id, what, seconds, slots).forEach((value, slot) => {
      if (value !== null) sums[slot] = (sums[slot] ?? 0) + value;
    });
  }
  return sums;
}

function add(events) {
  const known = new Set(state.events.map((event) => event.seq));
  const fresh = events.filter((event) => event.seq !== undefined && !known.has(event.seq));
  if (!fresh.length) return;
  state.events = [...fresh, ...state.events].sort((a, b) => b.seq - a.seq).slice(0, EVENTS);
  tell();
}

async function pollEvents() {
  try {
    add((await ask("api/v1/events?limit=100")).data.events);
  } catch {
    // The counts' poll says what is wrong.
  }
}

/** Queued, so that an event storm redraws the page a few times a second, not thousands of times. */
function streamed(event) {
  if (waiting) return void waiting.push(event);
  waiting = [event];
  setTimeout(() => {
    const all = waiting.slice(-EVENTS);
    waiting = null;
    add(all);
  }, 250);
}

function stream() {
  const source = new EventSource("api/v1/events/stream");
  const read = (message) => {
    try {
      streamed(JSON.parse(message.data));
    } catch {
      state.streamLost += 1;
    }
  };
  for (const kind of ["drop", "reset"]) source.addEventListener(kind, read);
  source.addEventListener("lost", (message) => {
    try {
      const lost = JSON.parse(message.data);
      // `null` says that it is not known how many: at least one.
      state.streamLost += Number(lost.events ?? 1);
    } catch {
      state.streamLost += 1;
    }
    tell();
  });
  source.onopen = () => {
    state.streaming = true;
    // What happened between the last look and the stream's beginning.
    pollEvents();
    tell();
  };
  source.onerror = () => {
    state.streaming = false;
    // The browser tries again by itself, unless it was refused; then polling goes on and the stream is tried later.
    if (source.readyState === EventSource.CLOSED) setTimeout(stream, 15000);
    tell();
  };
}

/** Begins to look, and goes on while the page is seen. */
export function start() {
  poll();
  pollEvents();
  stream();
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) poll();
  });
  setInterval(tell, 5000);
}
