"""How the pages look: one style sheet, light and dark, from 390 pixels up, with no font or file of another host.

Colours of parts and levels are Okabe and Ito's, which colour-blind readers tell apart; each level is also a word.
"""

from __future__ import annotations

STYLE = """
:root {
  --paper: #fbfbfa; --card: #fff; --ink: #1d1f21; --pale: #5f6468; --line: #e2e3e1; --accent: #0072b2;
  --part0: #0072b2; --part1: #e69f00; --part2: #009e73; --error: #b8360a; --warning: #8a6100; --note: #55606a;
  --good: #00714f; --c2: #009e73; --c3: #cc79a7; --c4: #d55e00; --c5: #56b4e9; --c6: #8a6d00; --c7: #5f6468;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181a; --card: #1f2224; --ink: #e7e8e8; --pale: #a2a8ad; --line: #34383b; --accent: #56b4e9;
    --part0: #56b4e9; --part1: #f0b93a; --part2: #2fc79a; --error: #ff8a5c; --warning: #f0b93a; --note: #a2b0bc;
    --good: #2fc79a; --c2: #2fc79a; --c3: #e79ac6; --c4: #ff8a5c; --c5: #9fd6f5; --c6: #d9c04a; --c7: #a2a8ad;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 36px 0 10px; }
h3 { font-size: 1rem; margin: 0; font-weight: 600; overflow-wrap: anywhere; }
p { margin: 0 0 6px; overflow-wrap: anywhere; }
header .path { color: var(--pale); font-size: .88rem; }
small { display: block; color: var(--pale); font-size: .78rem; overflow-wrap: anywhere; }
.about, .ends, footer { color: var(--pale); font-size: .88rem; }
.verdict strong { color: var(--good); }
.verdict.error strong { color: var(--error); }
.finding { display: grid; grid-template-columns: 84px 1fr; gap: 12px; background: var(--card); padding: 12px 14px;
  border: 1px solid var(--line); border-left: 4px solid var(--note); border-radius: 6px; margin-bottom: 8px; }
.finding > div { min-width: 0; }
.finding.error { border-left-color: var(--error); }
.finding.warning { border-left-color: var(--warning); }
.level { font-weight: 600; color: var(--note); }
.error .level { color: var(--error); }
.warning .level { color: var(--warning); }
.mend { color: var(--pale); }
.mend::before { content: "→ "; }
details { font-size: .88rem; color: var(--pale); }
details ol { margin: 6px 0; padding-left: 26px; }
details li { overflow-wrap: anywhere; }
summary { cursor: pointer; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: .88rem; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; }
.counts { display: grid; grid-template-columns: minmax(0, max-content) minmax(60px, 1fr) max-content; gap: 4px 12px;
  align-items: center; font-size: .88rem; font-variant-numeric: tabular-nums; }
.counts .name { max-width: 15rem; overflow-wrap: anywhere; }
.counts .gap { grid-column: 1 / -1; color: var(--pale); margin: 2px 0; }
svg { display: block; width: 100%; }
svg.bar { height: 14px; }
svg.histogram { height: 90px; fill: var(--accent); border-bottom: 1px solid var(--line); }
.part0 { fill: var(--part0); background: var(--part0); }
.part1 { fill: var(--part1); background: var(--part1); }
.part2 { fill: var(--part2); background: var(--part2); }
.classes { display: grid; grid-template-columns: minmax(70px, max-content) minmax(0, 1fr); gap: 8px 16px;
  align-items: center; }
.classes h3 { max-width: 13rem; font-weight: 500; }
.strip { display: grid; grid-template-columns: repeat(10, minmax(0, 1fr)); gap: 6px; }
img { width: 100%; height: auto; display: block; border-radius: 4px; background: var(--line); }
img.pixels { image-rendering: pixelated; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(116px, 1fr)); gap: 12px; margin-top: 8px; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .82rem; line-height: 1.3; margin-top: 4px; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: 12px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 12px 14px; }
.ends { display: flex; justify-content: space-between; margin: 2px 0; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 7px 12px; border-top: 1px solid var(--line); }
tr:first-child > * { border-top: 0; color: var(--pale); font-weight: 500; white-space: nowrap; }
th { font-weight: 600; }
th, td, b, h1, h3, dt, dd, mark, code, small, figcaption, .name, .quote, .legend span { unicode-bidi: isolate; }
table.cells td { white-space: nowrap; }
table.pairs th:first-child, table.pairs td:nth-child(2) { min-width: 7rem; }
table.texts td:last-child { width: 80%; min-width: 11rem; overflow-wrap: anywhere; }
table.columns td:last-child { min-width: 220px; width: 45%; }
table.columns svg.histogram { height: 34px; }
table.columns svg.bar { height: 10px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 18px 28px; }
.charts.three { grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); }
.chart { display: grid; grid-template: auto 230px 1.5em auto / var(--beside) minmax(0, 1fr); font-size: .8rem;
  color: var(--pale); font-variant-numeric: tabular-nums; padding-right: 14px; }
.chart .of { grid-column: 1 / -1; margin: 0 0 8px; }
.chart .beside { grid-row: 2; position: relative; }
.chart .beside span { position: absolute; right: 7px; line-height: 1; transform: translateY(50%); }
.chart .drawing { grid-row: 2; grid-column: 2; min-width: 0; overflow: clip; overflow-clip-margin: 6px; }
.chart .below { grid-row: 3; grid-column: 2; position: relative; }
.chart .below span { position: absolute; top: 4px; transform: translateX(-50%); white-space: nowrap; }
.chart .along { grid-row: 4; grid-column: 2; text-align: center; margin: 2px 0 0; }
.chart svg { height: 100%; overflow: visible; }
.chart svg * { vector-effect: non-scaling-stroke; fill: none; }
.chart .rule { stroke: var(--line); }
.chart .diagonal { stroke: var(--pale); stroke-dasharray: 3 4; }
.chart polyline { stroke-width: 2; stroke-linejoin: round; }
.chart .pale { stroke-width: 1.2; opacity: .55; }
.chart .dashed { stroke-dasharray: 6 4; }
.chart .dots { stroke-width: 4; stroke-linecap: round; opacity: .5; }
.chart .few { stroke-width: 5; stroke-linecap: round; stroke-dasharray: none; }
.chart .mark { stroke-width: 9; stroke-linecap: round; }
.chart rect.fill0 { fill: var(--accent); }
.stroke0 { stroke: var(--part0); } .stroke1 { stroke: var(--part1); } .stroke2 { stroke: var(--c2); }
.stroke3 { stroke: var(--c3); } .stroke4 { stroke: var(--c4); } .stroke5 { stroke: var(--c5); }
.stroke6 { stroke: var(--c6); } .stroke7 { stroke: var(--c7); }
.fill0 { background: var(--part0); } .fill1 { background: var(--part1); } .fill2 { background: var(--c2); }
.fill3 { background: var(--c3); } .fill4 { background: var(--c4); } .fill5 { background: var(--c5); }
.fill6 { background: var(--c6); } .fill7 { background: var(--c7); }
.legend i.dashed { height: 4px; vertical-align: middle; }
nav { display: flex; flex-wrap: wrap; gap: 6px 16px; margin: 22px 0 0; padding: 10px 0; font-size: .9rem;
  border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); }
a { color: var(--accent); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 16px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 12px 14px;
  font-size: .84rem; color: var(--pale); }
.tile .value { font-size: 1.3rem; font-weight: 600; color: var(--ink); margin: 0; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.tile:first-child .value { color: var(--accent); }
.counts + h3, .classes + h3, .scroll + h3 { margin: 18px 0 4px; }
.counts + .scroll { margin-top: 16px; }
.scroll + .about { margin: 6px 0 14px; }
h3 + .scroll { margin-top: 4px; }
.classes.samples { margin-top: 18px; }
.samples .strip { grid-template-columns: repeat(auto-fill, minmax(44px, 56px)); }
.scroll:has(> table.confusion) { width: fit-content; max-width: 100%; }
table.confusion { width: auto; }
table.confusion th, table.confusion td { padding: 5px 9px; text-align: right; white-space: nowrap; }
table.confusion tr > th:first-child { text-align: left; position: sticky; left: 0; background: var(--card); }
table.confusion td { background: color-mix(in srgb, var(--accent) calc(var(--share, 0%) * .42), transparent); }
table.confusion td.right { background: color-mix(in srgb, var(--pale) 16%, transparent); color: var(--pale); }
.meter { display: inline-block; min-width: 76px; padding: 0 6px; border-radius: 3px; background:
  linear-gradient(90deg, color-mix(in srgb, var(--accent) 26%, transparent) var(--share), transparent var(--share)); }
.mistakes { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 240px), 1fr)); gap: 12px;
  margin-top: 10px; }
.mistakes.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); }
.mistake { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 10px 12px;
  min-width: 0; break-inside: avoid; }
.said { font-size: .88rem; line-height: 1.35; margin: 0 0 8px; }
.doubt { color: var(--warning); font-weight: 600; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; }
.seen { position: relative; min-width: 0; }
.seen .heat { position: absolute; inset: 0; width: 100%; height: 100%; background: none; }
.near { font-size: .78rem; color: var(--pale); margin-top: 8px; }
.near p { margin: 0 0 3px; }
.near > div { display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px; }
.near figcaption { font-size: .78rem; margin-top: 2px; }
.quote { font-size: .9rem; overflow-wrap: anywhere; }
mark { color: inherit; border-radius: 3px; padding: 0 1px; background: none; }
mark.for { background: color-mix(in srgb, var(--accent) var(--share), transparent); }
mark.against { background: color-mix(in srgb, var(--part1) calc(var(--share) * .8), transparent); }
dl { margin: 0; font-size: .86rem; }
dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
dl.row { display: grid; grid-template-columns: minmax(0, 1.2fr) minmax(0, 1fr) minmax(60px, 1fr); gap: 3px 10px; }
dl.row dt { color: var(--pale); overflow-wrap: anywhere; }
.weight { position: relative; border-left: 1px solid transparent; }
.weight::before { content: ""; position: absolute; left: 50%; top: 0; bottom: 0; border-left: 1px solid var(--line); }
.weight i { position: absolute; top: 5px; height: 10px; width: var(--share); border-radius: 2px; }
.weight i.for { left: 50%; background: var(--accent); }
.weight i.against { right: 50%; background: var(--part1); }
dl.facts { display: grid; grid-template-columns: minmax(90px, max-content) minmax(0, 1fr); gap: 5px 18px; }
dl.facts dt { color: var(--pale); }
dl.commands { display: grid; grid-template-columns: minmax(0, max-content) minmax(0, 1fr); gap: 6px 22px; }
dl.commands dd { color: var(--pale); }
pre { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 10px 12px;
  color: var(--ink); font-size: .82rem; line-height: 1.4; }
code { overflow-wrap: anywhere; }
table.choices td:first-of-type { min-width: 8rem; max-width: 20rem; overflow-wrap: anywhere; }
table.choices th { white-space: nowrap; }
table.texts.choices td:last-child { width: auto; min-width: 16rem; }
section > details { margin-top: 10px; }
ul { margin: 0; padding-left: 22px; }
li { overflow-wrap: anywhere; }
footer { margin-top: 40px; }
@media (max-width: 640px) {
  main { padding: 18px 14px 36px; }
  h1 { font-size: 1.35rem; }
  .finding { grid-template-columns: 1fr; gap: 2px; }
  .classes { grid-template-columns: minmax(0, 1fr); gap: 4px; }
  .classes h3 { margin-top: 8px; max-width: none; }
  .strip { grid-template-columns: repeat(5, minmax(0, 1fr)); }
  .counts .name { max-width: 8rem; }
  .mistakes:not(.wide) { grid-template-columns: 1fr 1fr; }
  dl.commands { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dl.commands dd { margin-bottom: 8px; }
}
@media print {
  :root { --paper: #fff; --card: #fff; --ink: #000; --pale: #444; --line: #ccc; --accent: #0072b2; --part0: #0072b2;
    --part1: #b36b00; }
  body { font-size: 12px; }
  nav { display: none; }
  section, .finding, .tile { break-inside: avoid-page; }
  .scroll { overflow: visible; }
}
"""
