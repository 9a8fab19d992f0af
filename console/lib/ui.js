/* Preact, its hooks and htm, under the names that the console uses. */
import htm from "../vendor/htm.js";
import {
  useCallback, useContext, useEffect, useId, useLayoutEffect, useMemo, useRef, useState,
} from "../vendor/hooks.js";
import { createContext, Fragment, h, render } from "../vendor/preact.js";

export { createContext, Fragment, render, useCallback, useContext, useEffect, useId, useLayoutEffect, useMemo, useRef, useState };
export const html = htm.bind(h);
