/* Marks and signs as lines on a grid of 16. A mark of a status differs by its shape, not by its colour alone. */
import { html } from "../lib/ui.js";

const LINE = { fill: "none", stroke: "currentColor", "stroke-width": 1.5, "stroke-linecap": "round", "stroke-linejoin": "round" };
const cut = (d) => html`<path d=${d} fill="none" stroke="var(--surface)" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" />`;
const line = (d, extra = {}) => html`<path d=${d} ...${LINE} ...${extra} />`;

const DRAWINGS = {
  ok: () => html`<circle cx="8" cy="8" r="7" fill="currentColor" />${cut("m4.9 8.2 2.2 2.3 4.1-4.8")}`,
  bad: () => html`<path d="M5 1h6l4 4v6l-4 4H5l-4-4V5z" fill="currentColor" />${cut("m5.7 5.7 4.6 4.6m0-4.6-4.6 4.6")}`,
  warn: () => html`<path d="M8 1.6 15 14H1z" fill="currentColor" stroke="currentColor" stroke-width="1.4" stroke-linejoin="round" />${cut("M8 6v3.6M8 12h.01")}`,
  run: () => html`<circle cx="8" cy="8" r="6" ...${LINE} stroke-width="2" opacity=".3" /><path class="turning" d="M8 2a6 6 0 0 1 6 6" ...${LINE} stroke-width="2" />`,
  wait: () => html`<circle cx="8" cy="8" r="6" ...${LINE} stroke-dasharray="2.2 2.5" stroke-width="1.8" />`,
  stop: () => html`<circle cx="8" cy="8" r="6.1" ...${LINE} stroke-width="1.8" />${line("M4 12 12 4", { "stroke-width": 1.8 })}`,
  disc: () => html`<circle cx="8" cy="8" r="5" fill="currentColor" />`,
  home: () => line("M2.5 7.2 8 2.6l5.500 4.600v6.200h-4V9.600h-3v3.800h-4z"),
  runs: () => line("M2 4h7M5 8h8M3.500 12H10", { "stroke-width": 2.2 }),
  tenants: () => line("M2.500 3h11v3.500h-11zM2.500 9.500h11V13h-11zM5 4.800h.01M5 11.300h.01"),
  records: () => line("M2.500 3h11v10h-11zM2.500 6.300h11M6.500 6.300V13"),
  trash: () => line("M3 4.500h10M6 4.300V2.800h4v1.500M4.300 4.500l.6 9h6.200l.6-9"),
  undo: () => line("M5 4.500h4.500a3.700 3.700 0 0 1 0 7.500H4M5 4.500 7 2.500M5 4.500l2 2"),
  audit: () => line("M4 2.500h8v11H4zM6.300 5.500h3.400M6.300 8h3.400M6.300 10.500h2"),
  keys: () => line("M8.500 6a3 3 0 1 1-6 0a3 3 0 0 1 6 0M8 7.500l5.500 5.500M11 10.500l-1.500 1.500"),
  settings: () => line("M2.500 4.500h6M12 4.500h1.500M2.500 11.500H4M7.500 11.500h6M8.500 4.500a1.700 1.700 0 1 0 3.500 0a1.700 1.700 0 1 0-3.500 0M4 11.500a1.700 1.700 0 1 0 3.500 0a1.700 1.700 0 1 0-3.500 0"),
  find: () => line("M11.500 7a4.500 4.500 0 1 1-9 0a4.500 4.500 0 0 1 9 0M10.400 10.400 14 14"),
  more: () => line("M3 8h.01M8 8h.01M13 8h.01", { "stroke-width": 2.4 }),
  plus: () => line("M8 3v10M3 8h10", { "stroke-width": 1.7 }),
  down: () => line("m4.500 6.500 3.500 3.500 3.500-3.500", { "stroke-width": 1.6 }),
  close: () => line("m4 4 8 8m0-8-8 8", { "stroke-width": 1.6 }),
  left: () => line("M10 3.500 5.500 8l4.500 4.500", { "stroke-width": 1.6 }),
  up: () => line("m4.500 9.500 3.500-3.500 3.500 3.500", { "stroke-width": 1.6 }),
  logo: () => html`<path d="M1.500 2h13v5h-13zM1.500 9h5.700v5H1.500zM8.800 9h5.700v5H8.800z" fill="currentColor" />`,
};

/** A drawing by its name; without a label nobody hears it. */
export function Icon({ name, size = 16, label, tone = "" }) {
  const heard = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  return html`<svg class=${tone} width=${size} height=${size} viewBox="0 0 16 16" ...${heard}>${DRAWINGS[name]()}</svg>`;
}
