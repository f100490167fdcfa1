/** The figures of a report, each beside the overheads that belong to it. Pure. */

import type { MetricName } from '../samples.ts';
import { axisValues, type Chart } from './chart.ts';
import type { Findings } from './findings.ts';
import { type Content, type Html, html } from './html-elements.ts';
import { lineChart } from './line-chart.ts';
import { overheadChart } from './overhead-chart.ts';
import { figure } from './page.ts';
import { sweepSection } from './sweep-section.ts';
import { walkSection } from './walk-section.ts';
import { umlNote } from './warnings.ts';

/** With at most so many comparisons, one chart holds them all; more stand by metric beside the figures. */
const mostInOneChart = 24;

function isOneChart({ overhead }: Findings): boolean {
  const rows = overhead?.groups.reduce((sum, group) => sum + group.rows.length, 0) ?? 0;
  return rows <= mostInOneChart;
}

/** The one chart of all overheads, where there are few. */
export function overheadFigure(findings: Findings): Html | undefined {
  const { overhead } = findings;
  if (overhead === undefined || !isOneChart(findings)) return undefined;
  return figure((drawing) => overheadChart(overhead, drawing));
}

export function computeSection(findings: Findings): Content {
  const { hpl, streamTriad, streamOthers } = findings.figures;
  if (hpl === undefined && streamTriad === undefined) return undefined;
  const others =
    streamOthers.length === 0
      ? undefined
      : html`<h3>STREAM copy, scale and add</h3><p class="note">Series as in Figure 3.</p>
<div class="small-figures">${withOneAxis(streamOthers).map((chart) => line(chart, true))}</div>
${isOneChart(findings) ? undefined : html`<div class="small-figures">${(['stream-copy-mbps', 'stream-scale-mbps', 'stream-add-mbps'] as const).map((metric) => overheadOf(findings, metric, true))}</div>`}`;
  return [
    html`<p class="about">Figures are numbered as in Pedretti and Bridges (2010), with its axes and names: <i>Guest 2M/4K</i> is a guest whose memory is backed by 2 MiB pages and whose applications use 4 KiB pages. At each number of cores the series stand side by side, so that none hides another.</p>`,
    html`<div class="figures">${hpl && line(hpl)}${overheadOf(findings, 'hpl-gflops')}${streamTriad && line(streamTriad)}${overheadOf(findings, 'stream-triad-mbps')}</div>`,
    others,
  ];
}

export function randomAccessSection(findings: Findings): Content {
  const { randomAccess } = findings.figures;
  if (randomAccess === undefined) return undefined;
  const walks = walkSection(findings);
  if (walks === undefined) return html`<div class="figures">${line(randomAccess)}</div>`;
  const beside = overheadOf(findings, 'randomaccess-gups');
  return [
    html`<div class="figures">${line(randomAccess)}${beside ?? html`<div>${walks.explanation}</div>`}</div>`,
    beside === undefined ? undefined : html`<h3>What a page walk costs</h3>${walks.explanation}`,
    walks.measured,
  ];
}

export function messageSection(findings: Findings): Content {
  const { pingpongLatency, pingpongBandwidth } = findings.figures;
  if (pingpongLatency === undefined && pingpongBandwidth === undefined) return undefined;
  return html`<div class="figures">${pingpongLatency && line(pingpongLatency)}${pingpongBandwidth && line(pingpongBandwidth)}${overheadOf(findings, 'pingpong-latency-us')}${overheadOf(findings, 'pingpong-bandwidth-mbps')}</div>${sweepSection(findings)}`;
}

/** Small neighbours: the same axis, and nothing said that stands beside them already. */
function withOneAxis(charts: readonly Chart[]): Chart[] {
  const series = charts.flatMap((chart) => chart.series);
  return charts.map((chart) => ({
    ...chart,
    subtitle: '',
    notes: chart.notes.filter((note) => note !== umlNote),
    y: { ...chart.y, reach: axisValues(series, chart.y) },
  }));
}

function line(chart: Chart, isSmall = false): Html {
  return figure((drawing) => lineChart(chart, drawing), { isSmall });
}

function overheadOf(findings: Findings, metric: MetricName, isSmall = false): Html | undefined {
  const chart = findings.overheads[metric];
  if (chart === undefined || isOneChart(findings)) return undefined;
  const drawn = isSmall ? { ...chart, subtitle: '' } : chart;
  return figure((drawing) => overheadChart(drawn, drawing), { isSmall });
}
