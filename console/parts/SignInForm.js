/* A token, pasted or from the address: what it may do, then the session. */
import { loadCaller, resume, signIn } from "../lib/api.js";
import { plain, relative } from "../lib/format.js";
import { html, useState } from "../lib/ui.js";
import { Failure, useAction } from "./basics.js";
import { Dialog } from "./Dialog.js";

/** What a token says of itself; the server alone decides whether it is true. */
export function claims(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (each) => each.charCodeAt(0))));
  } catch {
    return null;
  }
}

export function SignInForm({ given = "", done }) {
  const [token, setToken] = useState(given);
  const said = claims(token.trim());
  const action = useAction(async () => {
    await signIn(token.trim());
    return loadCaller();
  });
  async function submit(event) {
    event.preventDefault();
    if (token.trim() && (await action.run())) done();
  }
  return html`<form class="sign-in-form" onSubmit=${submit}>
    ${given ? html`<p>This link carries a token of the local stack.</p>` : html`<label class="field-row"><span class="label">Token</span>
      <textarea class="input mono" rows="4" required autocomplete="off" spellcheck=${false} value=${token} onInput=${(event) => setToken(event.target.value)}></textarea></label>`}
    ${said && html`<dl class="kv"><dt>Name</dt><dd><bdi>${plain(said.sub ?? "none")}</bdi></dd><dt>Role</dt><dd>${plain(said.role ?? "as the server maps it")}</dd>
      ${Array.isArray(said.tenants) && html`<dt>Tenants</dt><dd>${said.tenants.includes("*") ? "all" : said.tenants.slice(0, 8).map(plain).join(", ")}</dd>`}
      ${said.exp && html`<dt>Ends</dt><dd>${relative(said.exp * 1000)}</dd>`}</dl>`}
    <${Failure} error=${action.error} />
    <div class="buttons"><button class="btn primary" disabled=${action.busy || !token.trim()}>${action.busy ? "Signing in…" : said?.role ? `Sign in as ${plain(said.role)}` : "Sign in"}</button></div>
  </form>`;
}

/** Over the page when a session ends: forms behind it stay filled. */
export function SignInDialog({ name }) {
  return html`<${Dialog} title="Your session has ended" onClose=${() => {}}><p>Sign in again${name ? html` as <bdi>${plain(name)}</bdi>` : ""}; this page stays as it is.</p>
    <${SignInForm} done=${resume} /><//>`;
}
