/* Numbers, sizes and moments as people read them. */
export const number = (value) => (value === null || value === undefined ? "" : value.toLocaleString("en-US"));

export const many = (count, one, several = `${one}s`) => `${number(count)} ${count === 1 ? one : several}`;

export function bytes(value) {
  if (value === null || value === undefined) return "";
  let size = value;
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (size < 1000 || unit === "TB") return `${unit === "B" || size >= 100 ? Math.round(size) : size.toFixed(1)} ${unit}`;
    size /= 1000;
  }
  return "";
}

/** A span in words of at most two parts; `milliseconds` may be null. */
export function span(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return "";
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return seconds < 10 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return two(whole, 60, "min", "s");
  if (whole < 86400 * 2) return two(Math.round(whole / 60), 60, "h", "min");
  return two(Math.round(whole / 3600), 24, "days", "h");
}

function two(value, size, large, small) {
  const rest = value % size;
  return rest ? `${Math.floor(value / size)} ${large} ${rest} ${small}` : `${Math.floor(value / size)} ${large}`;
}

/** The same, only its larger part. */
export function roughly(milliseconds) {
  const seconds = Math.round(Math.abs(milliseconds) / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 86400 * 2) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

const at = (moment) => (moment instanceof Date ? moment : new Date(moment));

/** "16 min ago", "in 3 h". */
export function relative(moment, now = Date.now()) {
  const away = at(moment) - now;
  if (Math.abs(away) < 1500) return "now";
  return away < 0 ? `${roughly(away)} ago` : `in ${roughly(away)}`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "UTC" });
const seconds = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone: "UTC" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const year = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

export const time = (moment) => clock.format(at(moment));
export const timeWithSeconds = (moment) => seconds.format(at(moment));
export const date = (moment) => (at(moment).getUTCFullYear() === new Date().getUTCFullYear() ? day : year).format(at(moment));
export const exact = (moment) => `${date(moment)} ${timeWithSeconds(moment)} UTC`;

/** In a list: a span today, the time of the last day, else the date. */
export function short(moment, now = Date.now()) {
  const away = now - at(moment);
  if (away < 3600_000) return roughly(away);
  return away < 86400_000 ? time(moment) : date(moment);
}

export const percent = (share, digits = 1) => `${(share * 100).toFixed(share === 1 ? 0 : digits)} %`;

export const dollars = (value) => (value === null || value === undefined ? "" : `$${value < 1 ? value.toFixed(4) : value.toFixed(2)}`);

/** Control characters and marks of direction become visible, so that a name cannot dress up as another. */
export const plain = (text) => String(text ?? "").replace(
  /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
  (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`,
);

/** The API's form of an id in a path. */
export function pathId(id) {
  if (/^[A-Za-z0-9._-]+$/.test(id) || /^~/.test(id)) return encodeURIComponent(id);
  const raw = String.fromCharCode(...new TextEncoder().encode(id));
  return `~${btoa(raw).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}
