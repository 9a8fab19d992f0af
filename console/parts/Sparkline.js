/* Sizes over time as a small line; the words say what it shows. */
import { bytes } from "../lib/format.js";
import { html } from "../lib/ui.js";

export function Sparkline({ values }) {
  if (values.length < 2) return html`<span class="dim">${values.length ? bytes(values[0]) : ""}</span>`;
  const low = Math.min(...values), high = Math.max(...values);
  const y = (value) => (high === low ? 10 : 18 - ((value - low) / (high - low)) * 16);
  const points = values.map((value, n) => `${(n / (values.length - 1)) * 96 + 2},${y(value).toFixed(1)}`).join(" ");
  return html`<svg class="spark" width="100" height="20" viewBox="0 0 100 20" role="img" aria-label=${`Size of ${values.length} backups, from ${bytes(values[0])} to ${bytes(values.at(-1))}`}>
    <polyline points=${points} fill="none" stroke="currentColor" stroke-width="1.5" stroke-linejoin="round" /></svg>`;
}
