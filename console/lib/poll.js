/* One rhythm for all that is live: quick while something runs, slow when idle, silent when hidden. */
import { set } from "./store.js";
import { useEffect, useRef, useState } from "./ui.js";

const QUICK = 2000, CALM = 15000, IDLE = 60000, IDLE_AFTER = 5 * 60000, LONGEST_WAIT = 60000;
let lastInput = Date.now();
for (const kind of ["pointerdown", "keydown", "wheel", "touchstart"]) {
  addEventListener(kind, () => { lastInput = Date.now(); }, { passive: true, capture: true });
}

/**
 * What `load(signal)` answers, kept fresh. `isBusy(answer)` says whether something shown still runs; `every` is the
 * calm rhythm in milliseconds, 0 for never. The old answer stays while a new one comes and when it fails.
 */
export function useLive(load, inputs, { every = CALM, isBusy = () => false } = {}) {
  const [state, setState] = useState({ data: undefined, error: null, at: null, loading: true });
  const again = useRef(() => {});
  useEffect(() => {
    let timer = null, failures = 0, stopped = false, controller = null;
    const wait = (milliseconds) => {
      clearTimeout(timer);
      if (!stopped && milliseconds) timer = setTimeout(round, milliseconds);
    };
    async function round() {
      clearTimeout(timer);
      if (stopped) return;
      if (document.hidden) return;
      controller?.abort();
      controller = new AbortController();
      const mine = controller;
      try {
        const data = await load(mine.signal);
        if (stopped || mine.signal.aborted) return;
        failures = 0;
        setState({ data, error: null, at: Date.now(), loading: false });
        set({ updatedAt: Date.now(), offline: null });
        if (!every) return;
        wait(isBusy(data) ? QUICK : Date.now() - lastInput > IDLE_AFTER ? Math.max(IDLE, every) : every);
      } catch (error) {
        if (stopped || mine.signal.aborted || error.name === "AbortError") return;
        failures += 1;
        const pause = error.retryAfter ? error.retryAfter * 1000
          : Math.min(LONGEST_WAIT, QUICK * 2 ** (failures - 1)) * (0.75 + Math.random() / 2);
        error.nextTry = Date.now() + pause;
        setState((old) => ({ ...old, error, loading: false }));
        if (error.status === 0) set({ offline: error.nextTry });
        if (![400, 403, 404, 410].includes(error.status)) wait(pause);
      }
    }
    again.current = () => { failures = 0; return round(); };
    const shown = () => { if (!document.hidden) round(); };
    document.addEventListener("visibilitychange", shown);
    addEventListener("online", shown);
    setState((old) => ({ ...old, loading: true }));
    round();
    return () => {
      stopped = true;
      clearTimeout(timer);
      controller?.abort();
      document.removeEventListener("visibilitychange", shown);
      removeEventListener("online", shown);
    };
  }, inputs);
  return { ...state, reload: () => again.current() };
}
