/** Placements drawn: link loads before and after, and how far pairs are apart. One file that needs nothing else. Pure. */

import type { Routing } from '../../machine/network/links.ts';
import { axisName } from '../../machine/network/links.ts';
import type { Side } from '../../machine/network/metric.ts';
import type { HostNetwork } from '../../machine/network/network.ts';
import { escapeText } from '../../markup.ts';
import type { Placement } from '../mapper/problem.ts';
import { dilationHistogram, linkLoads, measure } from '../metrics.ts';
import { inOrder, roomFor } from '../place.ts';
import type { Traffic } from '../traffic/graph.ts';
import { box, heat, label, picture } from './drawing.ts';

export interface Plotted {
  traffic: Traffic;
  network: HostNetwork;
  placement: Placement;
  /** What it is compared with; ranks in their order where nothing is given. */
  before?: Placement;
  routing: Routing;
  /** Its ending tells the form: `.svg`, else HTML. */
  file: string;
}

const widthPx = 900;

export function plot({ traffic, network, placement, before, routing, file }: Plotted): string {
  const first = before ?? inOrder(traffic.ranks, roomFor(traffic, network));
  const both = [
    { title: before === undefined ? 'ranks in order' : 'before', placement: first },
    { title: before === undefined ? 'placed' : 'after', placement },
  ];
  const loads = both.map((one) => linkLoads(traffic, network, one.placement, routing));
  const pictures: string[] = [
    histogram(
      both.map(({ title, placement: one }) => ({ title, counts: dilationHistogram(traffic, network, one) })),
    ),
  ];
  const fullestOfEach = loads.map((some) =>
    some?.reduce(
      (most, load, link) => (load === 0 ? most : Math.max(most, load / network.links!.width(link))),
      0,
    ),
  );
  const most = Math.max(0, ...fullestOfEach.map((one) => one ?? 0));
  both.forEach(({ title }, i) => {
    const some = loads[i];
    if (some === undefined) return;
    pictures.push(
      network.sides === undefined
        ? fullest(title, network, some, most)
        : slices(title, network.sides, some, fullestOfEach[i]!, most),
    );
  });
  if (/\.svg$/i.test(file)) return stacked(pictures);
  const rows = both.map(({ title, placement: one }, i) => {
    // Links were loaded above; that takes longer than all else.
    const { hopsPerByte, averageDilation, maximumDilation } = measure(traffic, network, one, undefined);
    return [
      title,
      hopsPerByte.toFixed(4),
      averageDilation.toFixed(4),
      String(Number(maximumDilation.toPrecision(6))),
      fullestOfEach[i]?.toPrecision(6) ?? '-',
    ];
  });
  const title = `${traffic.ranks} ranks on ${network.form}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeText(title)}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:${widthPx}px;margin:2em auto;padding:0 1em;background:#fff;color:#1b2127}
svg{max-width:100%;height:auto}td,th{padding:.2em 1em .2em 0;text-align:right}td:first-child,th:first-child{text-align:left}</style>
</head><body><h1>${escapeText(title)}</h1>
<table><tr><th></th><th>hops for each byte</th><th>average dilation</th><th>largest</th><th>bytes over the fullest link (${routing})</th></tr>
${rows.map((row) => `<tr>${row.map((cell) => `<td>${escapeText(cell)}</td>`).join('')}</tr>`).join('\n')}</table>
${pictures.map((one) => `<p>${one}</p>`).join('\n')}
</body></html>
`;
}

/** One picture of all. */
function stacked(pictures: readonly string[]): string {
  let y = 0;
  const content = pictures.map((one) => {
    const height = Number(/height="(\d+)"/.exec(one)![1]);
    const placed = one.replace('<svg ', `<svg y="${y}" `);
    y += height + 10;
    return placed;
  });
  return picture(widthPx, y, content.join(''), 'placement');
}

function histogram(series: readonly { title: string; counts: readonly number[] }[]): string {
  const colours = ['#a8b3bd', '#4432b9'];
  const bins = Math.max(1, ...series.map(({ counts }) => counts.length));
  const most = Math.max(1, ...series.flatMap(({ counts }) => counts));
  const [left, top, height] = [70, 50, 200];
  const step = (widthPx - left - 20) / bins;
  let content = label(14, 24, 'Pairs by the hops between them', { size: 15 });
  series.forEach(({ title, counts }, i) => {
    content +=
      box(widthPx - 320 + i * 150, 14, 12, 12, colours[i]!) + label(widthPx - 302 + i * 150, 24, title);
    counts.forEach((count, hops) => {
      const bar = (height * count) / most;
      const barWidth = (step * 0.8) / series.length;
      content += box(
        left + hops * step + step * 0.1 + i * barWidth,
        top + height - bar,
        barWidth,
        bar,
        colours[i]!,
        `${title}: ${count} pairs at ${hops} hops`,
      );
    });
  });
  const every = Math.ceil(bins / 24);
  for (let hops = 0; hops < bins; hops += every) {
    content += label(left + (hops + 0.5) * step, top + height + 18, String(hops), { anchor: 'middle' });
  }
  content +=
    label(left - 8, top + 10, String(most), { anchor: 'end' }) +
    label(left - 8, top + height, '0', { anchor: 'end' });
  return picture(widthPx, top + height + 34, content, 'pairs by hops');
}

