/* How fast a run goes, from what was seen of it: per second, and the time left. */
const seen = new Map();
const LONGEST = 60_000;

/** `{perSecond, left}` of a running job: items or bytes a second, milliseconds left; null while too little is known. */
export function rateOf(job) {
  const { percent, rows, bytes } = job.progress;
  const now = { at: Date.now(), percent, rows, bytes };
  const known = (seen.get(job.id) ?? []).filter((each) => now.at - each.at < LONGEST);
  const last = known.at(-1);
  if (!last || last.percent !== percent || last.rows !== rows || last.bytes !== bytes) known.push(now);
  seen.set(job.id, known);
  if (seen.size > 500) seen.delete(seen.keys().next().value);
  const first = known[0];
  const passed = now.at - first.at;
  if (passed < 1500 || percent <= first.percent) return { perSecond: null, unit: null, left: null };
  const moved = rows > first.rows ? rows - first.rows : bytes - first.bytes;
  return {
    perSecond: (moved / passed) * 1000, unit: rows > first.rows ? "rows" : "bytes",
    left: percent > 0 && percent < 100 ? ((100 - percent) * passed) / (percent - first.percent) : null,
  };
}
