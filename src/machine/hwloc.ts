/** The topology of a host out of the XML that `lstopo` writes. Format: hwloc2.dtd of hwloc 2.x. */

import { LodgeError } from '../errors.ts';
import { parseBitmap } from './bitmap.ts';
import type { Cache, Core, NumaNode, Package, Topology } from './machine.ts';

/**
 * Devices are left out (they cost most of the time), CPUs and nodes outside this job's cpuset are kept: a plan
 * must know where its share lies in the whole.
 */
export const lstopoArgv = ['lstopo-no-graphics', '--no-io', '--disallowed', '--of', 'xml'] as const;

interface XmlObject {
  type: string;
  os_index?: string;
  gp_index?: string;
  cpuset?: string;
  nodeset?: string;
  cache_size?: string;
  depth?: string;
  cache_type?: string;
  local_memory?: string;
  page_type?: { size: string; count: string }[];
  object?: XmlObject[];
}

interface XmlDistances {
  type?: string;
  kind?: string;
  indexing?: string;
  indexes?: { '#text'?: string }[];
  u64values?: { '#text'?: string }[];
}

/** Of the object being visited: what encloses it. */
interface Surroundings {
  socket: number;
  die: number;
}

/**
 * Reads a topology.
 * @throws LodgeError `machine-probe` when the text is not a topology of hwloc 2
 */
export async function parseTopologyXml(xml: string): Promise<Topology> {
  // Loaded late: only plans that look at the topology pay for an XML parser.
  const { XMLParser } = await import('fast-xml-parser');
  const parser = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: '',
    parseAttributeValue: false,
    parseTagValue: false,
    isArray: (name) => ['object', 'page_type', 'distances2', 'indexes', 'u64values'].includes(name),
  });
  let document: { topology?: { version?: string; object?: XmlObject[]; distances2?: XmlDistances[] } };
  try {
    document = parser.parse(xml);
  } catch (cause) {
    throw new LodgeError(
      'machine-probe',
      `lstopo wrote XML that cannot be read: ${(cause as Error).message}`,
      {
        cause,
      },
    );
  }
  const root = document.topology?.object?.[0];
  if (root?.type !== 'Machine') {
    throw new LodgeError('machine-probe', 'lstopo wrote no topology', { fix: 'apt-get install hwloc-nox' });
  }
  const reader = new TopologyReader();
  reader.visit(root, { socket: 0, die: 0 });
  return reader.finish(document.topology?.distances2 ?? []);
}

class TopologyReader {
  readonly #packages: Package[] = [];
  readonly #nodes: (NumaNode & { gpIndex: number })[] = [];
  readonly #cores: (Core & { nodeset: number[] })[] = [];
  readonly #loosePus: (Core & { nodeset: number[] })[] = [];
  readonly #caches: Cache[] = [];
  #diesSeen = 0;

  visit(object: XmlObject, around: Surroundings): void {
    let inside = around;
    switch (object.type) {
      case 'Package': {
        const id = indexOf(object) ?? this.#packages.length;
        this.#packages.push({ id, cpus: setOf(object.cpuset) });
        this.#diesSeen = 0;
        inside = { socket: id, die: 0 };
        break;
      }
      case 'Die':
        inside = { ...around, die: indexOf(object) ?? this.#diesSeen };
        this.#diesSeen++;
        break;
      case 'NUMANode':
        this.#nodes.push({
          id: indexOf(object) ?? this.#nodes.length,
          gpIndex: Number(object.gp_index),
          memoryBytes: Number(object.local_memory ?? 0),
          cpus: setOf(object.cpuset),
          distances: [],
          hugePages: [],
        });
        break;
      case 'Core':
        this.#cores.push({
          ...around,
          numaNode: 0,
          coreId: indexOf(object) ?? this.#cores.length,
          pus: setOf(object.cpuset),
          nodeset: setOf(object.nodeset),
        });
        return;
      case 'PU':
        // Reached only outside a core: some hypervisors hide cores. Each such thread then counts as a core.
        this.#loosePus.push({
          ...around,
          numaNode: 0,
          coreId: indexOf(object) ?? this.#loosePus.length,
          pus: setOf(object.cpuset),
          nodeset: setOf(object.nodeset),
        });
        return;
      default:
        if (object.cache_size !== undefined) this.#caches.push(cacheOf(object));
    }
    for (const child of object.object ?? []) this.visit(child, inside);
  }

  finish(distances: readonly XmlDistances[]): Topology {
    const nodes = this.#nodes.sort((a, b) => a.id - b.id);
    const matrix = latencies(distances, nodes);
    const cores = [...this.#cores, ...this.#loosePus].map(({ nodeset, ...core }) => ({
      ...core,
      numaNode: Math.min(...(nodeset.length === 0 ? [0] : nodeset)),
    }));
    if (cores.length === 0) throw new LodgeError('machine-probe', 'lstopo found no CPU');
    const allCpus = cores.flatMap((core) => core.pus).sort((a, b) => a - b);
    return {
      packages: this.#packages.length === 0 ? [{ id: 0, cpus: allCpus }] : this.#packages,
      numaNodes: nodes.map(({ gpIndex: _, ...node }, row) => ({ ...node, distances: matrix[row]! })),
      cores: cores.sort((a, b) => a.pus[0]! - b.pus[0]!),
      // hwloc hangs an instruction cache and a data cache of the same CPUs in one another: order them by level.
      caches: this.#caches.sort((a, b) => b.level - a.level || a.cpus[0]! - b.cpus[0]!),
    };
  }
}

function indexOf(object: XmlObject): number | undefined {
  return object.os_index === undefined ? undefined : Number(object.os_index);
}

function setOf(bitmap: string | undefined): number[] {
  return bitmap === undefined ? [] : parseBitmap(bitmap);
}

/** Cache types of hwloc_obj_cache_type_e. */
const cacheKinds = ['unified', 'data', 'instruction'] as const;

function cacheOf(object: XmlObject): Cache {
  return {
    level: Number(object.depth),
    kind: cacheKinds[Number(object.cache_type)] ?? 'unified',
    bytes: Number(object.cache_size),
    cpus: setOf(object.cpuset),
  };
}

/** HWLOC_DISTANCES_KIND_MEANS_LATENCY. */
const meansLatency = 4;

/** Distances between NUMA nodes as a matrix in the order of `nodes`; 10 and 20 where the firmware gives none. */
function latencies(
  all: readonly XmlDistances[],
  nodes: readonly { id: number; gpIndex: number }[],
): number[][] {
  const found = all.find((d) => d.type === 'NUMANode' && (Number(d.kind) & meansLatency) !== 0);
  const keys = numbersOf(found?.indexes);
  const values = numbersOf(found?.u64values);
  const rowOf = (node: { id: number; gpIndex: number }): number =>
    keys.indexOf(found?.indexing === 'gp' ? node.gpIndex : node.id);
  return nodes.map((from) =>
    nodes.map((to) => {
      const [row, column] = [rowOf(from), rowOf(to)];
      const value = row < 0 || column < 0 ? undefined : values[row * keys.length + column];
      return value ?? (from.id === to.id ? 10 : 20);
    }),
  );
}

/** Numbers that hwloc spreads over several elements, ten in each. */
function numbersOf(elements: readonly { '#text'?: string }[] | undefined): number[] {
  return (elements ?? [])
    .flatMap((element) => (element['#text'] ?? '').split(/\s+/))
    .filter((word) => word !== '')
    .map(Number);
}
