/** The page that reports stand on: its head, its style, its figures in two widths. Pure. */

import type { Drawing } from './chart.ts';
import { type Content, type Html, html, ownMarkup } from './html-elements.ts';
import { darkScheme, lightScheme, schemeAsCss } from './look.ts';

export interface Page {
  title: string;
  /** Over the title: what kind of page this is. */
  kind: string;
  lead: Content;
  sections: readonly Section[];
}

export interface Section {
  id: string;
  title: string;
  content: Content;
}

/** The whole file. It needs nothing from anywhere, and says so to the browser. */
export function renderPage({ title, kind, lead, sections }: Page): string {
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="generator" content="lodge">
<title>${title}</title>
<style>${ownMarkup(css())}</style>
</head>
<body>
<header><p class="kind">${kind}</p><h1>${title}</h1>${lead}
<nav aria-label="Contents">${sections.map((section) => html`<a href="#${section.id}">${section.title}</a> `)}</nav></header>
<main>${sections.map(
    (section) => html`
<section id="${section.id}"><h2>${section.title}</h2>
${section.content}</section>`,
  )}
</main>
</body>
</html>
`;
  return page.text;
}

/** A figure, drawn once for wide and once for narrow pages; the page shows the one that fits. */
export function figure(draw: (drawing: Drawing) => string, options: { isSmall?: boolean } = {}): Html {
  const svg = (widthPx: number, plotHeightPx: number) =>
    ownMarkup(draw({ widthPx, plotHeightPx, colours: 'page', legend: options.isSmall !== true }));
  if (options.isSmall === true) return html`<figure class="small">${svg(400, 190)}</figure>`;
  return html`<figure><div class="for-wide">${svg(660, 290)}</div><div class="for-narrow">${svg(372, 230)}</div></figure>`;
}

function css(): string {
  return `
:root{${schemeAsCss(lightScheme)};--page:#fbfbfa;--line:#d9dde1;--good:#00734f;--bad:#b03a00;--open:#5b6670;--code:#f0f2f3}
@media screen and (prefers-color-scheme:dark){:root{${schemeAsCss(darkScheme)};--page:#101316;--line:#333b42;--good:#4fd1a5;--bad:#ff9a6b;--open:#a2acb5;--code:#1d2226}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:var(--page);color:var(--ink);font:1rem/1.55 system-ui,-apple-system,"Segoe UI","Noto Sans",sans-serif;overflow-wrap:anywhere}
header,main{max-width:86rem;margin:0 auto;padding:0 clamp(1rem,4vw,3.5rem)}
header{padding-top:clamp(1.5rem,4vw,3.5rem)}
h1{font-size:clamp(1.6rem,1.1rem + 2.2vw,2.5rem);line-height:1.15;letter-spacing:-.015em;margin:.1em 0 .5em;max-width:30ch;text-wrap:balance}
h2{font-size:1.35rem;line-height:1.25;letter-spacing:-.01em;margin:0 0 .7rem}
h3{font-size:1.02rem;margin:1.8rem 0 .4rem}
p,ul.plain,li{max-width:74ch}
p{margin:.5rem 0}
.kind{color:var(--muted);font-size:.85rem;letter-spacing:.02em;margin:0}
.about{color:var(--muted)}
a{color:inherit;text-decoration-color:var(--axis);text-underline-offset:.18em}
a:hover{text-decoration-color:currentColor}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:1.6rem 0 0;padding:.7rem 0;border-block:1px solid var(--line);font-size:.9rem}
section{margin:2.6rem 0 0;scroll-margin-top:1rem}
main{padding-bottom:4rem}
.answer{list-style:none;margin:1.2rem 0;padding:0;font-size:clamp(1.02rem,.95rem + .35vw,1.18rem)}
.answer li{padding:.32rem 0 .32rem 1.7em;position:relative}
.answer b{font-weight:650}
.mark{position:absolute;left:0;width:1.3em;text-align:center;font-weight:700}
.good{color:var(--good)}.bad{color:var(--bad)}.open{color:var(--open)}
.verdict{white-space:nowrap}
.warning{border-left:.3rem solid var(--warning);background:var(--warningPaper);color:var(--warning);padding:.7rem 1rem;border-radius:.25rem;font-weight:600;max-width:80ch}
.note{color:var(--muted);font-size:.9rem;max-width:80ch;font-weight:400}
.box{margin:.9rem 0;border:1px solid var(--line);border-radius:.5rem;background:var(--paper);max-width:100%;overflow:hidden}
.small-box{max-width:46rem}
.figures>.box{margin:0;min-width:0;max-width:none}
.scroll{overflow-x:auto}
.caption{margin:0;padding:.7rem .9rem .4rem;color:var(--muted);font-size:.85rem;line-height:1.4;max-width:none}
.scroll:focus-visible,a:focus-visible,summary:focus-visible{outline:2px solid var(--s1);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-size:.9rem;line-height:1.4;overflow-wrap:normal}
th,td{text-align:left;padding:.36rem .9rem;vertical-align:top;font-weight:400}
thead th{font-weight:600;border-bottom:1px solid var(--axis);white-space:nowrap;vertical-align:bottom}
tbody tr+tr>*{border-top:1px solid var(--grid)}
tbody+tbody>tr:first-child>*{border-top:1px solid var(--line)}
.group th{font-weight:650;padding-top:.8rem}
tbody th[scope=row]{white-space:nowrap}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
span.rank{display:inline-block;min-width:1.5em;margin-left:.35em;padding:0 .3em;border-radius:.25em;background:var(--code);color:var(--muted);font-size:.82em;text-align:center}
.wide{color:var(--muted)}
.facts th{color:var(--muted);width:1%;padding-right:1.5rem}
td{overflow-wrap:anywhere}
.brief{display:inline-block;min-width:8rem}
.reason{display:inline-block;min-width:13rem;max-width:60ch;white-space:normal;vertical-align:top;text-align:left}
.sticky{position:sticky;left:0;background:var(--paper)}
code,pre{font-family:ui-monospace,"SF Mono","Cascadia Mono","DejaVu Sans Mono",monospace;font-size:.86em}
code.command{white-space:nowrap}
pre{background:var(--code);border-radius:.5rem;padding:.8rem 1rem;overflow-x:auto;line-height:1.45;overflow-wrap:normal}
details{margin:.9rem 0}
summary{cursor:pointer;font-weight:600}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,33rem),1fr));gap:1.2rem;margin-top:1.2rem}
.small-figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1.2rem;margin-top:1.2rem}
figure{margin:0;background:var(--paper);border:1px solid var(--line);border-radius:.5rem;padding:.35rem;break-inside:avoid;min-width:0}
figure svg{display:block;width:100%;height:auto;max-width:52rem;margin:0 auto}
figure.small svg{max-width:30rem}
.for-narrow{display:none}
@media (max-width:62rem){th,td{padding-inline:.65rem}}
@media (max-width:36rem){.for-wide{display:none}.for-narrow{display:block}th,td{padding-inline:.55rem}}
@media print{body{background:#fff;font-size:10pt}header,main{max-width:none;padding:0}nav{display:none}section{break-inside:auto}.box,.scroll{overflow:visible;border:0}.caption{padding-left:.4rem}table{font-size:8pt}th,td{padding:.15rem .4rem}tr,.warning{break-inside:avoid}h2,h3{break-after:avoid}.figures{grid-template-columns:1fr}pre{white-space:pre-wrap}code.command{white-space:normal}details::details-content{content-visibility:visible;display:block}}
`.trim();
}
