/**
 * The fabric of a cluster as verbs see it: one on this host, or the parts that the hosts of a job have, taken together.
 */

import type { FabricChange } from '../cluster/fabric-change.ts';
import { readFabricPlan } from '../cluster/state.ts';
import { LodgeError } from '../errors.ts';
import {
  type FabricStatus,
  type LinkState,
  type Matrix,
  type MatrixRequest,
  toAll,
} from '../fabric/control.ts';
import type { FabricPlan } from '../fabric/plan.ts';
import { foldHostList } from '../host-list.ts';
import { call } from '../server/client.ts';
import { askFabric, changeFabric } from '../server/cluster-client.ts';
import { parseAnswer } from '../server/fabric-json.ts';
import type { JobHost } from '../server/job.ts';
import { thisJobId } from '../server/locate.ts';
import type { ClusterFlag } from './fabric.ts';
import { hostClusterNamed, jobClusterNamed } from './job-names.ts';

export interface FabricAccess {
  cluster: string;
  /** The job of Slurm over whose hosts it goes. */
  job?: string;
  /** The whole of it. */
  plan: FabricPlan;
  links(names: readonly string[] | undefined): Promise<LinkState[]>;
  matrix(request: MatrixRequest): Promise<Matrix>;
  /** Of the fabric here; of several parts there is no one status. */
  status(): Promise<FabricStatus | undefined>;
  change(change: FabricChange): Promise<void>;
}

/** The fabric of a cluster that is there. @throws LodgeError `no-such-cluster`, `fabric-unavailable` */
export async function fabricOf(flags: ClusterFlag): Promise<FabricAccess> {
  const ofJob = jobClusterNamed(flags.cluster);
  if (ofJob !== undefined) {
    const { openJob } = await import('../server/job.ts');
    const { hosts } = await openJob(thisJobId());
    const used = new Set(Object.values(ofJob.hostOfGuest));
    const away = [...used].filter((host) => !hosts.some(({ name }) => name === host));
    if (away.length > 0) {
      process.stderr.write(
        `lodge: no agent answers on ${foldHostList(away)}: what goes through its part of the fabric is left out\n`,
      );
    }
    const parts = hosts.filter(({ name }) => used.has(name));
    return { ...overHosts(ofJob.plan.fabric, ofJob.hostOfGuest, parts), job: thisJobId() };
  }
  const cluster = hostClusterNamed(flags.cluster);
  const plan = readFabricPlan(cluster);
  if (plan === undefined) {
    throw new LodgeError('fabric-unavailable', `the fabric of cluster '${cluster}' was never begun`, {
      fix: 'its lodge up did not come so far: lodge apply, or lodge down',
    });
  }
  return {
    cluster,
    plan,
    links: (names) => askFabric(cluster, 'links', names === undefined ? {} : { links: [...names] }),
    matrix: (request) => askFabric(cluster, 'matrix', request),
    status: () => askFabric(cluster, 'status', {}),
    change: (change) => changeFabric(cluster, change),
  };
}

function overHosts(
  plan: FabricPlan,
  hostOfGuest: Readonly<Record<string, string>>,
  hosts: readonly JobHost[],
): FabricAccess {
  const cluster = plan.name;
  const path = (what: string): string => `/v1/clusters/${cluster}/${what}`;
  const all = new Set(
    plan.networks.flatMap(({ ports, links }) => [...ports, ...links].map(({ link }) => link.name)),
  );
  /** The host that has a link: the guest's; for others, such as uplinks, the one that says so. */
  const linksOn = async (host: JobHost): Promise<LinkState[]> => {
    const text = await call(host.door, 'POST', path('ask'), { kind: 'links', ask: {} });
    return parseAnswer('links', text).filter(({ name }) => all.has(name));
  };
  return {
    cluster,
    plan,
    async links(names) {
      const wanted = names === undefined ? all : new Set(names);
      const found = (await Promise.all(hosts.map(linksOn))).flat();
      const order = new Map([...all].map((name, i) => [name, i]));
      return found
        .filter(({ name }) => wanted.has(name))
        .sort((a, b) => order.get(a.name)! - order.get(b.name)!);
    },
    async matrix(request) {
      const parts = await Promise.all(
        hosts.map(async ({ name, door }) => {
          const text = await call(door, 'POST', path('ask'), { kind: 'matrix', ask: request });
          return { host: name, matrix: parseAnswer('matrix', text) };
        }),
      );
      return joinMatrices(parts, hostOfLinks(plan, hostOfGuest));
    },
    status: async () => undefined,
    async change(change) {
      const { link } = change.ask;
      const guest = link.slice(link.indexOf('/') + 1);
      const named = hosts.find(({ name }) => name === hostOfGuest[guest]);
      const host = named ?? (await hostWith(hosts, link, linksOn));
      await call(host.door, 'POST', path('change'), change);
    },
  };
}

