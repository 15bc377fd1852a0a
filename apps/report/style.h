// The style sheet of the report. Colours are those of Okabe and Ito, made darker on light paper and
// lighter on dark, so that they differ for colour-blind readers and reach a contrast of 3:1.
#pragma once

namespace fulcrum::apps {

inline constexpr const char* kReportStyle = R"CSS(
:root {
  color-scheme: light;
  --paper: #fcfcfa; --panel: #f3f4f1; --ink: #1d232a; --muted: #5a6570; --rule: #d9dcd8; --grid: #e6e8e4; --shade: rgb(0 0 0 / .16);
  --s1: #1769aa; --s2: #c8500a; --s3: #0b8562; --s4: #a84a8c; --s5: #8f6b00; --s6: #2b8fc4; --s7: #6554b5;
  --s8: #77818b;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    color-scheme: dark;
    --paper: #15191e; --panel: #1e242a; --ink: #e6e9ec; --muted: #9ba6b1; --rule: #343c45; --grid: #2a3138; --shade: rgb(0 0 0 / .6);
    --s1: #62aef0; --s2: #ff9250; --s3: #3ec79c; --s4: #e293c6; --s5: #dcb847; --s6: #86d3fb; --s7: #aea1f2;
    --s8: #98a3ae;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
svg, img { break-inside: avoid; }
main { max-width: 1080px; margin: 0 auto; padding: 48px 32px 72px; }
h1, h2 { font-family: Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, "DejaVu Serif", serif; font-weight: 600; }
h1 { font-size: 2.1rem; line-height: 1.15; margin: 0 0 10px; overflow-wrap: anywhere; letter-spacing: -0.01em; }
h2 { font-size: 1.45rem; line-height: 1.2; margin: 64px 0 16px; padding-top: 18px; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; line-height: 1.3; font-weight: 600; margin: 0 0 8px; }
section > h3 { margin-top: 36px; }
p { max-width: 46em; margin: 0 0 14px; overflow-wrap: anywhere; }
.eyebrow { color: var(--muted); font-size: .8rem; letter-spacing: .08em; text-transform: uppercase; margin: 0 0 10px; }
.lead { font-size: 1.08rem; color: var(--muted); }
.note, figcaption { color: var(--muted); font-size: .88rem; line-height: 1.5; }
.note { border-left: 3px solid var(--rule); padding-left: 12px; margin: 14px 0; }
figcaption { margin-top: 6px; max-width: 46em; }

.tiles { display: flex; flex-wrap: wrap; gap: 1px; margin: 28px 0;
  background: var(--rule); border: 1px solid var(--rule); border-radius: 8px; overflow: hidden; }
.tiles > div { flex: 1 1 150px; background: var(--paper); padding: 14px 16px; }
.tiles dt { color: var(--muted); font-size: .8rem; }
.tiles dd { margin: 0; }
.tiles dd.value { font-size: 1.7rem; line-height: 1.25; font-weight: 600; letter-spacing: -0.01em; }
.tiles dd.value small { font-size: 1rem; font-weight: 400; color: var(--muted); }
.tiles dd.more { color: var(--muted); font-size: .8rem; overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); gap: 4px 44px; margin: 0; }
.facts > div { display: flex; gap: 12px; border-bottom: 1px solid var(--grid); padding: 5px 0; }
.facts dt { color: var(--muted); flex: 0 0 7.5em; }
.facts dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }

.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr)); gap: 40px 44px; margin: 24px 0; }
.figures + .figures { margin-top: 40px; }
figure { margin: 0; min-width: 0; }
figure.wide { grid-column: 1 / -1; }
figure svg { display: block; width: 100%; height: auto; overflow: visible; }
figure.wide svg { max-width: 760px; }
.beside { display: flex; flex-wrap: wrap; gap: 24px 40px; align-items: center; }
.beside > :first-child { flex: 1 1 600px; min-width: 0; }
/* Shadows at the edges past which there is more. */
.scroll { overflow-x: auto; max-width: 100%;
  background: linear-gradient(90deg, var(--paper) 30%, transparent) left / 40px 100% no-repeat local,
    linear-gradient(270deg, var(--paper) 30%, transparent) right / 40px 100% no-repeat local,
    linear-gradient(90deg, var(--shade), transparent) left / 12px 100% no-repeat scroll,
    linear-gradient(270deg, var(--shade), transparent) right / 12px 100% no-repeat scroll; }
