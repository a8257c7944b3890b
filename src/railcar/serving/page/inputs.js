/* What a model is asked about: a drawing, a picture, a text, a row. Makers give {title, element, and `more`, which
   stands behind the answer} and call `ask` with a question {type, body, and `picture`, `fileName` or `value`}, or with
   null: there is none any more. `signal` ends what outlives the elements. */

import { makePad } from "./draw.js";
import { cut, make, makeAbout, makeButton, makeForm, makeProblem } from "./elements.js";

const MOST_DRAWN = 64; // pixels of a side: larger networks are of photos
const MOST_OPTIONS = 20;
const MOST_FIELDS = 24;

export function makeInput(card, ask, signal) {
  if (card.kind === "image") return makeImageInput(card.input, ask, signal);
  const askValue = (value) => ask({ type: "application/json", body: JSON.stringify({ input: value }), value });
  return card.kind === "text" ? makeTextInput(card, askValue) : makeTableInput(card, askValue);
}

function makeImageInput(size, ask, signal) {
  const isDrawn = size.channels === 1 && size.height <= MOST_DRAWN && size.width <= MOST_DRAWN;
  const askFile = (file, fileName, isDrawing) => {
    const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
    ask({ type, body: file, picture: file, fileName, isDrawing });
  };
  const files = makeFileInput(isDrawn, askFile, signal);
  if (!isDrawn) return { title: "A picture", element: files.element };
  const askDrawing = (file) => {
    files.forget();
    askFile(file, "drawing.png", true);
  };
  const element = makeDrawing(size, askDrawing, () => ask(null), signal);
  return { title: "Draw", element, more: files.element };
}

function makeDrawing(size, askDrawing, forget, signal) {
  const checked = size.height === 28 && size.width === 28;
  const centre = make("input", { type: "checkbox", checked, onchange: () => send() });
  const sent = make("figure", { class: "sent", hidden: true });
  let address = "";
  const send = () => pad.isEmpty() || pad.render(centre.checked).toBlob((file) => {
    if (signal.aborted || pad.isEmpty()) return;
    URL.revokeObjectURL(address);
    address = URL.createObjectURL(file);
    const link = make("a", { href: address, download: "drawing.png" }, "Save it");
    const caption = make("figcaption", {}, `As it is sent: ${size.width}x${size.height} pixels. `, link);
    sent.replaceChildren(make("img", { src: address, alt: "", class: "pixels" }), caption);
    sent.hidden = false;
    askDrawing(file);
  });
  const pad = makePad(size, send, () => {
    sent.hidden = true;
    forget();
  });
  const check = make("label", { class: "check" }, centre, "centre what I draw");
  const tools = make("div", { class: "row" }, makeButton("Clear", pad.clear), makeButton("Undo", pad.undo), check);
  return make("div", { class: "drawing" }, pad.canvas, tools, sent);
}

function makeFileInput(isSmall, askFile, signal) {
  const shown = make("div");
  let address = "";
  const forget = () => {
    URL.revokeObjectURL(address);
    shown.replaceChildren();
  };
  const take = ([file]) => {
    if (!file) return;
    forget();
    address = URL.createObjectURL(file);
    const image = make("img", { src: address, alt: "The picture that was chosen", class: "preview" });
    image.onerror = () => image.replaceWith("This browser cannot show it.");
    shown.replaceChildren(make("figure", {}, image, make("figcaption", {}, file.name)));
    askFile(file, file.name);
  };
  const makeChooser = (words, look, more) => {
    const input = make("input", { type: "file", accept: "image/*", class: "unseen", ...more });
    input.onchange = () => {
      take(input.files);
      input.value = ""; // so that the same file can be chosen again
    };
    return make("label", { class: `button ${look}` }, words, input);
  };
  const choosers = make(
    "div", { class: "row" }, makeChooser("Choose a picture", isSmall ? "" : "main", { id: "file" }),
    makeChooser("Take a picture", "touch", { capture: "environment" }),
  );
  const zone = make("div", { class: "zone" }, makeAbout("Drop a picture anywhere, paste one, or"), choosers, shown);
  listenForFiles(zone, take, signal);
  return { element: zone, forget };
}

