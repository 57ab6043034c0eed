// The page: which view is shown, by the part of the address after #.

import { hello, signOut } from "./api.js";
import { button, fill, make, tell } from "./dom.js";
import { bind } from "./keys.js";
import { follow, listen } from "./news.js";
import { jobView } from "./job.js";
import { jobsView } from "./jobs.js";
import { bringView } from "./bring.js";
import { removeView } from "./remove.js";

const main = document.getElementById("main");
const VIEWS = [
  [/^#\/jobs\/([0-9a-f]{12})$/, jobView],
  [/^#\/jobs$/, jobsView],
  [/^#\/shots\/([0-9a-f]{12})$/, removeView],
  [/^#?\/?$/, bringView],
];
let offered = null, leave = null;

async function show() {
  leave?.abort();
  leave = new AbortController();
  const { signal } = leave;
  bind({});
  const [matched, view] = VIEWS.map(([pattern, one]) => [location.hash.match(pattern), one]).find(([match]) => match) ?? [[], bringView];
  const section = location.hash.startsWith("#/jobs") ? "#/jobs" : "#/";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === section) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    if (!offered) {
      offered = await hello();
      if (offered.signed_in) fill(document.getElementById("user"), offered.user, " ", button("Sign out", signOut, { quiet: true }));
    }
    const element = await view(offered, signal, ...matched.slice(1));
    if (!signal.aborted) fill(main, element);
  } catch (error) {
    if (signal.aborted) return;
    fill(main, make("section.narrow", {}, make("h1", {}, "This cannot be shown"), make("p", {}, error.message), make("p", {}, make("a", { href: "#/" }, "To the beginning"))));
  }
}

follow(({ workers, error }) => {
  const busy = workers.filter((one) => one.busy).length;
  const words = error || (workers.length ? `${busy} of ${workers.length} ${workers.length === 1 ? "worker" : "workers"} busy` : "");
  document.getElementById("workers").textContent = words;
  document.getElementById("workers").classList.toggle("failed", Boolean(error));
});
window.addEventListener("hashchange", () => {
  show();
  main.focus({ preventScroll: true });
});
window.addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name !== "AbortError") tell(event.reason instanceof Error ? event.reason : new Error(String(event.reason)));
});
listen();
show();
