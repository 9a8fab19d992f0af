/* A long table of rows of one height: only those in view are in the document, the rest is space. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib/ui.js";

const BEYOND = 8;

/** The rows in view: their first and last index, as the nearest scroller moves. */
export function useWindow(count, height) {
  const body = useRef(null);
  const [range, setRange] = useState([0, 40]);
  useLayoutEffect(() => {
    const scroller = body.current?.closest("main");
    if (!scroller) return undefined;
    let asked = 0;
    const look = () => {
      asked = 0;
      const above = scroller.getBoundingClientRect().top - body.current.getBoundingClientRect().top;
      const first = Math.max(0, Math.floor(above / height) - BEYOND);
      const last = Math.min(count, Math.ceil((above + scroller.clientHeight) / height) + BEYOND);
      setRange((old) => (old[0] === first && old[1] === last ? old : [first, last]));
    };
    const scroll = () => { asked ||= requestAnimationFrame(look); };
    look();
    scroller.addEventListener("scroll", scroll, { passive: true });
    addEventListener("resize", scroll);
    return () => { scroller.removeEventListener("scroll", scroll); removeEventListener("resize", scroll); cancelAnimationFrame(asked); };
  }, [count, height]);
  return { body, first: Math.min(range[0], Math.max(0, count - 1)), last: Math.min(range[1], count) };
}

/** `draw(index)` gives a row; `seen(first, last)` hears which are in view. */
export function VirtualRows({ count, height, draw, seen, label }) {
  const { body, first, last } = useWindow(count, height);
  useEffect(() => seen?.(first, last), [first, last, count]);
  const rows = [];
  for (let n = first; n < last; n += 1) rows.push(draw(n));
  return html`<div class="virtual" role="rowgroup" aria-label=${label} ref=${body} style=${{ height: `${count * height}px` }}>
    <div class="virtual-in" role="presentation" style=${{ transform: `translateY(${first * height}px)` }}>${rows}</div></div>`;
}
