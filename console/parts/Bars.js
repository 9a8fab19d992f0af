/* Runs per day: what was done above the line, what failed below it on a scale of its own. */
import { date, number } from "../lib/format.js";
import { html, useState } from "../lib/ui.js";

const UP = 84, DOWN = 34, BASE_LINE = 92;

function round(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= most) ?? most;
}

/** `days`: {day, completed, cancelled, failed, unfinished}. */
export function Bars({ days, label }) {
  const [table, setTable] = useState(false);
  const most = round(Math.max(2, ...days.map((day) => day.completed + day.cancelled + day.unfinished)));
  const worst = Math.max(1, ...days.map((day) => day.failed));
  const step = 100 / days.length;
  const y = (count) => (count / most) * UP;
  return html`<div class="chart">${table ? html`<div class="days"><table class="table"><caption class="unseen">${label}</caption><thead><tr><th scope="col">Day</th><th scope="col" class="num">Completed</th><th scope="col" class="num">Cancelled</th><th scope="col" class="num">Failed</th></tr></thead>
      <tbody>${days.toReversed().map((day) => html`<tr><td>${date(day.day)}</td><td class="num">${number(day.completed)}</td><td class="num">${number(day.cancelled)}</td><td class="num">${number(day.failed)}</td></tr>`)}</tbody></table></div>`
    : html`<div class="chart-in"><svg width="30" height="136" aria-hidden="true">${[0, 0.5, 1].map((share) => html`<text x="0" y=${BASE_LINE - share * UP + 4}>${number(Math.round(most * share))}</text>`)}</svg>
      <svg class="grow" height="136" role="img" aria-label=${label}>${[0, 0.5, 1].map((share) => html`<line x1="0" x2="100%" y1=${BASE_LINE - share * UP} y2=${BASE_LINE - share * UP} />`)}
        ${days.map((day, n) => {
          const x = `${n * step + step * 0.14}%`, width = `${step * 0.72}%`;
          const done = day.completed ? Math.max(2, y(day.completed)) : 0;
          const rest = day.cancelled ? Math.max(2, y(day.cancelled)) : 0;
          const failed = day.failed ? Math.max(6, (day.failed / worst) * (DOWN - 12)) : 0;
          return html`<g>${done > 0 && html`<rect class="fill-ok" x=${x} y=${BASE_LINE - done} width=${width} height=${done} rx="1" />`}
            ${rest > 0 && html`<rect class="fill-idle" x=${x} y=${BASE_LINE - done - rest - 1} width=${width} height=${rest} rx="1" />`}
            ${failed > 0 && html`<rect class="fill-bad" x=${x} y=${BASE_LINE + 2} width=${width} height=${failed} rx="1" /><text class="bad" x="${(n + 0.5) * step}%" y=${BASE_LINE + failed + 14} text-anchor="middle">${number(day.failed)}</text>`}</g>`;
        })}</svg></div>
    <div class="chart-days" aria-hidden="true">${[0, 0.25, 0.5, 0.75].map((share) => html`<span>${date(days[Math.floor(days.length * share)].day)}</span>`)}<span>today</span></div>`}
    <button type="button" class="link meta" onClick=${() => setTable(!table)}>${table ? "Show as chart" : "Show as table"}</button></div>`;
}
