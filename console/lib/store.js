/* What all pages share: the caller, the tenants, what is said to the reader, preferences. */
import { useEffect, useState } from "./ui.js";

const state = {
  me: null, tenants: [], entities: null, toasts: [], polite: "", assertive: "",
  asksToSignIn: false, updatedAt: null, offline: null, running: null, atRisk: null,
};
const watchers = new Set();

export function set(changes) {
  Object.assign(state, changes);
  for (const each of [...watchers]) each();
}

export const get = () => state;

/** A part of the store; the component draws itself anew when that part changes. */
export function useStore(pick) {
  const [value, setValue] = useState(() => pick(state));
  useEffect(() => {
    const look = () => setValue(() => pick(state));
    watchers.add(look);
    look();
    return () => watchers.delete(look);
  }, []);
  return value;
}

const RANKS = { viewer: 0, operator: 1, admin: 2 };

/** Whether the caller has at least that role. */
export const may = (role) => Boolean(state.me) && RANKS[state.me.role] >= RANKS[role];

let serial = 0;

/** A sentence in the corner for some seconds, with at most one action beside it. */
export function say(text, { tone = "ok", action = null, seconds = 8 } = {}) {
  const id = (serial += 1);
  set({ toasts: [...state.toasts, { id, text, tone, action }], [tone === "bad" ? "assertive" : "polite"]: text });
  if (seconds) setTimeout(() => unsay(id), seconds * 1000);
  return id;
}

export const unsay = (id) => set({ toasts: state.toasts.filter((each) => each.id !== id) });

/** A sentence for those who hear the page. */
export const announce = (polite) => set({ polite });

const PREFERENCES = "stowage.preferences";

export function preferences() {
  try {
    return JSON.parse(localStorage.getItem(PREFERENCES)) ?? {};
  } catch {
    return {};
  }
}

export function prefer(changes) {
  try {
    localStorage.setItem(PREFERENCES, JSON.stringify({ ...preferences(), ...changes }));
  } catch {
    // A browser that keeps nothing still works.
  }
}
