/** Networks by name: the text form, or a file whose kind shows in its content. */

import { dirname, resolve } from 'node:path';
import { readAtMost } from '../bounded-file.ts';
import { LodgeError } from '../errors.ts';
import type { parseTopologyXml } from '../machine/hwloc.ts';
import { parseDistanceMatrix } from '../machine/network/distance-file.ts';
import { type Level, networkOfLevels } from '../machine/network/levels.ts';
import type { HostNetwork } from '../machine/network/network.ts';
import { isScotchTarget, parseScotchTarget } from '../machine/network/scotch-target.ts';
import { innerWeight, isTextForm, networkKinds, parseLevels, textForms } from '../machine/network/text.ts';
import { meant } from './meant.ts';

/** Distances between NUMA nodes are told in tenths of a local access. Source: ACPI, System Locality Information Table. */
const slitUnit = 10;

interface ReadLevels {
  levels: Level[];
  slots: number;
  /** Guests that each place can hold, where they differ. */
  loads?: number[];
}

/**
 * @param text levels (`torus:16x16x16/numa:2`), or a file: lodge's YAML, Slurm's topology.conf or topology.yaml, what
 * `scontrol show topology` prints, XML of lstopo, a target of Scotch, a matrix of distances
 * @throws LodgeError `topology`, `usage`, or one of a spec
 */
export async function readNetwork(text: string, cwd: string): Promise<HostNetwork> {
  if (!isTextForm(text) && /\.ya?ml$/i.test(text)) {
    const content = readText(resolve(cwd, text), text);
    if (!isSlurmYaml(content)) return readNetworkSpec(content, text, cwd);
  }
  return networkOf(await readLevels(text, cwd, '--topology', 1), text);
}

function networkOf({ levels, slots, loads }: ReadLevels, form: string): HostNetwork {
  const network = networkOfLevels(levels, slots, form);
  if (loads === undefined) return network;
  return { ...network, capacity: { guests: Int32Array.from(loads) } };
}

async function readNetworkSpec(content: string, file: string, cwd: string): Promise<HostNetwork> {
  // Loaded late: the schema language costs more than all else, and the text form does not need it.
  const { parseLocatedYaml } = await import('../document.ts');
  const { networkSchema, withCapacities } = await import('../machine/network/network-spec.ts');
  const { value, locate } = parseLocatedYaml(content, networkSchema, file);
  const from = dirname(resolve(cwd, file));
  const outer = await readLevels(value.levels, from, locate(['levels']), 1);
  const inner =
    value.inside === undefined
      ? { levels: [], slots: 1 }
      : await readLevels(value.inside, from, locate(['inside']), innerWeight);
  const all = { levels: [...outer.levels, ...inner.levels], slots: outer.slots * inner.slots };
  const form = value.inside === undefined ? value.levels : `${value.levels}/${value.inside}`;
  return withCapacities(
    networkOf({ ...all, ...(outer.loads && { loads: outer.loads }) }, form),
    value,
    locate,
  );
}

/** @param weight cost of a hop where none is written */
async function readLevels(text: string, from: string, where: string, weight: number): Promise<ReadLevels> {
  if (isTextForm(text)) {
    const { levels, slots } = parseLevels(text, where);
    const [first, ...others] = levels;
    // What is inside costs as levels inside do.
    const isPlain = !text.split('/')[0]!.includes('@');
    return { levels: isPlain ? [{ ...first!, weight }, ...others] : levels, slots };
  }
  const content = readText(resolve(from, text), text);
  if (isSlurmYaml(content) || isSlurmTopology(content)) {
    const { parseSlurmTopology, parseSlurmYaml } = await import('../machine/network/slurm.ts');
    const parse = isSlurmYaml(content) ? parseSlurmYaml : parseSlurmTopology;
    return { levels: [parse(content, text)], slots: 1 };
  }
  if (/^\s*<\?xml|^\s*<topology/.test(content)) {
    return { levels: [await levelOfXml(content, text, weight)], slots: 1 };
  }
  if (isScotchTarget(content)) {
    const { level, loads } = parseScotchTarget(content, text);
    return { levels: [level], slots: 1, ...(loads === undefined ? {} : { loads }) };
  }
  return { levels: [{ ...parseDistanceMatrix(content, text), weight }], slots: 1 };
}

/** Whether a text looks like `topology.conf`, or what `scontrol show topology` prints. */
function isSlurmTopology(text: string): boolean {
  return /^\s*(SwitchName|BlockName)=/im.test(text);
}

/** Whether a YAML text looks like Slurm's `topology.yaml`: a list of topologies. */
function isSlurmYaml(text: string): boolean {
  return /^\s*-\s+topology\s*:/m.test(text);
}

/** NUMA nodes of a host, a remote one at its distance over that of a local access. */
async function levelOfXml(xml: string, file: string, weight: number): Promise<Level> {
  let nodes: Awaited<ReturnType<typeof parseTopologyXml>>['numaNodes'];
  try {
    const hwloc = await import('../machine/hwloc.ts');
    nodes = (await hwloc.parseTopologyXml(xml)).numaNodes;
  } catch (cause) {
    if (!(cause instanceof LodgeError)) throw cause;
    throw new LodgeError('topology', cause.message, {
      where: file,
      fix: 'write it with lstopo --of xml',
      cause,
    });
  }
  if (nodes.length === 0) throw new LodgeError('topology', 'it has no NUMA nodes', { where: file });
  const hosts = nodes.length;
  const distances = new Float64Array(hosts * hosts);
  nodes.forEach((node, row) => {
    for (let column = 0; column < hosts; column++) {
      if (row === column) continue;
      // Firmware may tell other distances one way than the other.
      const both = (node.distances[column]! + nodes[column]!.distances[row]!) / 2;
      distances[row * hosts + column] = both / slitUnit;
    }
  });
  return { kind: 'matrix', hosts, distances, weight, names: nodes.map(({ id }) => `numa${id}`) };
}

const mostBytes = 2 ** 29;

function readText(path: string, name: string): string {
  let bytes: Buffer | undefined;
  try {
    bytes = readAtMost(path, mostBytes);
  } catch (cause) {
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new LodgeError(
      'topology',
      isMissing ? 'there is no such file' : `it cannot be read: ${(cause as Error).message}`,
      {
        where: name,
        ...(isMissing ? { fix: meant(name, networkKinds) ?? `name a file, or write ${textForms}` } : {}),
        cause,
      },
    );
  }
  if (bytes !== undefined) return bytes.toString('utf8');
  throw new LodgeError('topology', 'it is larger than 512 MiB', { where: name });
}
