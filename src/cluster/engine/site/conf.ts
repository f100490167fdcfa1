/**
 * What a site's Slurm must be told for guests to be nodes of it: lines of slurm.conf, each with its reason, against what
 * is there already. Pure.
 */

import { expandHostList, foldHostList } from '../../../host-list.ts';
import { siteFabric } from './fabric.ts';
import { controllersOf, isAtLeast, isUnset, leavesOf, portsOf, stateOf, versionOf } from './scontrol.ts';
import type { Site, VirtualNode } from './spec.ts';

/** What Slurm says of itself; undefined where it was not asked. */
export interface SiteFound {
  config: ReadonlyMap<string, string>;
  /** By name. */
  nodes: ReadonlyMap<string, ReadonlyMap<string, string>>;
  partitions: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** `scontrol show topology`, where there is a tree. */
  topology: string;
}

export interface ConfPrograms {
  resume: string;
  suspend: string;
  resumeFail: string;
}

export interface ConfLine {
  /** `nodes`: made of the site file alone. */
  part: 'options' | 'nodes' | 'topology';
  file: 'slurm.conf' | 'topology.conf';
  /** The line as it is to be. */
  line: string;
  reason: string;
  state: 'there' | 'missing' | 'differs';
  /** What is there instead, where it differs. */
  is?: string;
}

/** What no line of a configuration mends. */
export interface ConfFault {
  what: string;
  fix: string;
}

export interface ConfPlan {
  lines: ConfLine[];
  faults: ConfFault[];
}

/** Of power saving by partition; older ones know it for all nodes alone. */
const oldestVersion = [21, 8] as const;
/** What srun listens on when nothing is said: below those that systems give out. */
const srunPortRange = '30001-32000';
/** What its kernel keeps for itself is not for jobs. */
const jobShare = 0.8;

/** Memory that jobs of a v-node have, in MiB. */
export function jobMemoryMiB({ memoryBytes }: Pick<VirtualNode, 'memoryBytes'>): number {
  return Math.max(32, Math.floor((memoryBytes / 2 ** 20) * jobShare));
}

/** What `--constraint` finds a v-node by. */
function featuresOf({ host, features }: VirtualNode): string[] {
  return ['lodge', `on-${host}`, ...features];
}

export function nodeLine(node: VirtualNode): string {
  return `NodeName=${node.name} NodeAddr=${node.slurmAddress} Port=${node.port} CPUs=${node.cpus} RealMemory=${jobMemoryMiB(node)} Feature=${featuresOf(node).join(',')} State=CLOUD`;
}

export function partitionLine({ spec, nodes }: Site): string {
  const perCpu = Math.min(...nodes.map((node) => Math.floor(jobMemoryMiB(node) / node.cpus)));
  return [
    `PartitionName=${spec.partition}`,
    `Nodes=${foldHostList(nodes.map(({ name }) => name))}`,
    `DefMemPerCPU=${perCpu}`,
    'MaxTime=INFINITE',
    `SuspendTime=${spec['suspend-time']}`,
    `SuspendTimeout=${spec['suspend-timeout']}`,
    `ResumeTimeout=${spec['resume-timeout']}`,
    'State=UP',
  ].join(' ');
}

/**
 * What is to be in the configuration of the site.
 * @param found what there is; without it, all lines count as missing
 */
export function planConf(site: Site, programs: ConfPrograms, found: SiteFound | undefined): ConfPlan {
  const { config } = found ?? { config: new Map<string, string>() };
  const lines: ConfLine[] = [
    controllerParameters(site, config),
    option(
      config,
      'PrivateData',
      ['cloud'],
      ['sinfo shows v-nodes that are powered down, too; otherwise nobody would know of them'],
    ),
    srunPorts(config),
    program(config, 'ResumeProgram', programs.resume, [
      'boots v-nodes when there is work for them, each in a holder job on its host',
    ]),
    program(config, 'SuspendProgram', programs.suspend, ['ends the holder job, and the guest with it']),
    program(config, 'ResumeFailProgram', programs.resumeFail, [
      'says why a v-node did not come up in time, and gives its host back',
    ]),
    ...site.nodes.map((node) => nodeConf(node, found)),
    partitionConf(site, found),
    ...topologyLines(site, found),
  ];
  return { lines, faults: found === undefined ? [] : faultsOf(site, found) };
}

