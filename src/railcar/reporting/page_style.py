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
table.cells td { white-space: nowrap; }
table.texts td:last-child { width: 80%; min-width: 11rem; overflow-wrap: anywhere; }
table.columns td:last-child { min-width: 220px; width: 45%; }
table.columns svg.histogram { height: 34px; }
table.columns svg.bar { height: 10px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 18px 28px; }
.chart { display: grid; grid-template: auto 230px 1.5em auto / var(--beside) minmax(0, 1fr); font-size: .8rem;
  color: var(--pale); font-variant-numeric: tabular-nums; }
.chart .of { grid-column: 1 / -1; margin: 0 0 8px; }
.chart .beside { grid-row: 2; position: relative; }
.chart .beside span { position: absolute; right: 7px; line-height: 1; transform: translateY(50%); }
.chart .drawing { grid-row: 2; grid-column: 2; min-width: 0; }
.chart .below { grid-row: 3; grid-column: 2; position: relative; margin-right: 8px; }
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
.chart .mark { stroke-width: 9; stroke-linecap: round; }
.chart rect.fill0 { fill: var(--accent); }
.stroke0 { stroke: var(--part0); } .stroke1 { stroke: var(--part1); } .stroke2 { stroke: var(--c2); }
.stroke3 { stroke: var(--c3); } .stroke4 { stroke: var(--c4); } .stroke5 { stroke: var(--c5); }
.stroke6 { stroke: var(--c6); } .stroke7 { stroke: var(--c7); }
.fill0 { background: var(--part0); } .fill1 { background: var(--part1); } .fill2 { background: var(--c2); }
.fill3 { background: var(--c3); } .fill4 { background: var(--c4); } .fill5 { background: var(--c5); }
.fill6 { background: var(--c6); } .fill7 { background: var(--c7); }
.legend i.dashed { height: 4px; vertical-align: middle; }
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
}
"""