async function hostWith(
  hosts: readonly JobHost[],
  link: string,
  linksOn: (host: JobHost) => Promise<LinkState[]>,
): Promise<JobHost> {
  for (const host of hosts) {
    if ((await linksOn(host)).some(({ name }) => name === link)) return host;
  }
  throw new LodgeError('no-such-link', `no host of the job has a link '${link}'`, {
    fix: 'lodge fabric links',
  });
}

/** The host of each port's link: that of its guest; of an uplink, that of the network's first member (hosts.ts). */
function hostOfLinks(plan: FabricPlan, hostOfGuest: Readonly<Record<string, string>>): Map<string, string> {
  const hosts = new Map<string, string>();
  for (const { ports } of plan.networks) {
    const hostOf = (link: string): string | undefined => hostOfGuest[link.slice(link.indexOf('/') + 1)];
    const first = ports.map(({ link }) => hostOf(link.name)).find((host) => host !== undefined);
    for (const { link } of ports) hosts.set(link.name, hostOf(link.name) ?? first ?? '');
  }
  return hosts;
}

/**
 * One matrix of those of several hosts. A host counts what its own guests send, and also what comes by trunks, which
 * the host it came from has counted: that is left out.
 */
export function joinMatrices(
  parts: readonly { host: string; matrix: Matrix }[],
  hostOfLink: ReadonlyMap<string, string>,
): Matrix {
  const endpoints: Matrix['endpoints'] = [];
  const indices = new Map<string, number>();
  const indexOf = (endpoint: Matrix['endpoints'][number]): number => {
    // Behind a trunk, a member has its own link's name and an address beside it.
    const key = hostOfLink.has(endpoint.link) ? endpoint.link : `${endpoint.link} ${endpoint.mac ?? ''}`;
    let index = indices.get(key);
    if (index === undefined) {
      const { mac: _, ...own } = endpoint;
      index = endpoints.push(hostOfLink.has(endpoint.link) ? own : endpoint) - 1;
      indices.set(key, index);
    }
    return index;
  };
  const rows: { source: number; destination: number; frames: number; bytes: number; rate: number }[] = [];
  for (const { host, matrix: part } of parts) {
    for (let i = 0; i < part.source.length; i++) {
      const source = part.endpoints[part.source[i]!]!;
      if (hostOfLink.get(source.link) !== host) continue;
      const to = part.destination[i]!;
      rows.push({
        source: indexOf(source),
        destination: to === toAll ? toAll : indexOf(part.endpoints[to]!),
        frames: part.frames[i]!,
        bytes: part.bytes[i]!,
        rate: part.bytesPerSecond[i]!,
      });
    }
  }
  return {
    timeNs: Math.max(0, ...parts.map(({ matrix }) => matrix.timeNs)),
    sinceNs: Math.min(...parts.map(({ matrix }) => matrix.sinceNs)),
    halfLifeMs: parts[0]?.matrix.halfLifeMs ?? 0,
    endpoints,
    source: Uint32Array.from(rows, ({ source }) => source),
    destination: Uint32Array.from(rows, ({ destination }) => destination),
    frames: Float64Array.from(rows, ({ frames }) => frames),
    bytes: Float64Array.from(rows, ({ bytes }) => bytes),
    bytesPerSecond: Float64Array.from(rows, ({ rate }) => rate),
  };
}
