// The page's server. Everything that changes something carries the token that only this page gets.

let token = "", user = "", rights = [];

/** What the server offers: its engines, reasoners, and their settings; and who we are there. */
export async function hello() {
  const said = await get("hello");
  ({ token, user, rights } = said);
  return said;
}

/** Whether we may do this with a job: our own may be stopped, resumed, and made to wait longer. */
export const may = (right, job) => rights.includes(right) || (right !== "prioritise" && job?.submitter === user);

export const isOwn = (job) => job.submitter === user;

/** End our session; the page asks to sign in again. */
export async function signOut() {
  await fetch("/sign-out", { method: "POST" });
  location.replace("/sign-in");
}

export const get = (path) => ask("GET", path);
export const post = (path, data = {}) => ask("POST", path, JSON.stringify(data));
export const remove = (path) => ask("DELETE", path);

/** Send a file; `onShare` hears the share that is sent. */
export function send(path, file, onShare) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", `/api/${path}`);
    request.setRequestHeader("x-void-token", token);
    request.upload.addEventListener("progress", (event) => onShare(event.total ? event.loaded / event.total : 1));
    request.addEventListener("load", () => (request.status < 300 ? resolve() : reject(failure(request.responseText))));
    request.addEventListener("error", () => reject(new Error(`${file.name} could not be sent; is VOID still running?`)));
    request.send(file);
  });
}

async function ask(method, path, body) {
  let answer;
  try {
    const headers = method === "GET" ? {} : { "x-void-token": token };
    answer = await fetch(`/api/${path}`, { method, body, headers });
  } catch {
    throw new Error("The page's server does not answer; is VOID still running?");
  }
  const text = await answer.text();
  if (!answer.ok) throw failure(text);
  return text ? JSON.parse(text) : null;
}

function failure(text) {
  try {
    return new Error(JSON.parse(text).error);
  } catch {
    return new Error(text || "The page's server has failed; see its log.");
  }
}
