/**
 * The holder job of a v-node: it holds the CPUs and the memory of the host that the guest takes, so that Slurm books
 * nothing twice, and the guest lives and dies with it. Pure.
 */

import * as z from 'zod';
import { LodgeError } from '../../../errors.ts';
import { expandHostList } from '../../../host-list.ts';
import { shellWord } from '../../../shell-words.ts';
import { parsePrefix, prefixesOverlap } from '../../address.ts';
import type { ClusterExtension } from '../../look.ts';
import { formatUplinkRule, parseUplinkRule } from '../../uplink-rule.ts';
import { agentWatch } from '../agent-watch.ts';
import { jobRuntimePrefix } from '../rendezvous.ts';
import { withSlurmNetwork } from '../slurm-network.ts';
import { holderMemoryMiB } from './conf.ts';
import {
  fabricHosts,
  fabricNetwork,
  nodeCluster,
  openMpiParameters,
  type SiteFabric,
  siteFabric,
  withTrunks,
} from './fabric.ts';
import { portsOf } from './scontrol.ts';
import type { Site, VirtualNode } from './spec.ts';

/** All that a host must know to boot a v-node: goes with the job, so that a host needs no site file. */
const orderSchema = z.strictObject({
  version: z.literal(1),
  node: z.string(),
  port: z.int(),
  image: z.string(),
  allowed: z.array(z.string()),
  guest: z.record(z.string(), z.unknown()),
  mungeKey: z.string(),
  /** Rules of the way out of the guest. */
  allow: z.array(z.string()),
  /** `HOST:PORT`, where slurmd asks for its configuration. */
  confServers: z.array(z.string()),
  features: z.array(z.string()),
  /** Where v-nodes have a network; this one is among its nodes. */
  fabric: z
    .strictObject({
      subnet: z.string(),
      key: z.string(),
      nodes: z.array(
        z.strictObject({
          name: z.string(),
          host: z.string(),
          port: z.int(),
          address: z.string(),
          mac: z.string(),
        }),
      ),
    })
    .optional(),
});

export type HolderOrder = z.output<typeof orderSchema>;

/** @throws what zod throws for what is no order of this version of lodge */
export function readOrder(text: string): HolderOrder {
  return orderSchema.parse(JSON.parse(text));
}

/** The name of the holder job of a v-node: by it the job is found again. */
export function holderName(node: string): string {
  return `lodge-${node}`;
}

/** Ports on which Slurm is met in the networks of its hosts. */
export interface SitePorts {
  controller: readonly [number, number];
  slurmd: readonly [number, number];
  srun: readonly [number, number];
}

/** Of srun, where nothing is said: any that a system gives out. */
const anyPort = [1024, 65_535] as const;

/** From `scontrol show config`. */
export function sitePorts(config: ReadonlyMap<string, string>): SitePorts {
  return {
    controller: portsOf(config.get('SlurmctldPort')) ?? [6817, 6817],
    slurmd: portsOf(config.get('SlurmdPort')) ?? [6818, 6818],
    srun: portsOf(config.get('SrunPortRange')) ?? anyPort,
  };
}

/** What guests of the site may reach, as rules of an uplink. */
export function siteReach({ spec, nodes }: Site, ports: SitePorts): string[] {
  const own = nodes.map(({ port }) => port);
  const ranges = [ports.controller, ports.slurmd, [Math.min(...own), Math.max(...own)] as const, ports.srun];
  const slurm = spec.networks.flatMap((destination) =>
    ranges.map((range) => formatUplinkRule({ protocol: 'tcp', destination, ports: range })),
  );
  return [...new Set([...slurm, ...spec.reach.map(formatUplinkRule)])];
}

export function holderOrder(
  site: Site,
  node: VirtualNode,
  ports: SitePorts,
  controllers: readonly { name: string; address?: string }[],
): HolderOrder {
  const { spec } = site;
  const fabric = siteFabric(site);
  return {
    version: 1,
    node: node.name,
    port: node.port,
    image: node.image,
    allowed: spec.images,
    guest: node.guest,
    mungeKey: spec['munge-key'],
    allow: siteReach(site, ports),
    confServers: controllers.map(({ name, address }) => `${address ?? name}:${ports.controller[0]}`),
    features: node.features,
    ...(fabric === undefined ? {} : { fabric }),
  };
}

/** What a v-node is to the others. @throws LodgeError `internal` when it is not among them */
export function ownFabricNode(node: string, { nodes }: SiteFabric): SiteFabric['nodes'][number] {
  const own = nodes.find(({ name }) => name === node);
  if (own === undefined) throw new LodgeError('internal', `'${node}' is not in the network of the v-nodes`);
  return own;
}

