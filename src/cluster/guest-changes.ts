/** What a guest is started again for: the keys of its plan that are not as they were. Pure. */

import { formatCpuList, formatSize, formatTime } from '../units.ts';
import { canonicalJson } from './canonical.ts';
import type { PlannedGuest } from './plan.ts';

/** Values as people write them; none where they are long, or where there was none. */
export interface KeyChange {
  key: string;
  before?: string;
  after?: string;
}

/**
 * The keys that differ, in the order of the spec.
 * @param before what the guest that is there was started from
 */
export function guestChanges(before: PlannedGuest, after: PlannedGuest): KeyChange[] {
  const isIn = ({ interfaces }: PlannedGuest, name: string): boolean =>
    interfaces.some(({ network }) => network === name);
  // Of networks that it comes into or leaves, that is all there is to tell.
  const old = valuesOf(before, (network) => isIn(after, network));
  const values = valuesOf(after, (network) => isIn(before, network));
  const keys = [...new Set([...old.keys(), ...values.keys()])].filter(
    (key) => canonicalJson(old.get(key) ?? null) !== canonicalJson(values.get(key) ?? null),
  );
  if (before.imageId !== after.imageId && !keys.includes('image')) keys.push('content of its image');
  return keys.map((key): KeyChange => {
    const [was, is] = [shortOf(key, old.get(key)), shortOf(key, values.get(key))];
    return { key, ...(was === undefined ? {} : { before: was }), ...(is === undefined ? {} : { after: is }) };
  });
}

/** All that decides what a guest is, by what a person knows it by. */
function valuesOf(
  { spec, interfaces, routes, forward, ssh }: PlannedGuest,
  stays: (network: string) => boolean,
): Map<string, unknown> {
  const networks = interfaces.map(({ network }) => network);
  return new Map<string, unknown>([
    ...Object.entries(spec),
    ['forward', forward],
    ['ssh', ssh !== false],
    ['routes', routes.map(({ destination, gateway }) => `${destination} via ${gateway}`)],
    ['networks', networks],
    ...interfaces
      .filter(({ network }) => stays(network))
      .flatMap(({ network, name, address, mac, mtuBytes, bridge }): [string, unknown][] => [
        [`interface in ${network}`, name],
        [`address in ${network}`, address],
        [`mac in ${network}`, mac],
        [`mtu of ${network}`, mtuBytes],
        [`bridge of ${network}`, bridge === undefined ? false : bridge.device],
      ]),
  ]);
}

const longest = 40;

function shortOf(key: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  const text = textOf(key, value);
  return text.length > longest ? undefined : text;
}

function textOf(key: string, value: unknown): string {
  if (key === 'memory') return formatSize(value as number);
  if (key === 'boot-timeout') return formatTime(value as number);
  if (key === 'pin' && Array.isArray(value)) return formatCpuList(value as number[]);
  if (key === 'pages') {
    const { host, strict } = value as { host: string; strict: boolean };
    return strict ? host : `${host}, not strict`;
  }
  if (key === 'volumes') {
    const volumes = value as { source: string; target: string; readOnly: boolean }[];
    const written = volumes.map(
      ({ source, target, readOnly }) => `${source}:${target}${readOnly ? ':ro' : ''}`,
    );
    return written.join(', ') || 'none';
  }
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.join(', ');
  return typeof value === 'string'
    ? value || 'none'
    : typeof value === 'object'
      ? canonicalJson(value)
      : String(value);
}

/** `cpus 1 → 2, memory 1G → 2G, volumes`. */
export function describeChanges(changes: readonly KeyChange[]): string {
  return changes
    .map(({ key, before, after }) => {
      if (before !== undefined && after !== undefined) return `${key} ${before} → ${after}`;
      if (after !== undefined) return `${key} ${after}`;
      return before === undefined ? key : `${key} no longer ${before}`;
    })
    .join(', ');
}
