// A job's progress as a bar with words.

import { fill, make } from "./dom.js";
import { standing } from "./words.js";

/** A bar; `show(job)` moves it. */
export function progressBar() {
  const bar = make("progress", { max: 1, value: 0, "aria-label": "Progress" });
  const words = make("p.hint");
  const element = make(".progress", { hidden: true }, bar, words);
  return {
    element,
    show(job) {
      element.hidden = false;
      if (job.state === "queued") bar.removeAttribute("value");
      else bar.value = job.state === "done" ? 1 : job.progress.fraction;
      const sending = job.progress.sending ? ` · sends ${job.progress.sending}` : "";
      fill(words, standing(job) + sending);
    },
    say(text, share = null) {
      element.hidden = false;
      if (share === null) bar.removeAttribute("value");
      else bar.value = share;
      fill(words, text);
    },
    hide: () => (element.hidden = true),
  };
}
