/** Traffic by name: a pattern, or a file whose kind shows in its name or content. */

import { resolve } from 'node:path';
import { readAtMost } from '../bounded-file.ts';
import { LodgeError } from '../errors.ts';
import { parseSizeBytes } from '../units.ts';
import { meant } from './meant.ts';
import { generateTraffic, isPattern, patterns } from './traffic/generate.ts';
import type { Demand, Traffic } from './traffic/graph.ts';
import { readMatrixMarket, readMetisGraph, readScotchGraph } from './traffic/readers.ts';
import { readEdgeList, readFabricMatrix } from './traffic/records.ts';

export interface TrafficOptions {
  cwd: string;
  seed: number;
  /** Number of ranks, where a file of connections leaves some out. */
  ranks?: number;
}

/**
 * @param text a pattern (`halo7:16x16x16`), or a file: Scotch `.grf`, METIS `.graph` or `.metis`, MatrixMarket `.mtx`, CSV
 * of connections, JSON of `lodge fabric matrix --json`
 * @throws LodgeError `traffic`
 */
export function readTraffic(text: string, { cwd, seed, ranks }: TrafficOptions): Traffic {
  if (isPattern(text)) return generateTraffic(text, seed);
  const bytes = readBytes(resolve(cwd, text), text);
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    throw new LodgeError('traffic', 'it is compressed', { where: text, fix: 'gunzip it first' });
  }
  const ending = /\.([a-z0-9]+)$/i.exec(text)?.[1]?.toLowerCase() ?? '';
  const head = Buffer.from(bytes.subarray(0, 64)).toString('latin1').trimStart();
  const traffic = ((): Traffic => {
    if (/^%%MatrixMarket/i.test(head) || ending === 'mtx' || ending === 'mm')
      return readMatrixMarket(bytes, text);
    if (ending === 'grf') return readScotchGraph(bytes, text);
    if (ending === 'graph' || ending === 'metis') return readMetisGraph(bytes, text);
    if (ending === 'json' || head.startsWith('{')) return readFabricMatrix(bytes, text);
    if (ending === 'csv' || head.slice(0, head.search(/\n|$/)).includes(','))
      return readEdgeList(bytes, text, ranks);
    throw new LodgeError('traffic', 'lodge cannot tell what this file is', {
      where: text,
      fix: 'name it .grf (Scotch), .graph (METIS), .mtx (MatrixMarket), .csv (from,to,bytes) or .json (lodge fabric matrix --json)',
    });
  })();
  if (traffic.ranks === 0) {
    throw new LodgeError('traffic', 'it has no ranks', {
      where: text,
      fix: 'a graph needs at least one vertex',
    });
  }
  if (ranks !== undefined && ranks !== traffic.ranks) {
    throw new LodgeError('traffic', `it has ${traffic.ranks} ranks, and --ranks says ${ranks}`, {
      where: text,
    });
  }
  return traffic;
}

const mostBytes = 2 ** 31 - 1;

function readBytes(path: string, name: string): Uint8Array {
  let bytes: Buffer | undefined;
  try {
    bytes = readAtMost(path, mostBytes);
  } catch (cause) {
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const kinds = Object.keys(patterns);
    throw new LodgeError(
      'traffic',
      isMissing ? 'there is no such file' : `it cannot be read: ${(cause as Error).message}`,
      {
        where: name,
        ...(isMissing ? { fix: meant(name, kinds) ?? `name a file, or a pattern: ${kinds.join(', ')}` } : {}),
        cause,
      },
    );
  }
  if (bytes !== undefined) return bytes;
  throw new LodgeError('traffic', `it is larger than the ${mostBytes} bytes that can be read`, {
    where: name,
  });
}

/**
 * What ranks take of their places: lines `rank,cpus,memory`, such as `v01,4,8G`; those that are not named take one CPU
 * and no memory.
 * @throws LodgeError `traffic`, with file and line
 */
export function readDemand(text: string, file: string, traffic: Traffic): Demand {
  const cpus = new Float64Array(traffic.ranks).fill(1);
  const memoryBytes = new Float64Array(traffic.ranks);
  const ranks =
    traffic.names === undefined ? undefined : new Map(traffic.names.map((name, rank) => [name, rank]));
  text.split('\n').forEach((raw, i) => {
    const line = raw.trim();
    const where = `${file}:${i + 1}:1`;
    if (line === '' || line.startsWith('#') || (i === 0 && /^(rank|guest|name),/i.test(line))) return;
    const [name = '', cpuText = '', memoryText = '', ...more] = line.split(',').map((field) => field.trim());
    if (more.length > 0)
      throw new LodgeError('traffic', 'the line has more than rank,cpus,memory', { where });
    const rank = ranks?.get(name) ?? (/^\d{1,8}$/.test(name) ? Number(name) : -1);
    if (!(rank >= 0 && rank < traffic.ranks))
      throw new LodgeError('traffic', `there is no rank '${name}'`, { where });
    if (cpuText !== '') {
      if (!/^\d+(\.\d+)?$/.test(cpuText))
        throw new LodgeError('traffic', `'${cpuText}' is no number of CPUs`, { where });
      cpus[rank] = Number(cpuText);
    }
    if (memoryText !== '') memoryBytes[rank] = parseSizeBytes(memoryText, where);
  });
  return { cpus, memoryBytes };
}
