/* A status as a mark and a word. */
import { html } from "../lib/ui.js";
import { markOf, PROTECTION } from "../words/states.js";
import { Icon } from "./Icon.js";

export const Mark = ({ mark, size = 14 }) =>
  html`<span class="mark ${mark.tone}"><${Icon} name=${mark.icon} size=${size} />${mark.word}</span>`;

export const Status = ({ job }) => html`<${Mark} mark=${markOf(job)} />`;

export const Protection = ({ state, words }) =>
  html`<${Mark} mark=${words ? { ...PROTECTION[state], word: words } : PROTECTION[state]} />`;
