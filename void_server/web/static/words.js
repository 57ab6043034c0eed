// Numbers and states in words.

export const percent = (share) => `${Math.round(100 * share)} %`;

export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export function ago(time) {
  const seconds = Date.now() / 1000 - time;
  return seconds < 5 ? "just now" : `${duration(seconds)} ago`;
}

export function frames(numbers) {
  if (!numbers.length) return "no frames";
  return numbers.length === 1 ? `frame ${numbers[0]}` : `frames ${numbers[0]}–${numbers.at(-1)}`;
}

const KINDS = { roto: "mask", quadmask: "what is affected", plate: "removal" };

/** What a job is for. */
export const kind = (job) => KINDS[job.shot.settings.until] ?? job.shot.settings.until;

/** How far a job is, in words. */
export function standing(job) {
  if (job.state === "running") {
    const { stage, frame, fraction, seconds_left: left } = job.progress;
    const parts = [percent(fraction), stage, frame === null ? "" : `frame ${frame}`, left ? `${duration(left)} left` : ""];
    return parts.filter(Boolean).join(" · ");
  }
  return job.state === "queued" ? "waiting for a worker" : job.state;
}
