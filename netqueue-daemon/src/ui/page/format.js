// Numbers, times and places as people read them.

const whole = new Intl.NumberFormat("en");

/** `1,234,567`. */
export const count = (number) => whole.format(number);

/** A rate per second with two digits that matter: `0.3`, `4.2`, `120`. */
export function rate(perSecond) {
  if (perSecond === 0) return "0";
  if (perSecond < 0.1) return "<0.1";
  return perSecond < 10 ? perSecond.toFixed(1) : whole.format(Math.round(perSecond));
}

/** `one drop`, `2 drops`. */
export const plural = (number, noun) => (number === 1 ? `one ${noun}` : `${count(number)} ${noun}s`);

/** `0.0.0.0:80`, `[::]:80`, or what stands for many. */
export function place({ addr, port }) {
  const host = addr?.includes(":") ? `[${addr}]` : addr;
  if (host && port !== null && port !== undefined) return `${host}:${port}`;
  if (host) return `${host}:*`;
  return port === null || port === undefined ? "others" : `*:${port}`;
}

/** `02:06:46` in the reader's time. */
export function clock(time, millis = false) {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return String(time);
  const text = at.toLocaleTimeString("en-GB", { hour12: false });
  return millis ? `${text}.${String(at.getMilliseconds()).padStart(3, "0")}` : text;
}

/** `45 s`, `12 min`, `3 h 20 min`, `9 days`. */
export function span(seconds) {
  const all = Math.max(0, Math.round(seconds));
  if (all < 120) return `${all} s`;
  const minutes = Math.floor(all / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} days`;
}

/** `just now`, `12 s ago`. */
export function ago(time, now) {
  const seconds = (now - Date.parse(time)) / 1000;
  if (Number.isNaN(seconds)) return "";
  return seconds < 3 ? "just now" : `${span(seconds)} ago`;
}

/** Seconds as a waiting time: `120 µs`, `3.4 ms`, `1.2 s`. */
export function wait(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  return `${seconds.toFixed(1)} s`;
}
