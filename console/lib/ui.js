/* Preact, its hooks and htm, under the names that the console uses. */
import { h } from "../vendor/preact.js";
import htm from "../vendor/htm.js";

export { createContext, Fragment, render } from "../vendor/preact.js";
export {
  useCallback, useContext, useEffect, useId, useLayoutEffect, useMemo, useRef, useState,
} from "../vendor/hooks.js";
export const html = htm.bind(h);
