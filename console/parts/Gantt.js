/* Rows of spans on one axis of time. x is a share of the width, so nothing is drawn anew when the page changes size. */
import { span, timeWithSeconds } from "../lib/format.js";
import { html } from "../lib/ui.js";
import { Icon } from "./Icon.js";

const TICKS = [0, 25, 50, 75, 100];

/** `rows`: {label, inner, begin, end, tone, failed, open, words}; begin and end in milliseconds, null: not reached. */
export function Gantt({ rows, label }) {
  const reached = rows.filter((row) => row.begin !== null);
  const begin = Math.min(...reached.map((row) => row.begin));
  const end = Math.max(...reached.map((row) => row.end), begin + 1);
  const x = (moment) => ((moment - begin) / (end - begin)) * 100;
  return html`<div class="gantt"><p class="unseen">${label}</p>
    <div class="gantt-row axis" aria-hidden="true"><span></span><div class="gantt-axis"><span>${timeWithSeconds(begin)}</span><span class="middle">+${span((end - begin) / 2)}</span><span>${timeWithSeconds(end)}</span></div><span></span></div>
    ${rows.map((row) => html`<div class="gantt-row"><span class=${row.inner ? "gantt-label inner" : "gantt-label"}>${row.label}</span>
      <div class="gantt-track"><svg width="100%" height="24" aria-hidden="true">${TICKS.map((at) => html`<line x1="${at}%" x2="${at}%" y1="0" y2="24" class="gantt-tick" />`)}
        ${row.begin !== null && html`<rect x="${x(row.begin)}%" y="7" width="${Math.max(0.8, x(row.end) - x(row.begin))}%" height="10" rx="2" class="fill-${row.tone}" />`}</svg>
        ${row.failed && html`<span class="gantt-end bad" style=${{ left: `${Math.min(96, x(row.end))}%` }}><${Icon} name="bad" size=${14} label="failed" /></span>`}</div>
      <span class="gantt-words">${row.words}</span></div>`)}</div>`;
}

/** The rows of a job's timeline: the wait, each attempt, the stages of the last one. */
export function rowsOf(timeline, words, now = Date.now()) {
  const at = (moment) => (moment ? Date.parse(moment) : null);
  const stages = timeline.stages;
  const attempts = timeline.attempts.filter((each) => each.started_at);
  const rows = [];
  const created = stages.find((each) => each.stage === "created");
  if (created) {
    const until = at(attempts[0]?.started_at) ?? at(stages.find((each) => ["cancelled", "failed"].includes(each.stage))?.at) ?? now;
    rows.push({ label: words.created, begin: at(created.at), end: until, tone: "idle", words: span(until - at(created.at)) });
  }
  const several = attempts.length > 1;
  for (const each of attempts) {
    const end = at(each.ended_at) ?? now;
    const failed = Boolean(each.error);
    if (several || failed) rows.push({ label: `Attempt ${each.n}`, begin: at(each.started_at), end, tone: "run", failed, words: span(end - at(each.started_at)) });
  }
  const last = attempts.at(-1);
  if (last) {
    const own = stages.filter((each) => each.attempt === last.n);
    const ends = ["completed", "failed", "cancelled"];
    own.filter((each) => !ends.includes(each.stage)).forEach((each) => {
      const place = own.indexOf(each);
      const next = own[place + 1];
      const end = at(next?.at) ?? at(last.ended_at) ?? now;
      const failed = Boolean(last.error) && (!next || ends.includes(next.stage));
      rows.push({ label: words[each.stage] ?? each.stage, inner: several || Boolean(last.error), begin: at(each.at), end, tone: failed ? "bad" : "run", failed, words: span(end - at(each.at)) });
    });
  }
  return rows;
}
