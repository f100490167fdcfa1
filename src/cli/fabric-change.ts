/** What `lodge fabric` changes while a cluster runs: shapes, cuts, places, captures. */

import { resolve } from 'node:path';
import { captureOf } from '../cluster/captures.ts';
import { shapeOf } from '../cluster/shapes.ts';
import type { CaptureSpec, ShapeSpec } from '../cluster/spec.ts';
import { LodgeError } from '../errors.ts';
import { capturePath, mostFiles } from '../fabric/capture/capture.ts';
import type { CapturePlan } from '../fabric/plan.ts';
import { parseBandwidthBitsPerSecond, parseDelayMs, parsePercentage, parseSizeBytes } from '../units.ts';
import type { CaptureFlags, ClusterFlag, ShapeFlags } from './fabric.ts';
import { fabricOf } from './fabric-access.ts';
import { linksNamed } from './fabric-show.ts';
import { table } from './table.ts';

export async function shapeVerb(text: string, flags: ShapeFlags): Promise<void> {
  const parse = <T>(name: keyof ShapeFlags, parser: (text: string, where: string) => T): T | undefined => {
    const value = flags[name];
    return typeof value === 'string' ? parser(value, `--${name}`) : undefined;
  };
  const spec: ShapeSpec = {
    bandwidth: parse('bandwidth', parseBandwidthBitsPerSecond),
    queue: parse('queue', parseSizeBytes),
    delay: parse('delay', parseDelayMs),
    jitter: parse('jitter', parseDelayMs),
    loss: parse('loss', parsePercentage),
    duplicate: parse('duplicate', parsePercentage),
    reorder: parse('reorder', parsePercentage),
  };
  const isEmpty = Object.values(spec).every((value) => value === undefined);
  if (isEmpty !== (flags.clear === true)) {
    throw new LodgeError('usage', isEmpty ? 'no shape is given' : '--clear goes with no other shape', {
      fix: 'lodge fabric shape lan/v01 --delay 10ms --out, or --clear',
    });
  }
  const shape = shapeOf(spec, (key) => `--${key}`);
  const fabric = await fabricOf(flags);
  const { plan } = fabric;
  const direction = flags.out === flags.in ? undefined : flags.out === true ? 'out' : 'in';
  for (const link of linksNamed([text], plan)) {
    await fabric.change({
      kind: 'shape',
      ask: { link, shape, ...(direction === undefined ? {} : { direction }) },
    });
  }
}

export async function cutVerb(
  kind: 'cut' | 'heal',
  texts: readonly string[],
  flags: ClusterFlag,
): Promise<void> {
  const fabric = await fabricOf(flags);
  const { plan } = fabric;
  for (const link of linksNamed(texts, plan)) await fabric.change({ kind, ask: { link } });
}

export async function moveVerb(text: string, target: string, flags: ClusterFlag): Promise<void> {
  const fabric = await fabricOf(flags);
  const { plan } = fabric;
  for (const link of linksNamed([text], plan)) {
    await fabric.change({ kind: 'move', ask: { link, switch: target } });
  }
}

export async function captureVerb(
  what: string,
  texts: readonly string[],
  flags: CaptureFlags & { json: boolean },
): Promise<void> {
  if (!['start', 'stop', 'ls'].includes(what)) {
    throw new LodgeError('usage', `'${what}' is not start, stop or ls`, {
      fix: 'lodge fabric capture start lan/v01',
    });
  }
  if (texts.length === 0 && what !== 'ls') {
    throw new LodgeError('usage', 'no link is named', { fix: `lodge fabric capture ${what} lan/v01` });
  }
  const spec = captureSpec(flags);
  const fabric = await fabricOf(flags);
  const { plan, cluster, job } = fabric;
  if (what === 'ls') {
    // What links tell: of a cluster over several hosts, no plan has what was begun while it runs.
    const states = await fabric.links(texts.length === 0 ? undefined : linksNamed(texts, plan));
    const captured = states.flatMap(({ name: link, capture }): LinkCapture[] =>
      capture === undefined ? [] : [{ link, ...capture }],
    );
    listCaptures(captured, flags.json);
    return;
  }
  const links = linksNamed(texts, plan);
  if (what === 'stop') {
    for (const link of links) await fabric.change({ kind: 'capture-stop', ask: { link } });
    return;
  }
  const owner = { cluster, ...(job === undefined ? {} : { job }) };
  const capture = captureOf(spec, process.cwd(), owner)!;
  for (const link of links) {
    await fabric.change({ kind: 'capture-start', ask: { link, capture } });
    if (!flags.json) process.stdout.write(`${capturePath(capture.directory, link)}\n`);
  }
  if (flags.json)
    listCaptures(
      links.map((link) => ({ link, ...capture })),
      true,
    );
}

/** An Ethernet header at least, and no more than any frame has. */
function snapLength(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytes = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (bytes >= 14 && bytes <= 65_549) return bytes;
  throw new LodgeError('usage', `must be a whole number from 14 to 65549, not '${text}'`, {
    where: '--snap-length',
    fix: 'leave it out: all of each frame is then kept',
  });
}

function numberOfFiles(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const files = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (files >= 1 && files <= mostFiles) return files;
  throw new LodgeError('usage', `must be a whole number from 1 to ${mostFiles}, not '${text}'`, {
    where: '--files',
    fix: 'leave it out: there is then one',
  });
}

export function captureSpec(flags: CaptureFlags): CaptureSpec {
  return {
    directory: flags.directory === undefined ? undefined : resolve(flags.directory),
    'snap-length': snapLength(flags.snapLength),
    files: numberOfFiles(flags.files),
    'file-size': flags.fileSize === undefined ? undefined : parseSizeBytes(flags.fileSize, '--file-size'),
    filter: flags.filter,
  };
}

interface LinkCapture extends CapturePlan {
  link: string;
}

function listCaptures(captures: readonly LinkCapture[], json: boolean): void {
  if (json) {
    const told = captures.map((one) => ({ ...one, file: capturePath(one.directory, one.link) }));
    process.stdout.write(`${JSON.stringify(told, null, 2)}\n`);
    return;
  }
  const rows = captures.map(({ link, directory, files, filter = '-' }) => [
    link,
    capturePath(directory, link),
    String(files),
    filter,
  ]);
  process.stdout.write(table([['LINK', 'FILE', 'FILES', 'FILTER'], ...rows]));
}
