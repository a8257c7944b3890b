/* The page of `railcar serve`: talks with the server, shows question and answer, and how a program asks the same. */

import { makeAnswer, makeExplanation, sayAnswer } from "./answers.js";
import { cut, make, makeAbout, makeButton, makeForm, makeProblem } from "./elements.js";
import { makeInput } from "./inputs.js";
import { writeCurl, writePython } from "./programs.js";

const TOKEN = "railcar-token";
const MOST_CHARACTERS = 600;
const ENGINES = { litert: "LiteRT", onnx: "ONNX Runtime", tensorflow: "TensorFlow" };
const TAKES = { image: "pictures", text: "texts", table: "rows of a table" };
const find = (id) => document.getElementById(id);
const say = (words) => (find("status").textContent = words);

let cards = [];
let card = null;
let question = null;
let shown = new AbortController(); // ends with the model that is shown
let asked = new AbortController(); // ends with the question
let token = null; // the promise of one, while it is asked for

/** Its JSON answer. Throws an Error whose message is for the user; asks for the token where one is needed. */
async function talk(path, options = {}) {
  const known = sessionStorage.getItem(TOKEN);
  const headers = { ...options.headers, ...(known && { Authorization: `Bearer ${known}` }) };
  let response;
  let body;
  try {
    response = await fetch(path, { ...options, headers });
    body = await response.json();
  } catch {
    throw new Error("The server does not answer. Does it still run, and is the network there?");
  }
  if (response.ok) return body;
  if (response.status === 401) {
    await askToken(known !== null && known === sessionStorage.getItem(TOKEN));
    return talk(path, options);
  }
  if (response.status === 429) {
    const wait = response.headers.get("Retry-After");
    throw new Error(`The server has too many questions at once. Try again ${wait ? `in ${wait} s` : "in a moment"}.`);
  }
  throw new Error(body.error ?? `The server answered ${response.status}.`);
}

function askToken(isWrong) {
  token ??= new Promise((resolve) => {
    const words = isWrong ? "This is not the server's token." : "This server wants a token.";
    const pattern = "\\s*[!-~]+\\s*"; // what a header can hold
    const field = make("input", { type: "password", id: "token", required: true, autocomplete: "off", pattern });
    const keep = () => {
      sessionStorage.setItem(TOKEN, field.value.trim());
      find("start").replaceChildren();
      token = null;
      resolve();
    };
    find("start").replaceChildren(makeForm(
      { class: "card token" }, keep,
      make("h2", {}, "Token"), isWrong ? makeProblem(words) : make("p", {}, words),
      make("label", { for: "token" }, "The token with which the server was started"),
      make("div", { class: "row" }, field, make("button", { class: "main" }, "Go on")),
      makeAbout("It is kept until this tab is closed."),
    ));
    say(words);
    if (!card) find("about").textContent = "";
    field.focus();
  });
  return token;
}

function refuse(words) {
  find("about").textContent = "";
  find("start").replaceChildren(makeProblem(words, start));
  say(words);
}

async function start() {
  find("start").replaceChildren();
  try {
    ({ models: cards } = await talk("models"));
  } catch (error) {
    return refuse(error.message);
  }
  if (!cards.length) return refuse("The server has no model.");
  const select = find("model");
  select.replaceChildren(...cards.map((one) => new Option(one.name)));
  select.onchange = () => show(cards[select.selectedIndex]);
  find("choice").hidden = cards.length < 2;
  find("links").hidden = sessionStorage.getItem(TOKEN) !== null; // a link brings no token
  show(cards[0]);
}

function show(chosen) {
  card = chosen;
  shown.abort();
  shown = new AbortController();
  const isReady = card.state === "ready";
  for (const id of ["work", "facts"]) find(id).hidden = !isReady;
  find("start").replaceChildren();
  find("name").textContent = card.name;
  document.title = `${card.name}: railcar serve`;
  if (!isReady) return refuse(`This model is not ready yet: ${card.state}.`);
  const what = card.task === "regression" ? "a number" : `one of ${card.labels.length} labels`;
  const engine = ENGINES[card.engine] ?? card.engine;
  find("about").textContent = `Takes ${TAKES[card.kind]} and gives ${what}. ${engine}, version ${card.version}`;
  const input = makeInput(card, ask, shown.signal);
  find("input").replaceChildren(make("h2", { id: "input-title" }, input.title), input.element);
  find("more").replaceChildren(input.more ?? "");
  find("more").hidden = !input.more;
  find("facts").replaceChildren(make("summary", {}, make("h2", {}, "About the model")), makeFacts(engine));
  ask(null);
}

