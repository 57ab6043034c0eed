// Elements. Whatever comes from a server or a person becomes text, never markup.

/** An element with properties, attributes and children; strings become text. */
export function make(tag, options = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(options)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && !key.startsWith("aria")) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A button that says what it does, and is not pressed twice while that lasts. */
export function button(label, act, options = {}) {
  const made = make(`button${options.quiet ? ".quiet" : ""}`, { type: "button", ...options.more }, label);
  made.addEventListener("click", async () => {
    if (made.getAttribute("aria-busy") === "true") return;
    made.setAttribute("aria-busy", "true");
    try {
      await act();
    } catch (error) {
      tell(error);
    } finally {
      made.removeAttribute("aria-busy");
    }
  });
  return made;
}

/** Tell something at the bottom of the page, for a while; an error until it is dismissed. */
export function tell(said) {
  const failed = said instanceof Error;
  const notice = make(`p${failed ? ".failed" : ""}`, {}, failed ? said.message : said);
  const dismiss = make("button.quiet", { type: "button", "aria-label": "Dismiss" }, "×");
  dismiss.addEventListener("click", () => notice.remove());
  notice.append(dismiss);
  document.getElementById("notices").append(notice);
  if (!failed) setTimeout(() => notice.remove(), 6000);
}

/** Show these, in place of what an element shows now. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}