/** More slices, and more hosts along a side, would not be told apart. */
const mostSlices = 16;
const mostAlong = 48;

/**
 * Slices of a mesh or torus in its last two dimensions: each host a cell, coloured by the fullest link that leaves it
 * within the slice, and in its corner by the fullest one across slices. Both pictures have one scale, up to `most`.
 */
function slices(
  title: string,
  sides: readonly Side[],
  loads: Float64Array,
  fullestLoad: number,
  most: number,
): string {
  const dimensions = sides.length;
  const sizes = sides.map(({ size }) => size);
  const [rows, columns] = dimensions === 1 ? [1, sizes[0]!] : [sizes.at(-2)!, sizes.at(-1)!];
  const perSlice = rows * columns;
  const count = sizes.reduce((product, size) => product * size, 1) / perSlice;
  const shown = Math.min(count, mostSlices);
  const across = Math.min(shown, 4);
  const perCell = Math.max(1, Math.ceil(Math.max(rows, columns) / mostAlong));
  const cell = Math.min(24, (widthPx - 40) / across / (Math.ceil(columns / perCell) + 1));
  const sliceWidth = cell * (Math.ceil(columns / perCell) + 1);
  const sliceHeight = cell * Math.ceil(rows / perCell) + 30;
  const inSlice = dimensions === 1 ? [0] : [dimensions - 2, dimensions - 1];
  const fullestOf = (host: number, dims: readonly number[]): number =>
    dims.reduce(
      (largest, d) =>
        Math.max(largest, loads[2 * (host * dimensions + d)]!, loads[2 * (host * dimensions + d) + 1]!),
      0,
    );
  const others = sizes.map((_, d) => d).filter((d) => !inSlice.includes(d));
  const share = (load: number): number => (most === 0 ? 0 : load / most);
  let content = label(
    14,
    24,
    `Loads of links, ${title}: the fullest carries ${fullestLoad.toPrecision(4)} bytes, of ${most.toPrecision(4)} in both`,
    {
      size: 15,
    },
  );
  for (let i = 0; i <= 20; i++) content += box(widthPx - 260 + i * 10, 12, 10, 12, heat(i / 20));
  for (let slice = 0; slice < shown; slice++) {
    const number = Math.floor((slice * count) / shown);
    const [x, y] = [20 + (slice % across) * sliceWidth, 44 + Math.floor(slice / across) * sliceHeight];
    const names = others.map((d) => {
      const below = others
        .slice(others.indexOf(d) + 1)
        .reduce((product, other) => product * sizes[other]!, 1);
      return `${axisName(d)}=${Math.floor(number / below) % sizes[d]!}`;
    });
    content += label(x, y + 12, names.join(' '), { size: 11 });
    for (let row = 0; row < rows; row += perCell) {
      for (let column = 0; column < columns; column += perCell) {
        let [within, out] = [0, 0];
        for (let r = row; r < Math.min(rows, row + perCell); r++) {
          for (let c = column; c < Math.min(columns, column + perCell); c++) {
            const host = number * perSlice + r * columns + c;
            within = Math.max(within, fullestOf(host, inSlice));
            out = Math.max(out, fullestOf(host, others));
          }
        }
        const [left, top] = [x + (column / perCell) * cell, y + 18 + (row / perCell) * cell];
        content += box(
          left,
          top,
          cell - 1,
          cell - 1,
          heat(share(within)),
          `(${names.join(' ')}) row ${row} column ${column}: ${within} bytes, ${out} across`,
        );
        if (others.length > 0)
          content += box(left, top, (cell - 1) / 2.5, (cell - 1) / 2.5, heat(share(out)));
      }
    }
  }
  const height = 44 + Math.ceil(shown / across) * sliceHeight + 10;
  if (shown < count) content += label(20, height - 4, `${shown} of ${count} slices`, { size: 11 });
  return picture(widthPx, height + 6, content, `link loads, ${title}`);
}

const mostLinks = 24;

/** The fullest links as bars, where the network cannot be laid out in slices. */
function fullest(title: string, { links }: HostNetwork, loads: Float64Array, most: number): string {
  const order = Array.from(loads.keys())
    .filter((link) => loads[link]! > 0)
    .sort((a, b) => loads[b]! / links!.width(b) - loads[a]! / links!.width(a) || a - b)
    .slice(0, mostLinks);
  let content = label(14, 24, `The fullest links, ${title}`, { size: 15 });
  order.forEach((link, i) => {
    const load = loads[link]! / links!.width(link);
    const y = 40 + i * 18;
    content += label(240, y + 12, links!.name(link), { anchor: 'end' });
    content += box(250, y, Math.max(1, (520 * load) / Math.max(most, 1)), 14, heat(load / Math.max(most, 1)));
    content += label(258 + (520 * load) / Math.max(most, 1), y + 12, load.toPrecision(6), { size: 11 });
  });
  return picture(widthPx, 54 + order.length * 18, content, `fullest links, ${title}`);
}