.scroll:focus-visible { outline: 2px solid var(--s1); outline-offset: 2px; }
svg text { font-size: 12px; fill: var(--ink); font-family: inherit; }
.ticks text, .names text { fill: var(--muted); }
.grid path { stroke: var(--grid); fill: none; }
.axis { stroke: var(--muted); fill: none; }
.line { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.dashed { stroke-dasharray: 6 4; stroke-width: 1.7; }
.dots circle { fill: var(--c); }
.hits circle { fill: var(--c); fill-opacity: 0; }
.hits circle:hover { fill-opacity: 1; }
.direct text { fill: var(--c); font-weight: 600; }
.reference { stroke: var(--muted); stroke-dasharray: 2 4; fill: none; }
.marks circle { fill: var(--s1); fill-opacity: .85; }
.small circle { fill-opacity: .4; }
.cross { stroke: var(--s2); stroke-width: 1.5; fill: none; }
.rows .bar { stroke: var(--s1); stroke-width: 12; }
.rows .join { stroke: var(--s8); stroke-width: 2; }
.rows .from { fill: var(--paper); stroke: var(--s8); stroke-width: 2; }
.rows .to { fill: var(--s1); }
.whisker { stroke: var(--c); stroke-width: 2; fill: none; }
.ring { fill: var(--paper); stroke: var(--c); stroke-width: 2; }
.plain { fill: var(--c); }
.mark-cross { stroke: var(--c); stroke-width: 2; fill: none; }
.map rect { fill: var(--s1); }
.map .on { fill: var(--paper); }
.map .outline { fill: none; stroke: var(--s2); stroke-width: 2.5; }
.strip path { fill: var(--c); }
.ground { fill: none; stroke: var(--rule); }
.cells .right { fill: var(--s1); }
.cells .wrong { fill: var(--s2); }
.cells .on { fill: var(--paper); }

.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 10px; padding: 0; font-size: .85rem; }
.legend li { display: flex; align-items: center; gap: 7px; min-width: 0; overflow-wrap: anywhere; }
.key { flex: none; width: 20px; height: 0; border-top: 3px solid var(--c); }
.key.dashed { border-top-style: dashed; stroke: none; }
.key.dot { width: 9px; height: 9px; border: 0; border-radius: 50%; background: var(--c); }
.key.ring { width: 10px; height: 10px; border: 2px solid var(--c); border-radius: 50%; }
.key.block { width: 12px; height: 12px; border: 0; background: var(--c); }
.key.cross { width: 11px; height: 11px; border: 0; position: relative; }
.key.cross::before, .key.cross::after { content: ""; position: absolute; left: 5px; top: -1px; height: 13px; border-left: 2px solid var(--c); transform: rotate(45deg); }
.key.cross::after { transform: rotate(-45deg); }

table { border-collapse: collapse; font-size: .92rem; }
th, td { text-align: left; padding: 6px 22px 6px 0; border-bottom: 1px solid var(--grid); vertical-align: baseline; font-weight: 400; }
table:has(thead th:nth-child(11)) :is(th, td) { padding-right: 12px; min-width: 0; }
table th:last-child, table td:last-child { padding-right: 2px; }
thead th { color: var(--muted); border-bottom-color: var(--rule); white-space: nowrap; }
.n { text-align: right; white-space: nowrap; }
tr.strong > * { font-weight: 600; }
td { min-width: 4em; }
.w:last-child { min-width: 15em; }
tbody th { min-width: 9.5em; }
td, tbody th { max-width: 26em; overflow-wrap: break-word; }
details { margin: 20px 0; }
summary { cursor: pointer; color: var(--s1); }
pre { background: var(--panel); border-radius: 6px; padding: 14px 16px; overflow-x: auto; font-size: .82rem; line-height: 1.5; }
.samples { list-style: none; margin: 12px 0 0; padding: 0; display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: 18px 14px; }
.samples li { font-size: .78rem; line-height: 1.35; color: var(--muted); min-width: 0; }
.samples img { display: block; width: 76px; height: 76px; object-fit: contain; image-rendering: pixelated; background: var(--panel); border-radius: 4px; margin-bottom: 5px; }
.samples b { display: block; color: var(--ink); font-weight: 600; overflow-wrap: anywhere; }
.samples .clean { display: block; color: var(--s2); overflow-wrap: anywhere; }
footer { margin-top: 72px; border-top: 1px solid var(--rule); padding-top: 14px; color: var(--muted); font-size: .85rem; }

@media (max-width: 640px) {
  main { padding: 28px 16px 48px; }
  h1 { font-size: 1.65rem; }
  h2 { margin-top: 48px; }
  svg text { font-size: 13px; }
  .tiles > div { flex-basis: 40%; padding: 12px; }
  figure.wide svg { min-width: 620px; }
  .facts > div { flex-direction: column; gap: 0; }
  .facts dt { flex: none; }
  td, th { padding-right: 16px; }
  .samples { grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 14px 8px; }
  .samples img { max-width: 100%; }
}
@media print {
  main { max-width: none; padding: 0; }
  body { font-size: 11pt; }
  .figures { grid-template-columns: 1fr 1fr; gap: 24px; }
  figure, tr, .samples li, .tiles > div { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  details::details-content { content-visibility: visible; height: auto; }
  pre { white-space: pre-wrap; }
  .scroll { overflow: visible; }
}
)CSS";

}  // namespace fulcrum::apps
