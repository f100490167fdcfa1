/** Whether a study that was begun may be gone on with here and now. Pure. */

import { LodgeError } from '../errors.ts';
import type { StudyHead } from './samples.ts';
import type { StudySpec } from './spec.ts';

/** What bears on the numbers of a study and is not chosen by it. */
export type Surroundings = Pick<StudyHead, 'host' | 'lodgeVersion' | 'packages'>;

/** Of the host's description, what may not change within a study: memory differs by pages from boot to boot. */
const lastingOfHost = [
  'cpuModel',
  'sockets',
  'numaNodes',
  'cores',
  'threads',
  'kernel',
  'distribution',
  'virtualization',
] as const;

/**
 * What is gone on with must be what was begun: one study is of one spec, on one host, with the same kernel and programs.
 * @param path of the study, for the error
 * @throws LodgeError `study-directory`
 */
export function checkSame(head: StudyHead, spec: StudySpec, now: Surroundings, path: string): void {
  const begun = head.spec as StudySpec;
  const keys = [...new Set([...Object.keys(begun), ...Object.keys(spec)])] as (keyof StudySpec)[];
  const text = (value: unknown): string => JSON.stringify(value);
  // A seed that was not asked for was chosen then.
  const others = keys.filter(
    (key) => text(begun[key]) !== text(spec[key]) && !(key === 'seed' && spec.seed === undefined),
  );
  if (others.length > 0) {
    throw new LodgeError('study-directory', `the study here was begun with another ${others.join(', ')}`, {
      where: path,
      fix: 'use the same flags to go on with it, or another directory (-o) for a new one',
    });
  }
  if (head.host.hostname !== now.host.hostname) {
    throw new LodgeError('study-directory', `the study here is of the host ${head.host.hostname}`, {
      where: path,
      fix: 'use another directory (-o); lodge study compare lays two side by side',
    });
  }
  const changes = changesSince(head, now);
  if (changes.length > 0) {
    throw new LodgeError('study-directory', 'this host is not what it was when the study was begun', {
      where: path,
      detail: changes.join('\n'),
      fix: 'go on with it as the host was, or begin a new one (-o); lodge study compare lays two side by side',
    });
  }
}

/** `host.kernel was 6.1.0-17, and is 6.1.0-18`, for each thing that is another. */
function changesSince(head: StudyHead, now: Surroundings): string[] {
  const packages = [...new Set([...Object.keys(head.packages), ...Object.keys(now.packages)])].sort();
  const pairs: [string, unknown, unknown][] = [
    ...lastingOfHost.map((key): [string, unknown, unknown] => [`host.${key}`, head.host[key], now.host[key]]),
    ['lodge', releaseOf(head.lodgeVersion), releaseOf(now.lodgeVersion)],
    ...packages.map((name): [string, unknown, unknown] => [name, head.packages[name], now.packages[name]]),
  ];
  return pairs
    .filter(([, then, today]) => then !== today)
    .map(([what, then, today]) => `${what} was ${then ?? 'not there'}, and is ${today ?? 'not there'}`);
}

/** Without the build: the same release, built again, measures the same. */
function releaseOf(version: string): string {
  return version.split('+')[0]!;
}
