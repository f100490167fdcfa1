/** What `lodge fabric` changes while a cluster runs: shapes, cuts, places, captures. */

import { resolve } from 'node:path';
import { captureOf } from '../cluster/captures.ts';
import type { FabricChange } from '../cluster/fabric-change.ts';
import { shapeOf } from '../cluster/shapes.ts';
import type { CaptureSpec, ShapeSpec } from '../cluster/spec.ts';
import { LodgeError, retold } from '../errors.ts';
import { capturePath, mostFiles } from '../fabric/capture/capture.ts';
import type { CapturePlan } from '../fabric/plan.ts';
import { parseBandwidthBitsPerSecond, parseDelayMs, parsePercentage, parseSizeBytes } from '../units.ts';
import type { CaptureFlags, ClusterFlag, ShapeFlags } from './fabric.ts';
import { type FabricAccess, fabricOf } from './fabric-access.ts';
import { linksNamed } from './fabric-show.ts';
import { printJson } from './print-json.ts';
import { table } from './table.ts';

type Shown<Flags> = Flags & { json: boolean };

export async function shapeVerb(text: string, flags: Shown<ShapeFlags>): Promise<void> {
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
  const direction = flags.out === flags.in ? undefined : flags.out === true ? 'out' : 'in';
  await changeLinks([text], flags, (link) => ({
    kind: 'shape',
    ask: { link, shape, ...(direction === undefined ? {} : { direction }) },
  }));
}

export async function cutVerb(
  kind: 'cut' | 'heal',
  texts: readonly string[],
  flags: Shown<ClusterFlag>,
): Promise<void> {
  await changeLinks(texts, flags, (link) => ({ kind, ask: { link } }));
}

export async function moveVerb(text: string, target: string, flags: Shown<ClusterFlag>): Promise<void> {
  await changeLinks([text], flags, (link) => ({ kind: 'move', ask: { link, switch: target } }));
}

/** Changes links, and shows programs how these are then. */
async function changeLinks(
  texts: readonly string[],
  flags: Shown<ClusterFlag>,
  changeOf: (link: string) => FabricChange,
): Promise<void> {
  const fabric = await fabricOf(flags);
  const links = linksNamed(texts, fabric.plan);
  await changeEach(fabric, links, changeOf);
  if (flags.json) printJson(await fabric.links(links));
}

/** Changes links one after the other; the error of one tells which are changed by then. */
async function changeEach(
  fabric: FabricAccess,
  links: readonly string[],
  changeOf: (link: string) => FabricChange,
): Promise<void> {
  for (const [i, link] of links.entries()) {
    try {
      await fabric.change(changeOf(link));
    } catch (error) {
      if (i === 0 || !(error instanceof LodgeError)) throw error;
      const done = `done before: ${links.slice(0, i).join(', ')}`;
      throw retold(error, { detail: error.detail === undefined ? done : `${error.detail}\n${done}` });
    }
  }
}

export async function captureVerb(
  what: string,
  texts: readonly string[],
  flags: Shown<CaptureFlags>,
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
  const links = texts.length === 0 ? undefined : linksNamed(texts, plan);
  if (what === 'start') {
    const owner = { cluster, ...(job === undefined ? {} : { job }) };
    const capture = captureOf(spec, process.cwd(), owner)!;
    await changeEach(fabric, links!, (link) => ({ kind: 'capture-start', ask: { link, capture } }));
    const begun = links!.map((link) => withFile({ link, ...capture }));
    if (flags.json) printJson(begun);
    else process.stdout.write(begun.map(({ file }) => `${file}\n`).join(''));
    return;
  }
  // What links tell: of a cluster over several hosts, no plan has what was begun while it runs.
  const captured = (await fabric.links(links)).flatMap(({ name: link, capture }) =>
    capture === undefined ? [] : [withFile({ link, ...capture })],
  );
  if (what === 'stop') {
    await changeEach(fabric, links!, (link) => ({ kind: 'capture-stop', ask: { link } }));
    if (flags.json) printJson(captured);
  } else if (flags.json) printJson(captured);
  else {
    const rows = captured.map(({ link, file, files, filter = '-' }) => [link, file, String(files), filter]);
    process.stdout.write(table([['LINK', 'FILE', 'FILES', 'FILTER'], ...rows]));
  }
}

interface LinkCapture extends CapturePlan {
  link: string;
}

function withFile(capture: LinkCapture): LinkCapture & { file: string } {
  return { ...capture, file: capturePath(capture.directory, capture.link) };
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
