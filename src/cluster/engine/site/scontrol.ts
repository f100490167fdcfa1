/** What `scontrol show` prints, read. Formats: those of Slurm 21.08 to 23.11. Pure. */

import { expandHostList } from '../../../host-list.ts';

/** `scontrol show config`, by key; keys with brackets (`SlurmctldHost[0]`) as they stand. */
export function parseConfig(text: string): Map<string, string> {
  const config = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^(\S+)\s+= (.*)$/.exec(line);
    if (match !== null) config.set(match[1]!, match[2]!.trim());
  }
  return config;
}

/** A value that says that there is none. */
export function isUnset(value: string | undefined): boolean {
  return value === undefined || value === '' || /^\(null\)|^n\/a$|^none$/i.test(value);
}

/** Major and minor number of `SLURM_VERSION`, such as 22.05. */
export function versionOf(config: ReadonlyMap<string, string>): readonly [number, number] | undefined {
  const match = /^(\d+)\.(\d+)/.exec(config.get('SLURM_VERSION') ?? '');
  return match === null ? undefined : [Number(match[1]), Number(match[2])];
}

export function isAtLeast(version: readonly [number, number], wanted: readonly [number, number]): boolean {
  return version[0] > wanted[0] || (version[0] === wanted[0] && version[1] >= wanted[1]);
}

/** Hosts of the controllers: `SlurmctldHost[0] = ctl(10.0.0.1)`; name and address, as far as it is told. */
export function controllersOf(config: ReadonlyMap<string, string>): { name: string; address?: string }[] {
  return [...config]
    .filter(([key]) => /^SlurmctldHost\[\d+\]$/.test(key))
    .map(([, value]) => {
      const [, name = value, address] = /^([^(]+)(?:\((.+)\))?$/.exec(value) ?? [];
      return { name, ...(address === undefined ? {} : { address }) };
    });
}

/** The first of a range of ports (`6817`, `6817-6820`) and its last. */
export function portsOf(text: string | undefined): readonly [number, number] | undefined {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text ?? '');
  if (match === null || Number(match[1]) === 0) return undefined;
  return [Number(match[1]), Number(match[2] ?? match[1])];
}

/**
 * Lines of `scontrol show node|job|partition|topology --oneliner` as keys and values. A reason goes on to the end of its
 * line, or to where it tells who gave it.
 */
export function parseRecords(text: string): Map<string, string>[] {
  return text
    .split('\n')
    .filter((line) => /^\S+=/.test(line))
    .map((line) => {
      const record = new Map<string, string>();
      const reason = / Reason=(.*?)(?: \[([^\]]*)\])?(?= Comment=|$)/.exec(line);
      const rest = reason === null ? line : line.slice(0, reason.index);
      for (const [, key, value] of rest.matchAll(/(?:^|\s)([A-Za-z][A-Za-z0-9:/_]*)=(\S*)/g)) {
        if (!record.has(key!)) record.set(key!, value!);
      }
      if (reason !== null) record.set('Reason', reason[1]!);
      return record;
    });
}

/** The parts of a node's state: `IDLE+CLOUD+POWERED_DOWN`. */
export function stateOf(node: ReadonlyMap<string, string>): Set<string> {
  return new Set((node.get('State') ?? '').replace(/[*~#!%$@^-]+$/, '').split('+'));
}

/** Leaves of `scontrol show topology`: switches with their nodes. */
export function leavesOf(text: string): { name: string; nodes: string[] }[] {
  return parseRecords(text)
    .filter((record) => record.get('Level') === '0' && record.get('SwitchName') !== undefined)
    .map((record) => ({
      name: record.get('SwitchName')!,
      nodes: isUnset(record.get('Nodes')) ? [] : expandHostList(record.get('Nodes')!),
    }));
}
