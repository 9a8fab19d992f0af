/* Sign in with a token; the local stack's link carries one behind `#`, which leaves the address at once. */
import { go } from "../../lib/router.js";
import { html, useEffect, useState } from "../../lib/ui.js";
import { Icon } from "../../parts/Icon.js";
import { SignInForm } from "../../parts/SignInForm.js";

function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
  if (found) history.replaceState(null, "", location.pathname + location.search);
  return found;
}

/** Only our own pages are gone to after signing in. */
const next = (query) => (/^\/console(\/|\?|$)/.test(query.next ?? "") ? query.next : "/console");

export function SignIn({ query }) {
  const [given, setGiven] = useState(takeToken);
  useEffect(() => {
    const look = () => setGiven((old) => takeToken() || old);
    addEventListener("hashchange", look);
    return () => removeEventListener("hashchange", look);
  }, []);
  return html`<main id="main" class="sign-in"><div class="card in"><p class="brand"><${Icon} name="logo" size=${20} />Stowage</p>
    <h1>Sign in</h1><p class="soft">${given ? "" : "Paste a token of your identity provider or an API client. It is kept as a cookie that scripts cannot read."}</p>
    <${SignInForm} given=${given} key=${given} done=${() => go(next(query), { replace: true })} /></div></main>`;
}