function makeFacts(engine) {
  const { input, labels } = card;
  const columns = input.columns?.map((one) => `${one.name} (${one.type})`).join(", ");
  const size = `${input.height}x${input.width} pixels inside, ${input.channels === 1 ? "gray" : "in colour"}`;
  const facts = {
    kind: card.kind,
    task: card.task,
    input: columns ? cut(columns, MOST_CHARACTERS) : card.kind === "image" && size,
    labels: cut(labels.join(", "), MOST_CHARACTERS),
    ...Object.fromEntries(Object.entries(card.metrics ?? {}).map(([side, values]) => [side, spellMetrics(values)])),
    engine,
    version: card.version,
    run: card.run,
    checkpoint: card.checkpoint,
    "data fingerprint": card.data_fingerprint,
  };
  const known = Object.entries(facts).filter(([, value]) => value);
  return make("dl", {}, ...known.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

/** {"n": 2000, "accuracy": 0.97612} -> "accuracy 0.9761 (2000 examples)" */
function spellMetrics({ n, ...values }) {
  const numbers = Object.entries(values).filter(([, value]) => typeof value === "number");
  const words = numbers.map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`).join(", ");
  return n ? `${words} (${n} examples)` : words;
}

/** `path` with the model's name, where there are several. */
function spellPath(path) {
  return cards.length > 1 ? `${path}?model=${encodeURIComponent(card.name)}` : path;
}

function post(path, { type, body }, signal) {
  return talk(spellPath(path), { method: "POST", body, headers: { "Content-Type": type }, signal });
}

/** `next` null: there is nothing to be asked any more. */
async function ask(next) {
  asked.abort();
  asked = new AbortController();
  const { signal } = asked;
  question = next;
  const place = find("answer");
  const fill = (...parts) => {
    place.replaceChildren(make("h2", { id: "answer-title" }, "Answer"), ...parts);
    place.ariaBusy = false;
    find("program").hidden = !question;
  };
  if (!question) {
    say("");
    return fill(makeAbout("It comes here."));
  }
  place.ariaBusy = true;
  const began = performance.now();
  try {
    const { predictions: [prediction], milliseconds } = await post("predict", question, signal);
    if (prediction.error) throw new Error(prediction.error);
    fill(makeAnswer(prediction, milliseconds, performance.now() - began), makeWhy(signal));
    say(sayAnswer(prediction));
  } catch (error) {
    if (signal.aborted) return;
    fill(makeProblem(error.message, () => ask(next)));
    say(error.message);
  }
  showProgram();
  // who draws may be at the next stroke
  if (!question.isDrawing && place.getBoundingClientRect().top > innerHeight - 140) place.scrollIntoView();
}

function makeWhy(signal) {
  const place = make("div");
  const explain = async () => {
    button.disabled = true;
    button.textContent = "Looking …";
    try {
      const { explanation } = await post("explain", question, signal);
      const reason = makeExplanation(explanation, question.picture);
      place.replaceChildren(reason);
      button.remove();
      reason.focus();
    } catch (error) {
      if (signal.aborted) return;
      place.replaceChildren(makeProblem(error.message));
      say(error.message);
    }
    button.disabled = false;
    button.textContent = "Why?";
  };
  const button = makeButton("Why?", explain, { id: "why" });
  return make("div", {}, button, place);
}

function showProgram() {
  const address = new URL(spellPath("predict"), location.href).href;
  const hasToken = sessionStorage.getItem(TOKEN) !== null;
  const file = question.picture ? `${question.fileName} is read from the folder where it is run. ` : "";
  const about = file + (hasToken ? "The token is read from the environment variable RAILCAR_TOKEN." : "");
  find("program").replaceChildren(
    make("summary", {}, make("h2", {}, "Ask the same from a program")), makeAbout(about),
    makeSnippet("curl", writeCurl(address, question, hasToken)),
    makeSnippet("Python", writePython(address, question, hasToken)),
  );
}

function makeSnippet(title, code) {
  const lines = make("code", {}, code);
  const copy = async () => {
    const isCopied = await navigator.clipboard?.writeText(code).then(() => true, () => false);
    // a page of another host without https has no clipboard
    if (!isCopied) getSelection().selectAllChildren(lines);
    button.textContent = isCopied ? "Copied" : "Press Ctrl+C";
    say(button.textContent);
    setTimeout(() => (button.textContent = "Copy"), 2000);
  };
  const button = makeButton("Copy", copy, { "aria-label": `Copy the lines for ${title}` });
  return make("div", { class: "snippet" }, make("h3", {}, title), button, make("pre", {}, lines));
}

start();