function controllerParameters({ spec }: Site, config: ReadonlyMap<string, string>): ConfLine {
  const hasFabric = spec.fabric !== undefined;
  return option(
    config,
    'SlurmctldParameters',
    ['enable_configless', ...(hasFabric ? ['cloud_dns'] : [])],
    [
      'guests have no copy of the configuration that could get old: their slurmd asks slurmctld for it.',
      ...(hasFabric
        ? [
            'By cloud_dns each looks up the names of v-nodes for itself: on hosts they lead to hosts, in v-nodes to the',
            'network between them.',
          ]
        : []),
      'A change of this line needs slurmctld to be started again',
    ],
  );
}

/** Words more in a list of words. */
function option(
  config: ReadonlyMap<string, string>,
  key: string,
  wanted: readonly string[],
  reason: readonly string[],
): ConfLine {
  const is = config.get(key);
  const words = isUnset(is) ? [] : is!.split(',');
  const missing = wanted.filter((one) => !words.includes(one));
  const line = `${key}=${[...words.filter((one) => one !== 'none'), ...missing].join(',')}`;
  const base = { part: 'options' as const, file: 'slurm.conf' as const, reason: reason.join('\n') };
  if (missing.length === 0) return { ...base, line: `${key}=${is}`, state: 'there' };
  return words.length === 0
    ? { ...base, line, state: 'missing' }
    : { ...base, line, state: 'differs', is: `${key}=${is}` };
}

function program(
  config: ReadonlyMap<string, string>,
  key: string,
  path: string,
  reason: readonly string[],
): ConfLine {
  const is = config.get(key);
  const line = `${key}=${path}`;
  const base = { part: 'options' as const, file: 'slurm.conf' as const, line, reason: reason.join('\n') };
  if (is === path) return { ...base, state: 'there' };
  if (isUnset(is)) return { ...base, state: 'missing' };
  return {
    ...base,
    reason: `${base.reason}.\nWhere other nodes need the program that is there, have one of your own call each for its nodes`,
    state: 'differs',
    is: `${key}=${is}`,
  };
}

function srunPorts(config: ReadonlyMap<string, string>): ConfLine {
  const is = portsOf(config.get('SrunPortRange'));
  return {
    part: 'options',
    file: 'slurm.conf',
    line: `SrunPortRange=${is === undefined ? srunPortRange : `${is[0]}-${is[1]}`}`,
    reason: 'guests are let out to these ports of srun, and not to all there are',
    state: is === undefined ? 'missing' : 'there',
  };
}

function nodeConf(node: VirtualNode, found: SiteFound | undefined): ConfLine {
  const line = nodeLine(node);
  const reason =
    node.slurmAddress === node.host
      ? `a guest on ${node.host}, whose slurmd is reached there at port ${node.port}`
      : `a guest on ${node.host}, where the name ${node.slurmAddress} leads to; its slurmd is reached there at port ${node.port}`;
  const base = { part: 'nodes' as const, file: 'slurm.conf' as const, line, reason };
  const is = found?.nodes.get(node.name);
  if (is === undefined) return { ...base, state: 'missing' };
  const features = new Set((is.get('AvailableFeatures') ?? '').split(','));
  const wanted = new Set(featuresOf(node));
  const isSame =
    is.get('NodeAddr') === node.slurmAddress &&
    is.get('Port') === String(node.port) &&
    is.get('CPUTot') === String(node.cpus) &&
    is.get('RealMemory') === String(jobMemoryMiB(node)) &&
    stateOf(is).has('CLOUD') &&
    features.size === wanted.size &&
    [...wanted].every((one) => features.has(one));
  if (isSame) return { ...base, state: 'there' };
  const kind = stateOf(is).has('CLOUD') ? ' State=CLOUD' : ` (not of State=CLOUD)`;
  const told = `NodeName=${node.name} NodeAddr=${is.get('NodeAddr')} Port=${is.get('Port') ?? '6818'} CPUs=${is.get('CPUTot')} RealMemory=${is.get('RealMemory')} Feature=${is.get('AvailableFeatures')}${kind}`;
  return { ...base, state: 'differs', is: told };
}

