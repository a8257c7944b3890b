/* What the model says, and why it says so. */

import { cut, make, makeAbout, makeButton, spellPercent } from "./elements.js";

const MOST_SHOWN = 10;
const LEAST_WEIGHT = 0.05;

/** In a few words, for a screen reader. */
export function sayAnswer({ label, probability, value }) {
  return value === undefined ? `${label}, ${spellPercent(probability)}` : spellNumber(value);
}

/** The label or the number, bars, the times: in the server, and measured here; both in ms. */
export function makeAnswer({ label, probability, probabilities, value }, milliseconds, way) {
  const spell = (time) => `${time.toFixed(time < 10 ? 1 : 0)} ms`;
  const time = makeAbout(`${spell(milliseconds)} in the server, ${spell(way)} with the way`);
  if (value !== undefined) return make("div", {}, make("p", { class: "best" }, spellNumber(value)), time);
  const all = Object.entries(probabilities).sort(([, first], [, second]) => second - first);
  const bars = all.map(([name, share]) => makeBar(cut(name, 60), "whole", "", 100 * share, spellPercent(share)));
  const best = make("p", { class: "best" }, label, make("span", {}, spellPercent(probability)));
  return make("div", {}, best, makeShort(bars, "labels"), time);
}

function spellNumber(value) {
  return new Intl.NumberFormat("en", { maximumSignificantDigits: 6 }).format(value);
}

function makeBar(name, look, side, percent, number) {
  const fill = make("span", { class: `fill ${side}` });
  fill.style.width = `${percent}%`;
  const track = make("span", { class: `track ${look}`, "aria-hidden": true }, fill);
  return make("li", {}, make("span", {}, name), track, make("span", { class: "number" }, number));
}

/** A list of ten, and a button that shows the rest. */
function makeShort(items, what) {
  const list = make("ol", { class: "bars" }, ...items.slice(0, MOST_SHOWN));
  if (items.length <= MOST_SHOWN) return list;
  const showAll = () => {
    list.append(...items.slice(MOST_SHOWN));
    button.remove();
  };
  const button = makeButton(`Show all ${items.length} ${what}`, showAll);
  return make("div", {}, list, button);
}

const REASONS = { image: makeImageReason, text: makeTextReason, table: makeTableReason };

/** `picture` is the file that was asked about. What comes can take the focus. */
export function makeExplanation(explanation, picture) {
  const { kind, label } = explanation;
  const answer = label === undefined ? "this number" : `“${cut(label, 40)}”`;
  const [more, less] = label === undefined ? ["raises", "lowers"] : ["speaks for", "speaks against"];
  const mark = (side, words) => make("span", {}, make("i", { class: side }), `${words} ${answer}`);
  const legend = make("p", { class: `legend ${kind}` }, mark("for", more), mark("against", less));
  const [about, ...parts] = REASONS[kind](explanation, picture);
  const title = make("h3", {}, `Why ${answer}`);
  return make("div", { class: "why", tabindex: -1 }, title, makeAbout(about), legend, ...parts);
}

function makeImageReason({ weights, width, height }, picture) {
  const pick = (names, at, n) => names[Math.floor((3 * at) / n)];
  const places = weights.flatMap((row, y) => row.map((weight, x) => {
    const text = `${pick(["upper", "middle", "lower"], y, height)} ${pick(["left", "middle", "right"], x, width)}`;
    return { text: text.replace("middle middle", "middle"), weight };
  }));
  const words = sayMost(places, 1);
  const map = make("canvas", { class: "map", width, height, role: "img", "aria-label": words });
  const image = new ImageData(width, height);
  places.forEach(({ weight }, at) => {
    const color = weight > 0 ? [86, 180, 233] : [230, 120, 0];
    image.data.set([...color, 215 * Math.abs(weight) ** 0.8], 4 * at);
  });
  map.getContext("2d").putImageData(image, 0, 0);
  const below = make("img", { src: URL.createObjectURL(picture), alt: "" });
  below.onload = () => {
    URL.revokeObjectURL(below.src);
    if (below.naturalWidth <= 64) below.className = "pixels";
  };
  below.onerror = () => map.classList.add("alone");
  return [
    "How much covering each part of the picture changes the answer: the stronger the colour, the more.",
    make("div", { class: "overlay" }, below, map), makeAbout(words),
  ];
}

function makeTextReason({ words }) {
  const pieces = words.map(({ text, weight }) => {
    if (Math.abs(weight) < LEAST_WEIGHT) return text;
    const mark = make("span", { title: spellWeight(weight) }, text);
    const color = `var(${weight > 0 ? "--accent" : "--against"}) ${40 * Math.abs(weight)}%`;
    mark.style.backgroundColor = `color-mix(in srgb, ${color}, transparent)`;
    return mark;
  });
  return [
    "How much leaving each word out changes the answer: the stronger the colour, the more.",
    make("p", { class: "words" }, ...pieces), makeAbout(sayMost(words, 3)),
  ];
}

function makeTableReason({ columns }) {
  const items = columns.map(({ name, value, weight }) => {
    const cell = (value ?? "") === "" ? "unknown" : cut(String(value), 30);
    const words = make("span", {}, cut(name, 60), make("small", {}, cell));
    return makeBar(words, "both", weight < 0 ? "against" : "for", 50 * Math.abs(weight), spellWeight(weight));
  });
  return ["How much hiding each cell changes the answer; 1 is the most.", makeShort(items, "columns")];
}

function spellWeight(weight) {
  return Math.abs(weight) < 0.005 ? "0" : `${weight > 0 ? "+" : "−"}${Math.abs(weight).toFixed(2)}`;
}

/** "Most for it: FREE (+1.00). Most against it: lunch (−0.40)." */
function sayMost(parts, most) {
  const name = (sign, words) => {
    const found = parts.filter(({ weight }) => sign * weight >= LEAST_WEIGHT);
    found.sort((first, second) => sign * (second.weight - first.weight));
    const named = found.slice(0, most).map(({ text, weight }) => `${cut(text.trim(), 30)} (${spellWeight(weight)})`);
    return named.length ? `${words} it: ${named.join(", ")}.` : "";
  };
  return `${name(1, "Most for")} ${name(-1, "Most against")}`.trim() || "Nothing counts by itself.";
}
