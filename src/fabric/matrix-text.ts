/** The traffic matrix and the counters of links as rows for a terminal and as values for `--json`. Pure. */

import type { DirectionState, LinkState, Matrix, MatrixEndpoint } from './control.ts';
import { toAll } from './control.ts';
import { formatShape } from './shape.ts';

/** One pair of the matrix, as `--json` gives it. */
export interface PairRecord {
  network: string;
  from: string;
  /** `all` for broadcast, multicast and frames to unknown addresses. */
  to: string;
  frames: number;
  bytes: number;
  bytesPerSecond: number;
}

export interface MatrixRecord {
  /** Seconds that the window has lasted, by the fabric's clock. */
  windowSeconds: number;
  halfLifeMs: number;
  pairs: PairRecord[];
}

/** The name of an endpoint: its link, and behind a trunk the address too; unique in the fabric. */
export function endpointName({ link, mac }: MatrixEndpoint): string {
  return mac === undefined ? link : `${link} ${mac}`;
}

/** Pairs in the order of their bytes, largest first; equal ones by name. */
export function matrixRecord(matrix: Matrix): MatrixRecord {
  const names = matrix.endpoints.map(endpointName);
  const pairs = Array.from(matrix.source, (source, index): PairRecord => {
    const destination = matrix.destination[index]!;
    return {
      network: matrix.endpoints[source]?.network ?? '',
      from: names[source] ?? '',
      to: destination === toAll ? 'all' : (names[destination] ?? ''),
      frames: matrix.frames[index]!,
      bytes: matrix.bytes[index]!,
      bytesPerSecond: matrix.bytesPerSecond[index]!,
    };
  });
  pairs.sort((a, b) => b.bytes - a.bytes || compareText(a.from, b.from) || compareText(a.to, b.to));
  return {
    windowSeconds: (matrix.timeNs - matrix.sinceNs) / 1e9,
    halfLifeMs: matrix.halfLifeMs,
    pairs,
  };
}

/** Rows of a table, its head first. The share is of all bytes of the window. */
export function matrixRows(matrix: Matrix): string[][] {
  const { pairs } = matrixRecord(matrix);
  const total = pairs.reduce((sum, pair) => sum + pair.bytes, 0);
  return [
    ['FROM', 'TO', 'FRAMES', 'BYTES', 'SHARE', 'RATE'],
    ...pairs.map((pair) => [
      pair.from,
      pair.to,
      String(pair.frames),
      formatBytes(pair.bytes),
      total === 0 ? '-' : `${((100 * pair.bytes) / total).toFixed(1)}%`,
      formatBitRate(8 * pair.bytesPerSecond),
    ]),
  ];
}

/**
 * Rows of a table with two rows for each link, `out` and `in`; the head first. A busy link takes no more room than
 * others: counts are rounded where they are long, and of the causes of drops only the first is named: {@link dropLines}
 * has the others.
 */
export function linkRows(links: readonly LinkState[]): string[][] {
  return [
    ['LINK', 'DIR', 'STATE', 'FRAMES', 'BYTES', 'DELIVERED', 'DROPPED', 'WAITING', 'SHAPE'],
    ...links.flatMap((link) => [directionRow(link, 'out'), directionRow(link, 'in')]),
  ];
}

function directionRow(link: LinkState, direction: 'out' | 'in'): string[] {
  const state = link[direction];
  return [
    link.name,
    direction,
    stateWord(link, state),
    formatCount(state.frames),
    formatBytes(state.bytes),
    formatCount(state.deliveredFrames),
    formatDrops(state),
    state.heldFrames === 0 ? '-' : `${formatCount(state.heldFrames)} (${formatBytes(state.queueBytes)})`,
    formatShape(state.shape),
  ];
}

function stateWord({ port, capture }: LinkState, { isCut }: DirectionState): string {
  const word = isCut ? 'cut' : port === undefined || port.isConnected ? 'up' : 'down';
  return capture === undefined ? word : `${word}, captured`;
}

/** Causes of drops with their counts, that of most first. */
function causesOf({ dropped }: DirectionState): [cause: string, count: number][] {
  return Object.entries(dropped)
    .filter(([, count]) => count > 0)
    .sort(([, a], [, b]) => b - a);
}

/** How many, and why most of them: `12 loss`; `12 loss…` where there are other causes too. */
export function formatDrops(state: DirectionState): string {
  const reasons = causesOf(state);
  const [most] = reasons;
  if (most === undefined) return '0';
  const sum = reasons.reduce((total, [, count]) => total + count, 0);
  return `${formatCount(sum)} ${most[0]}${reasons.length > 1 ? '…' : ''}`;
}

const mostDropLines = 20;

/** Of links that drop for several causes, a line each: `  lan/v01 out: loss 10, queue 2`; a head before them. */
export function dropLines(links: readonly LinkState[]): string[] {
  const lines = links.flatMap((link) =>
    (['out', 'in'] as const).flatMap((direction) => {
      const causes = causesOf(link[direction]);
      if (causes.length < 2) return [];
      const told = causes.map(([cause, count]) => `${cause} ${formatCount(count)}`).join(', ');
      return [`  ${link.name} ${direction}: ${told}`];
    }),
  );
  if (lines.length === 0) return [];
  const more = lines.length - mostDropLines;
  return [
    'dropped for several causes:',
    ...lines.slice(0, mostDropLines),
    ...(more > 0 ? [`  and ${more} more, which --json tells`] : []),
  ];
}

/** A count for people: whole up to six digits, then `1.2M`. */
export function formatCount(count: number): string {
  return count < 1e6 ? String(count) : scaled(count, ['', 'k', 'M', 'G', 'T', 'P']);
}

/** Bytes for people, in powers of 1000 as networks are counted: `999B`, `1.5kB`, `12.0MB`. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, ['B', 'kB', 'MB', 'GB', 'TB', 'PB']);
}

/** `0bit/s`, `1.5Mbit/s`. */
export function formatBitRate(bitsPerSecond: number): string {
  return `${scaled(bitsPerSecond, ['bit', 'kbit', 'Mbit', 'Gbit', 'Tbit'])}/s`;
}

function scaled(value: number, units: readonly string[]): string {
  let unit = 0;
  let rest = value;
  // 999.95 would be shown as 1000.0.
  while (rest >= (unit === 0 ? 1000 : 999.95) && unit < units.length - 1) {
    rest /= 1000;
    unit++;
  }
  return `${unit === 0 || Number.isInteger(rest) ? Math.round(rest) : rest.toFixed(1)}${units[unit]}`;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
