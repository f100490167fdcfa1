/**
 * Counters of a fabric in the text format that Prometheus reads (version 0.0.4, "Exposition formats" of its manual).
 * Pure. Counters go up for as long as the fabric's worker lives and begin again at 0 with it, as Prometheus expects.
 */

import type { DirectionName, FabricStatus, LinkState, Matrix } from './control.ts';
import { toAll } from './control.ts';

export const prometheusContentType = 'text/plain; version=0.0.4; charset=utf-8';

export interface PrometheusInput {
  cluster: string;
  links: readonly LinkState[];
  /** Of all time, not of a window. */
  matrix?: Matrix;
  status?: FabricStatus;
}

type Labels = Readonly<Record<string, string>>;

interface Metric {
  name: string;
  type: 'counter' | 'gauge';
  help: string;
  samples: [Labels, number][];
}

/** The whole text; it ends with a newline. */
export function prometheusText({ cluster, links, matrix, status }: PrometheusInput): string {
  const metrics = [
    ...linkMetrics(cluster, links),
    ...(matrix === undefined ? [] : pairMetrics(cluster, matrix)),
    ...(status === undefined ? [] : fabricMetrics(cluster, status)),
  ];
  return metrics
    .filter(({ samples }) => samples.length > 0)
    .map(metricText)
    .join('');
}

function linkMetrics(cluster: string, links: readonly LinkState[]): Metric[] {
  const directions = links.flatMap((link) =>
    (['out', 'in'] satisfies DirectionName[]).map((direction) => ({
      labels: { cluster, network: link.network, link: link.name, direction },
      state: link[direction],
    })),
  );
  const each = (value: (state: LinkState['out']) => number): [Labels, number][] =>
    directions.map(({ labels, state }) => [labels, value(state)]);
  return [
    counter(
      'lodge_link_frames_total',
      'Frames that came onto a direction of a link.',
      each((s) => s.frames),
    ),
    counter(
      'lodge_link_bytes_total',
      'Bytes that came onto a direction of a link.',
      each((s) => s.bytes),
    ),
    counter(
      'lodge_link_delivered_frames_total',
      'Frames that left a direction of a link on its other side.',
      each((s) => s.deliveredFrames),
    ),
    counter(
      'lodge_link_delivered_bytes_total',
      'Bytes that left a direction of a link on its other side.',
      each((s) => s.deliveredBytes),
    ),
    counter(
      'lodge_link_dropped_frames_total',
      'Frames dropped on a direction of a link, by reason.',
      directions.flatMap(({ labels, state }) =>
        Object.entries(state.dropped).map(([reason, count]): [Labels, number] => [
          { ...labels, reason },
          count,
        ]),
      ),
    ),
    gauge(
      'lodge_link_queue_bytes',
      'Bytes that wait for the bandwidth of a link.',
      each((s) => s.queueBytes),
    ),
    gauge(
      'lodge_link_held_frames',
      'Frames on their way on a link.',
      each((s) => s.heldFrames),
    ),
    gauge(
      'lodge_link_cut',
      '1 while a direction of a link is cut.',
      each((s) => (s.isCut ? 1 : 0)),
    ),
    gauge(
      'lodge_port_connected',
      '1 while something is connected to a port.',
      links.flatMap(({ name, network, port }): [Labels, number][] =>
        port === undefined ? [] : [[{ cluster, network, link: name }, port.isConnected ? 1 : 0]],
      ),
    ),
  ];
}

function pairMetrics(cluster: string, matrix: Matrix): Metric[] {
  const labels = Array.from(matrix.source, (source, index): Labels => {
    const from = matrix.endpoints[source];
    const destination = matrix.destination[index]!;
    const to = destination === toAll ? undefined : matrix.endpoints[destination];
    return {
      cluster,
      network: from?.network ?? '',
      source: from?.link ?? '',
      ...(from?.mac === undefined ? {} : { source_mac: from.mac }),
      destination: destination === toAll ? 'all' : (to?.link ?? ''),
      ...(to?.mac === undefined ? {} : { destination_mac: to.mac }),
    };
  });
  const each = (values: Float64Array): [Labels, number][] => labels.map((l, index) => [l, values[index]!]);
  return [
    counter('lodge_pair_frames_total', 'Frames from one port of the fabric to another.', each(matrix.frames)),
    counter('lodge_pair_bytes_total', 'Bytes from one port of the fabric to another.', each(matrix.bytes)),
    gauge(
      'lodge_pair_bytes_per_second',
      'Bytes a second from one port of the fabric to another, decayed exponentially.',
      each(matrix.bytesPerSecond),
    ),
  ];
}

function fabricMetrics(cluster: string, status: FabricStatus): Metric[] {
  const one = (value: number): [Labels, number][] => [[{ cluster }, value]];
  return [
    gauge('lodge_fabric_ports', 'Ports of the fabric.', one(status.ports)),
    gauge(
      'lodge_fabric_connected_ports',
      'Ports of the fabric that are connected.',
      one(status.connectedPorts),
    ),
    gauge('lodge_fabric_switches', 'Switches of the fabric.', one(status.switches)),
    gauge('lodge_fabric_memory_bytes', 'Memory that frames take.', one(status.memoryBytes)),
    gauge('lodge_fabric_memory_limit_bytes', 'Memory that frames may take.', one(status.memoryLimitBytes)),
    gauge('lodge_fabric_frozen', '1 while the time of the fabric is stopped.', one(status.isFrozen ? 1 : 0)),
  ];
}

function counter(name: string, help: string, samples: [Labels, number][]): Metric {
  return { name, type: 'counter', help, samples };
}

function gauge(name: string, help: string, samples: [Labels, number][]): Metric {
  return { name, type: 'gauge', help, samples };
}

function metricText({ name, type, help, samples }: Metric): string {
  const lines = samples.map(([labels, value]) => {
    const inside = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
    return `${name}{${inside.join(',')}} ${value}\n`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function escapeLabel(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
