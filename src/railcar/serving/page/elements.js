/* Making elements, and how numbers are spelled. */

/** Attributes: `true` is set, `false` and undefined are left out, `onclick` listens. Children: null is none. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element[name] = value;
    else if (value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function makeButton(words, onclick, more) {
  return make("button", { type: "button", onclick, ...more }, words);
}

/** `react` is called when it is sent; nothing leaves the page. */
export function makeForm(attributes, react, ...children) {
  const onsubmit = (event) => {
    event.preventDefault();
    react();
  };
  return make("form", { ...attributes, onsubmit }, ...children);
}

export function makeAbout(words) {
  return make("p", { class: "about" }, words);
}

/** What is wrong, in words, in its place; `again` is what the button does. */
export function makeProblem(words, again) {
  const button = again ? makeButton("Try again", again) : null;
  return make("div", { class: "problem" }, make("p", {}, make("strong", {}, "error"), words), button);
}

/** 0.9912 -> "99.1%"; nothing is certain. */
export function spellPercent(probability) {
  if (probability < 0.0005) return "<0.1%";
  if (probability >= 0.9995) return ">99.9%";
  return `${(100 * probability).toFixed(1)}%`;
}

export function cut(text, length) {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