/** Slurm sorts its lists; a site file has an order of its own. */
function isSameList(list: string, nodes: readonly VirtualNode[]): boolean {
  const there = new Set(isUnset(list) ? [] : expandHostList(list));
  return there.size === nodes.length && nodes.every(({ name }) => there.has(name));
}

function partitionConf(site: Site, found: SiteFound | undefined): ConfLine {
  const { spec, nodes } = site;
  const base = {
    part: 'nodes' as const,
    file: 'slurm.conf' as const,
    line: partitionLine(site),
    reason: [
      'the v-nodes. Power saving is of this partition alone: no other node is ever powered down by these lines.',
      `With SLURM_PARTITION=${spec.partition},HOSTS the same line of srun goes to a host and to a guest`,
    ].join('\n'),
  };
  const is = found?.partitions.get(spec.partition);
  if (is === undefined) return { ...base, state: 'missing' };
  const names = is.get('Nodes') ?? '';
  const isSame =
    isSameList(names, nodes) &&
    (is.get('SuspendTime') ?? '') === String(spec['suspend-time']) &&
    (is.get('ResumeTimeout') ?? '') === String(spec['resume-timeout']);
  if (isSame) return { ...base, state: 'there' };
  return {
    ...base,
    state: 'differs',
    is: `PartitionName=${spec.partition} Nodes=${names} SuspendTime=${is.get('SuspendTime')} ResumeTimeout=${is.get('ResumeTimeout')}`,
  };
}

/** In a tree of switches each v-node is where its host is. */
function topologyLines({ nodes }: Site, found: SiteFound | undefined): ConfLine[] {
  if (found === undefined || !/tree/.test(found.config.get('TopologyPlugin') ?? '')) return [];
  return leavesOf(found.topology).flatMap((leaf): ConfLine[] => {
    const there = new Set(leaf.nodes);
    const wanted = nodes.filter(({ host }) => there.has(host)).map(({ name }) => name);
    if (wanted.length === 0) return [];
    const all = [...leaf.nodes, ...wanted.filter((name) => !there.has(name))];
    return [
      {
        part: 'topology',
        file: 'topology.conf',
        line: `SwitchName=${leaf.name} Nodes=${foldHostList(all)}`,
        reason: 'v-nodes are at the switch of their hosts',
        ...(all.length === leaf.nodes.length
          ? { state: 'there' }
          : {
              state: 'differs',
              is: `SwitchName=${leaf.name} Nodes=${foldHostList(leaf.nodes)}`,
            }),
      },
    ];
  });
}

function faultsOf(site: Site, found: SiteFound): ConfFault[] {
  const { config, nodes: known } = found;
  const { file, nodes } = site;
  const faults: ConfFault[] = [];
  const version = versionOf(config);
  if (version === undefined || !isAtLeast(version, oldestVersion)) {
    faults.push({
      what: `this is Slurm ${config.get('SLURM_VERSION') ?? 'of no version that it tells'}, and power saving by partition came with 21.08`,
      fix: "use a Slurm of one's own in jobs instead: lodge slurm up",
    });
  }
  if (controllersOf(config).length === 0) {
    faults.push({ what: 'slurmctld tells of no SlurmctldHost', fix: 'see slurm.conf' });
  }
  if (!/munge/.test(config.get('AuthType') ?? '')) {
    faults.push({
      what: `AuthType is ${config.get('AuthType')}, and guests know munge alone`,
      fix: 'AuthType=auth/munge',
    });
  }
  faults.push(...portFaults(site, config), ...partitionFaults(site, found));
  for (const host of new Set(nodes.map((node) => node.host))) {
    const there = known.get(host);
    const own = nodes.filter((node) => node.host === host);
    const where = `${own[0]!.where}: `;
    if (there === undefined) {
      faults.push({ what: `${where}Slurm knows no node '${host}'`, fix: `correct 'hosts' in ${file}` });
      continue;
    }
    const cpus = Number(there.get('CPUTot') ?? 0);
    const memory = Number(there.get('RealMemory') ?? 0);
    for (const node of own) {
      const memoryMiB = holderMemoryMiB(node);
      if (node.cpus > cpus || (memory > 1 && memoryMiB > memory)) {
        faults.push({
          what: `${node.where}: '${node.name}' is larger than its host: ${node.cpus} CPUs and ${memoryMiB}M of ${cpus} CPUs and ${memory}M of ${host}`,
          fix: 'give it less, or a larger host',
        });
      }
    }
  }
  return faults;
}

