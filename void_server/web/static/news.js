// What the server has to say of its jobs and workers, as it happens.

const listeners = new Set();
let latest = { jobs: [], workers: [], error: "" };

/** Begin to listen; the browser connects again by itself. */
export function listen() {
  const source = new EventSource("/api/events");
  source.addEventListener("message", (event) => {
    const said = JSON.parse(event.data);
    latest = said.error ? { ...latest, error: said.error } : { ...said, error: "" };
    listeners.forEach((listener) => listener(latest));
  });
  source.addEventListener("error", () => {
    latest = { ...latest, error: "The page's server does not answer; is VOID still running?" };
    listeners.forEach((listener) => listener(latest));
  });
}

/** Call `listener` with all that is known, now and whenever it changes; returns what ends that. */
export function follow(listener) {
  listeners.add(listener);
  listener(latest);
  return () => listeners.delete(listener);
}

export const hasEnded = (job) => !["queued", "running"].includes(job.state);

/** The job once it has ended; `onChange` hears of it until then. An aborted `signal` ends that. */
export function ended(id, onChange, signal) {
  return new Promise((resolve, reject) => {
    let stop = () => {};
    const listener = ({ jobs }) => {
      const job = jobs.find((one) => one.id === id);
      if (!job) return;
      onChange(job);
      if (hasEnded(job)) {
        queueMicrotask(() => stop());
        resolve(job);
      }
    };
    stop = follow(listener);
    signal?.addEventListener("abort", () => {
      stop();
      reject(new DOMException("no longer wanted", "AbortError"));
    });
  });
}
