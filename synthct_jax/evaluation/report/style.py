"""The looks of a report: one style sheet, for light and dark screens and for paper."""

CSS = """
:root {
  color-scheme: light dark;
  --ink: #1c2128; --quiet: #5d6671; --line: #d9dee4; --page: #f6f7f9; --card: #fff;
  --accent: #c4561f; --notice: #fff4e0; --notice-line: #e0a94f; --bar: #e8743b33;
  --floor: #3b8fd655;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e3e7ec; --quiet: #98a2ae; --line: #323841; --page: #15181c;
    --card: #1d2127; --accent: #f0925f; --notice: #332a17; --notice-line: #8f6a26;
    --bar: #e8743b44;
    --floor: #3b8fd677;
  }
}
* { box-sizing: border-box }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif;
}
main { max-width: 1080px; margin: 0 auto; padding: 32px 20px 60px }
h1 { font-size: 26px; margin: 0 0 6px; letter-spacing: -.01em }
h2 { font-size: 18px; margin: 0 0 4px }
h3 { font-size: 15px; margin: 22px 0 6px }
p { margin: 4px 0 10px; max-width: 78ch }
.quiet, figcaption, caption, dt { color: var(--quiet) }
.verdict { font-size: 19px; line-height: 1.4; margin: 10px 0 16px }
.verdict b { color: var(--accent) }
.notice {
  background: var(--notice); border-left: 4px solid var(--notice-line);
  padding: 8px 14px; margin: 10px 0; border-radius: 4px; max-width: none;
}
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 18px 22px; margin: 18px 0; overflow-x: auto;
}
dl {
  display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 8px 0;
}
dd { margin: 0; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: 6px 10px; text-align: right; border-bottom: 1px solid var(--line) }
th { font-weight: 600; vertical-align: bottom }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
tbody tr:last-child td { border-bottom: 0 }
table.dense td { padding: 3px 10px; white-space: nowrap }
table.dense th { white-space: nowrap }
table.dense th small { white-space: normal }
table.dense td:first-child { padding-left: 0 }
tr.part td { color: var(--quiet); padding-top: 16px; font-size: 13px }
td small, th small {
  display: block; color: var(--quiet); font-size: 12px; font-weight: 400;
}
td.best { font-weight: 700 }
td.best small { font-weight: 400 }
td.bar {
  background: linear-gradient(to left, var(--bar) var(--part), transparent var(--part));
}
.outside { color: var(--accent) !important }
svg.place { display: block; margin-left: auto }
svg text { fill: currentColor; font-size: 13px }
svg .quiet { fill: var(--quiet); font-size: 12px }
img { display: block; max-width: 100%; height: auto; margin: 6px 0; border-radius: 6px }
figure { margin: 14px 0 }
figcaption { font-size: 13.5px }
details { margin-top: 10px }
summary { cursor: pointer; color: var(--quiet) }
pre { font-size: 12.5px; overflow-x: auto; line-height: 1.4 }
@media print { section { break-inside: avoid; border: 0; padding: 8px 0 } }
""".strip()