/** The line of sbatch; the script comes on its standard input. */
export function holderArgv({ spec }: Pick<Site, 'spec'>, node: VirtualNode): string[] {
  return [
    ...['sbatch', '--parsable', `--job-name=${holderName(node.name)}`, `--nodelist=${node.host}`],
    // Two of one name never run at the same time, however often they are asked for.
    ...['--nodes=1', '--ntasks=1', `--cpus-per-task=${node.cpus}`, '--dependency=singleton'],
    ...[`--mem=${holderMemoryMiB(node)}M`, '--no-requeue', '--time=UNLIMITED', '--chdir=/'],
    ...['--input=/dev/null', '--output=/dev/null', '--error=/dev/null'],
    ...['--comment=lodge: a guest as a node of Slurm', ...spec.sbatch],
  ];
}

/** What slurmctld runs when a holder job has ended, as a trigger. */
export function endedProgram(lodge: string, node: string): string {
  return `${lodge.replace(/[^/]*$/, '')}scripts/slurm/ended ${node}`;
}

/**
 * The script of the job. Its shell outlives lodge: when that is killed, the node is marked down at once.
 * @param lodge path of the program, the same on all hosts
 */
export function holderScript(order: HolderOrder, store: string, lodge: string): string {
  const { node } = order;
  const down = (reason: string): string =>
    `scontrol update nodename=${node} state=down reason="${reason}" && scontrol update nodename=${node} state=power_down_force`;
  return `#!/bin/sh
# Holds what the guest '${node}' takes of this host. Made by lodge: see docs/guides/slurm.md.
umask 077
export PATH="\${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}"
# slurmctld's own may be nowhere on this host.
[ -e "\${SLURM_CONF-}" ] || unset SLURM_CONF
export LODGE_DATA_DIR=${shellWord(store)} HOME=${shellWord(store)}
log=$LODGE_DATA_DIR/holders/${node}.log
if ! mkdir -p "\${log%/*}" || ! : >"$log" || ! [ -x ${shellWord(lodge)} ]; then
  ${down(`lodge: $LODGE_DATA_DIR cannot be written on $SLURMD_NODENAME, or lodge is not there`)}
  exit 1
fi
exec >"$log" 2>&1
trap : TERM INT HUP
# Whoever asked for this job may have been killed before slurmctld knew whom to tell of its end.
{ strigger --get --noheader --jobid="$SLURM_JOB_ID" | grep -q . ||
  strigger --set --jobid="$SLURM_JOB_ID" --fini --program=${shellWord(endedProgram(lodge, node))}; } </dev/null &
sh -c ${shellWord(`${agentWatch}\nexit $code`)} lodge \\
  "$LODGE_DATA_DIR/jobs/$SLURM_JOB_ID" ${jobRuntimePrefix('')}"$SLURM_JOB_ID" ${shellWord(lodge)} -q slurm hold <<'END-OF-ORDER'
${JSON.stringify(order)}
END-OF-ORDER
code=$?
# Slurm knows: by the time the trigger told it, the node may be on its way up again.
[ $code != 0 ] || strigger --clear --jobid="$SLURM_JOB_ID"
[ $code = 0 ] || { ${down(`lodge: holder job $SLURM_JOB_ID on $SLURMD_NODENAME ended with code $code`)}; }
exit $code
`;
}

/** The cluster of one guest that a v-node is, as a cluster spec. YAML is a superset of JSON. */
export function holderClusterText({ node, guest, fabric }: HolderOrder): string {
  return JSON.stringify({
    name: nodeCluster,
    // Users of the node are not its owner: there is no way in but Slurm's, and nothing of the owner's is shared.
    ssh: false,
    fabric: fabric === undefined ? {} : { [fabricNetwork]: memberOf(node, fabric) },
    guests: { [node]: { ...guest, share: false } },
  });
}

/** A network with one member here. What answers DHCP would have an address that may be another v-node's. */
function memberOf(node: string, fabric: SiteFabric): object {
  const { address, mac } = ownFabricNode(node, fabric);
  return { members: { [node]: { address, mac } }, subnet: fabric.subnet, dhcp: false };
}

export function holderNetwork({ node, allow, port, fabric }: HolderOrder): ClusterExtension {
  const slurm = withSlurmNetwork(allow, [port], ownSubnet(allow, fabric?.subnet));
  if (fabric === undefined) return slurm;
  return {
    document: slurm.document,
    outline: (before) => {
      const outline = slurm.outline(before);
      return { ...outline, fabric: withTrunks(outline.fabric, node, fabric) };
    },
  };
}

/** Where the guest and its way out are: nobody else sees these addresses. */
const subnets = ['10.213.77.0/24', '172.29.213.0/24', '192.168.213.0/24'];

/**
 * A subnet that is none of those that the guest is to reach.
 * @param between of the network between v-nodes
 * @throws LodgeError `spec-value` when all are
 */
