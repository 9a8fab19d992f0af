/* The only place that asks the API. */
import { get, set } from "./store.js";

/** A refusal: the API's own sentence, its code, the fields it names. `status` 0: nobody answered. */
export class ApiError extends Error {
  constructor(status, body, retryAfter = null) {
    super(body?.error ?? body?.message ?? "The server did not answer.");
    this.status = status;
    this.code = body?.code ?? (status ? "unknown" : "offline");
    this.details = body?.details ?? [];
    this.requestId = body?.requestId ?? null;
    this.retryAfter = retryAfter;
  }
}

const kept = new Map();
const MOST_KEPT = 60;
let waiting = null;
let release = null;

/** Resolves when somebody has signed in; the dialog over the page stays until then. */
function signedIn() {
  waiting ??= new Promise((resolve) => {
    release = resolve;
  });
  set({ asksToSignIn: true });
  return waiting;
}

export function resume() {
  release?.();
  waiting = release = null;
  set({ asksToSignIn: false });
}

/** `path` with a query: undefined, null and empty values are left out. */
export function url(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** One request; the answer's JSON, or ApiError. A caller whose session ended is asked to sign in, then it goes on. */
export async function ask(method, path, { body, tenant, key, match, signal, patient = true } = {}) {
  const headers = { accept: "application/json" };
  const name = `${path} ${tenant ?? ""}`;
  const known = method === "GET" ? kept.get(name) : undefined;
  if (tenant) headers["x-tenant-id"] = tenant;
  if (key) headers["idempotency-key"] = key;
  if (match) headers["if-match"] = match;
  if (known) headers["if-none-match"] = known.etag;
  if (body !== undefined) headers["content-type"] = "application/json";
  const options = { method, headers, signal, cache: "no-store", credentials: "same-origin" };
  let response;
  try {
    response = await fetch(path, { ...options, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, null);
  }
  if (response.status === 304) return known.answer;
  const answer = await readJson(response);
  if (response.status === 401 && patient) {
    await signedIn();
    return ask(method, path, { body, tenant, key, match, signal });
  }
  if (!response.ok) throw new ApiError(response.status, answer, Number(response.headers.get("retry-after")) || null);
  const etag = response.headers.get("etag");
  if (method === "GET" && etag) keep(name, { etag, answer });
  if (answer && typeof answer === "object" && etag) Object.defineProperty(answer, "etag", { value: etag });
  return answer;
}

function keep(name, entry) {
  kept.delete(name);
  kept.set(name, entry);
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
}

async function readJson(response) {
  const text = await response.text();
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return { error: `The server answered ${response.status}, and not in a form that can be read.` };
  }
}

export const read = (path, query, options) => ask("GET", url(path, query), options);

/** Something that must not happen twice: the same key goes with every try of it. */
export function change(method, path, body, { key = crypto.randomUUID(), ...options } = {}) {
  return ask(method, path, { ...options, body, key: method === "POST" ? key : undefined });
}

/** Forget what the last caller saw. */
export function forget() {
  kept.clear();
}

export async function signIn(token) {
  const session = await ask("POST", "/api/session", { body: { token }, patient: false });
  forget();
  return session;
}

export async function signOut() {
  await ask("DELETE", "/api/session", { patient: false });
  forget();
  set({ me: null, tenants: [] });
}

/** Who calls and which tenants they see, into the store. ApiError 401 where nobody is signed in. */
export async function loadCaller({ patient = false } = {}) {
  const [me, tenants, entities] = await Promise.all(
    ["/api/v1/me", "/api/v1/tenants", "/api/v1/entities"].map((path) => ask("GET", path, { patient })),
  );
  set({ me: me.data ?? me, tenants: tenants.data ?? tenants.tenants ?? [], entities: entities.data ?? [] });
  return get().me;
}

/** Send a file with a signed form; `told(share)` hears how much has gone. */
export function upload(form, file, told, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const data = new FormData();
    for (const [name, value] of Object.entries(form.fields)) data.append(name, value);
    data.append("file", file);
    request.upload.onprogress = (event) => event.lengthComputable && told(event.loaded / event.total);
    request.onload = () => (request.status < 300 ? resolve() : reject(new ApiError(request.status, {
      error: `Storage refused the file (${request.status}).`, code: "storage_refused",
    })));
    request.onerror = () => reject(new ApiError(0, null));
    request.onabort = () => reject(new DOMException("Stopped.", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    request.open("POST", form.url);
    request.send(data);
  });
}
