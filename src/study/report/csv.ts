/** The samples of a study as CSV. Format: RFC 4180. Pure. */

import { type MetricName, metrics, type Sample, type Study } from '../samples.ts';

const columns = [
  'study',
  'host',
  'benchmark',
  'cores',
  'environment',
  'host_pages',
  'own_pages',
  'placement',
  'repeat',
  'warm_up',
  'started_at',
  'elapsed_ms',
  'outcome',
  'metric',
  'message_bytes',
  'value',
  'unit',
  'flags',
  'error',
] as const;

/** One row for each sample and metric, warm-ups and failed runs included; a sample without a metric has one row. */
export function renderCsv(study: Study): string {
  const rows = study.samples.flatMap((sample) => rowsOf(study, sample));
  return [columns, ...rows].map((row) => `${row.map(csvField).join(',')}\r\n`).join('');
}

/** A field, in quotes where it must be: quotes inside are doubled. */
export function csvField(value: string | number | boolean | undefined): string {
  const text = value === undefined ? '' : String(value);
  return /[",\r\n]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
}

type Field = string | number | boolean | undefined;

function rowsOf({ head }: Study, sample: Sample): Field[][] {
  const { cell, measured } = sample;
  const before = [
    head.id,
    head.host.hostname,
    cell.benchmark,
    cell.cores,
    cell.environment,
    cell.pages.host,
    cell.pages.own,
    cell.placement,
    sample.repeat,
    sample.isWarmUp,
    sample.startedAt,
    sample.elapsedMs,
    sample.outcome,
  ];
  const after = [sample.flags.join(' '), sample.error];
  const values = Object.entries(measured).flatMap(([name, value]): Field[][] => {
    if (typeof value === 'number') return [[name, undefined, value, unitOf(name)]];
    if (!Array.isArray(value)) return [];
    return value.flatMap(({ messageBytes, latencyUs, bandwidthMBps }) => [
      [`${name}.latency`, messageBytes, latencyUs, 'us'],
      [`${name}.bandwidth`, messageBytes, bandwidthMBps, 'MB/s'],
    ]);
  });
  const none: Field[] = [undefined, undefined, undefined, undefined];
  return (values.length === 0 ? [none] : values).map((value) => [...before, ...value, ...after]);
}

function unitOf(name: string): string | undefined {
  return Object.hasOwn(metrics, name) ? metrics[name as MetricName].unit : undefined;
}
