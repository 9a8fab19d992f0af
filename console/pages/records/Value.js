/* A field's value as text, whatever it holds. */
import { plain } from "../../lib/format.js";
import { html } from "../../lib/ui.js";
import { Time } from "../../parts/basics.js";

const MOST = 10_000;

export function Value({ of: value, type, whole = false }) {
  if (value === null || value === undefined) return html`<span class="dim">empty</span>`;
  if (type === "timestamp" && typeof value === "string" && !Number.isNaN(Date.parse(value))) return html`<${Time} at=${value} form=${whole ? "exact" : "short"} />`;
  if (typeof value === "number") return value.toLocaleString("en-US", { maximumFractionDigits: 10 });
  const text = plain(typeof value === "string" ? value : JSON.stringify(value));
  return html`<bdi>${whole ? text.slice(0, MOST) : text.slice(0, 200)}</bdi>`;
}