/** One that has hosts is another's: the line for v-nodes would take them out of it, and power them down. */
function partitionFaults({ spec }: Site, { nodes, partitions }: SiteFound): ConfFault[] {
  const names = partitions.get(spec.partition)?.get('Nodes');
  const others = (isUnset(names) ? [] : expandHostList(names!)).filter((name) => {
    const node = nodes.get(name);
    return node !== undefined && !stateOf(node).has('CLOUD');
  });
  if (others.length === 0) return [];
  return [
    {
      what: `partition '${spec.partition}' has ${foldHostList(others)}, which are no v-nodes`,
      fix: "give the v-nodes one of their own: 'partition' in the site file",
    },
  ];
}

/** What Slurm takes on hosts may be a port at which a v-node is to be reached, and is open to all v-nodes. */
function portFaults(site: Site, config: ReadonlyMap<string, string>): ConfFault[] {
  const ofNodes = [
    {
      what: 'the network between v-nodes',
      ports: siteFabric(site)?.nodes.map(({ port }) => port) ?? [],
      key: "'first-port' of 'fabric'",
    },
    { what: 'slurmd in v-nodes', ports: site.nodes.map(({ port }) => port), key: "'first-port'" },
  ];
  const ofSlurm = [
    { whose: 'srun', range: portsOf(config.get('SrunPortRange')) ?? portsOf(srunPortRange)! },
    { whose: 'slurmd on hosts', range: portsOf(config.get('SlurmdPort')) },
    { whose: 'slurmctld', range: portsOf(config.get('SlurmctldPort')) },
  ];
  return ofNodes.flatMap(({ what, ports, key }) =>
    ofSlurm.flatMap(({ whose, range }) => {
      if (range === undefined || !ports.some((port) => port >= range[0] && port <= range[1])) return [];
      const told = range[0] === range[1] ? range[0] : `${range[0]}-${range[1]}`;
      return [
        {
          what: `ports of ${what}, from ${Math.min(...ports)} on, are among those of ${whose} (${told})`,
          fix: `set ${key} to others in the site file`,
        },
      ];
    }),
  );
}

/** What the process of a guest has beside its memory, with the agent and the fabric that serve it. */
const besideMiB = 448;

/** Memory that a v-node's holder job takes of its host, in MiB. */
export function holderMemoryMiB({ memoryBytes }: Pick<VirtualNode, 'memoryBytes'>): number {
  return Math.ceil(memoryBytes / 2 ** 20) + besideMiB;
}

/**
 * The lines as a person adds them to slurm.conf, each after its reason. What is there already is left out, but of
 * `nodes`, which are a file of their own. Lines of other files are comments here.
 */
export function renderConf({ lines }: Pick<ConfPlan, 'lines'>, part: 'all' | 'options' | 'nodes'): string {
  return lines
    .filter((line) => (part === 'nodes' || line.state !== 'there') && (part === 'all' || line.part === part))
    .map(({ file, line, reason, is }) => {
      const comments = [
        ...reason.split('\n'),
        // A whole file of nodes stands in the place of another, not of lines.
        ...(is === undefined || part === 'nodes' ? [] : [`In the place of: ${is}`]),
        ...(file === 'slurm.conf' ? [] : [`In ${file}:`, line]),
      ];
      const told = comments.map((text) => `# ${text}\n`).join('');
      return file === 'slurm.conf' ? `${told}${line}\n` : told;
    })
    .join('');
}