export function ownSubnet(allow: readonly string[], between?: string): string {
  const outside = allow.map((rule) => parseUplinkRule(rule).destination);
  const taken = [...outside, ...(between === undefined ? [] : [between])].map((one) => parsePrefix(one));
  const free = subnets.find((one) => !taken.some((prefix) => prefixesOverlap(prefix, parsePrefix(one))));
  if (free !== undefined) return free;
  throw new LodgeError(
    'spec-value',
    `guests are to reach all of ${subnets.join(', ')}, and need one for themselves`,
    {
      where: 'networks, reach',
      fix: 'name the networks of Slurm more narrowly in the site file',
    },
  );
}

/** What is lodge's in a guest: root alone comes in. */
export const guestPlace = '/run/lodge-slurm';
/** Where clients look for munge when nothing is said. */
const guestSocket = '/run/munge/munge.socket.2';

export interface GuestStep {
  files: { path: string; mode: string; text: string }[];
  /** Run as root in the guest; stays as long as the node does. */
  script: string;
}

/**
 * What makes a guest a node: munge with the site's key, then slurmd in the foreground.
 * @param mungeKey in base64: it is no text
 * @param hosts lines for /etc/hosts
 */
export function joinGuest(
  order: HolderOrder,
  mungeKey: string,
  hosts: string,
  socket = guestSocket,
): GuestStep {
  const place = guestPlace;
  const servers = order.confServers.join(',');
  const { node, fabric } = order;
  const others = fabric === undefined ? '' : fabricHosts(node, fabric);
  return {
    files: [
      { path: `${place}/key`, mode: '600', text: mungeKey },
      { path: `${place}/hosts`, mode: '644', text: `${others}${hosts}` },
      ...(fabric === undefined
        ? []
        : [{ path: `${place}/openmpi`, mode: '644', text: openMpiParameters(fabric) }]),
    ],
    script: `umask 022
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
command -v munged >/dev/null && command -v slurmd >/dev/null || { echo 'the image has no slurmd or munged' >&2; exit 127; }
cat ${place}/hosts >>/etc/hosts
mkdir -p ${socket.replace(/\/[^/]*$/, '')} /var/log/slurm /var/spool/slurmd || exit 1
for dir in /etc/openmpi /etc/openmpi-*; do
  [ -f ${place}/openmpi ] && [ -d "$dir" ] && cat ${place}/openmpi >>"$dir/openmpi-mca-params.conf"
done
(umask 077; base64 -d ${place}/key >${place}/munge.key) || exit 1
rm -f ${place}/key ${socket} ${socket}.lock
munged --force --key-file ${place}/munge.key --socket ${socket} --pid-file ${place}/munged.pid --log-file ${place}/munged.log --seed-file ${place}/munged.seed || exit 1
exec slurmd -D -b -N ${node} --conf-server ${shellWord(servers)}`,
  };
}

/** Lines of /etc/hosts. @param addresses IPv4, by name */
export function hostsLines(addresses: ReadonlyMap<string, string>): string {
  return [...addresses].map(([name, address]) => `${address} ${name}\n`).join('');
}

/**
 * Names that a guest must be able to resolve: of controllers and nodes. What a v-node calls itself leads nowhere by
 * itself, and a name service that does not answer is waited for long: only where Slurm reaches it counts.
 */
export function namesToResolve(
  controllers: readonly { name: string }[],
  nodes: Iterable<ReadonlyMap<string, string>>,
): string[] {
  const names = new Set(controllers.map(({ name }) => name));
  for (const node of nodes) {
    const isVirtual = /\bCLOUD\b/.test(node.get('State') ?? '');
    for (const key of isVirtual ? ['NodeAddr'] : ['NodeAddr', 'NodeHostName']) {
      const name = node.get(key);
      if (name !== undefined && /^[A-Za-z0-9][A-Za-z0-9.-]*$/.test(name)) names.add(name);
    }
  }
  return [...names];
}

/** A reason of a node's state: one line, no quotes, not too long. */
export function reasonText(text: string): string {
  const plain = text
    .replace(/[^\x20-\x7e]+/g, ' ')
    .replace(/["'\\[\]]/g, (c) => ({ '[': '(', ']': ')' })[c] ?? '');
  return `lodge: ${plain.replace(/^lodge: /, '').trim()}`.slice(0, 240);
}

/** The v-nodes of a list that slurmctld gives, and names in it that the site file does not know. */
export function nodesOf(site: Site, list: string): { known: VirtualNode[]; unknown: string[] } {
  const names = [...new Set(expandHostList(list, 'NODELIST'))];
  const byName = new Map(site.nodes.map((node) => [node.name, node]));
  return {
    known: names.flatMap((name) => byName.get(name) ?? []),
    unknown: names.filter((name) => !byName.has(name)),
  };
}