/** Files that are dropped anywhere on the page or pasted into it. */
function listenForFiles(zone, take, signal) {
  const listen = (name, react) => document.addEventListener(name, react, { signal });
  const mark = (isOver) => zone.classList.toggle("over", isOver);
  const dragging = (isOver, react) => (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    mark(isOver);
    react?.(event.dataTransfer.files);
  };
  listen("dragover", dragging(true));
  listen("dragleave", (event) => event.relatedTarget || mark(false));
  listen("drop", dragging(false, take));
  listen("paste", (event) => take(event.clipboardData.files));
}

function makeTextInput(card, askValue) {
  const text = make("textarea", { id: "text", rows: 6, required: true });
  text.onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  };
  const form = makeForm(
    {}, () => askValue(text.value), make("label", { for: "text" }, "Text"), text,
    make("div", { class: "row" }, make("button", { class: "main" }, "Predict"), makeAbout("or Ctrl+Enter")),
  );
  const examples = card.examples.slice(0, 3).map((one) => makeButton(cut(one, 90), () => {
    text.value = one;
    askValue(one);
  }));
  if (examples.length) form.append(make("h3", {}, "Examples"), make("div", { class: "examples" }, ...examples));
  return { title: "A text", element: form };
}

function makeTableInput({ input: { columns }, examples }, askValue) {
  const fields = columns.map(makeField);
  const problem = make("div");
  const send = () => {
    const wrong = fields.filter(({ input }) => input.validity.badInput);
    fields.forEach((field) => field.input.setAttribute("aria-invalid", wrong.includes(field)));
    problem.replaceChildren(...wrong.map(({ name }) => makeProblem(`${name}: this is no number.`)));
    const cells = fields.map(({ name, read }) => [name, read()]).filter(([, value]) => value !== null);
    if (wrong.length) wrong[0].input.focus();
    else askValue(Object.fromEntries(cells));
  };
  const fill = (row) => fields.forEach(({ name, write }) => write(row[name]));
  let next = 0;
  const fillNext = () => {
    fill(examples[next++ % examples.length]);
    send();
  };
  const makeGrid = (some) => make("div", { class: "fields" }, ...some.map(({ element }) => element));
  const rest = fields.slice(MOST_FIELDS);
  const form = makeForm(
    { novalidate: true }, send,
    makeAbout("What is left empty counts as unknown."), makeGrid(fields.slice(0, MOST_FIELDS)),
    rest.length ? make("details", {}, make("summary", {}, `${rest.length} more columns`), makeGrid(rest)) : null,
    problem,
    make(
      "div", { class: "row" }, make("button", { class: "main" }, "Predict"),
      examples.length ? makeButton("Fill with an example", fillNext) : null, makeButton("Empty", () => fill({})),
    ),
  );
  return { title: "A row", element: form };
}

/** {name, element, input, read() -> number | string | boolean | null, write(cell)} */
function makeField({ name, type, values = [], example }, number) {
  const id = `column-${number}`;
  const spell = (cell) => {
    if ((cell ?? "") === "") return "";
    if (type === "boolean") return /^(true|yes|t|y|1)$/i.test(cell) ? "yes" : "no";
    return type === "number" ? String(cell).replace(/^([^.]*),([^.]*)$/, "$1.$2") : String(cell); // a decimal comma
  };
  const choices = type === "boolean" ? ["yes", "no"] : values;
  const isChosen = choices.length > 0 && choices.length <= MOST_OPTIONS;
  const options = choices.map((value) => new Option(value, value));
  const list = choices.length > MOST_OPTIONS ? make("datalist", { id: `${id}-values` }, ...options) : null;
  const kind = type === "number" ? "number" : "text";
  const input = isChosen
    ? make("select", { id }, new Option("—", ""), ...options)
    : make("input", { id, type: kind, step: "any", list: list?.id, autocomplete: "off", placeholder: spell(example) });
  const read = () => {
    if (input.value.trim() === "") return null;
    if (type === "boolean") return input.value === "yes";
    return type === "number" ? Number(input.value) : input.value;
  };
  const write = (cell) => {
    const value = spell(cell);
    // a value that the training did not see can be asked about, too
    if (isChosen && ![...input.options].some((one) => one.value === value)) input.append(new Option(value));
    input.value = value;
  };
  return { name, element: make("div", {}, make("label", { for: id }, name), input, list), input, read, write };
}
