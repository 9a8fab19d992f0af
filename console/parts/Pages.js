/* From one page of a list to the next. */
import { number } from "../lib/format.js";
import { requery } from "../lib/router.js";
import { html } from "../lib/ui.js";
import { Button } from "./basics.js";

export function Pages({ of: { page, total_pages: pages } }) {
  if (pages < 2) return null;
  const to = (next) => requery({ page: next === 1 ? null : next }, { replace: false });
  return html`<nav class="buttons center" aria-label="Pages"><${Button} small onClick=${() => page > 1 && to(page - 1)} busy=${page <= 1}>Previous<//>
    <span class="soft">Page ${number(page)} of ${number(pages)}</span><${Button} small onClick=${() => page < pages && to(page + 1)} busy=${page >= pages}>Next<//></nav>`;
}
