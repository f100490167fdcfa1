/**
 * A Slurm of a user's own: its files as text. Pure. Native hosts and guests are nodes of it side by side, so that the
 * same line of srun runs on either. The key of munge is the user's own: whoever is root in a guest can read it, and
 * reaches nothing by it but this Slurm.
 *
 * Several nodes are on one host: each has a port of its own. Guests are reached at the host with their way out, which
 * leads these ports to them; so slurmd in a guest sees who really asks, and answers there.
 */

import { LodgeError } from '../../errors.ts';

/** A node of the private Slurm. */
export interface PrivateNode {
  name: string;
  /** Where it is reached: of its host, or, for a guest, of the host that leads its port to it. */
  address: string;
  port: number;
  cpus: number;
  memoryMiB: number;
}

export interface PrivateSlurm {
  /** Of the cluster. */
  name: string;
  user: string;
  /** The same path on all hosts and in all guests: sockets and spools lie in it, and it is on no shared file system. */
  dir: string;
  controller: { name: string; address: string; port: number };
  natives: PrivateNode[];
  guests: PrivateNode[];
  /** Ports that srun listens on: guests are let out to these. */
  srunPorts: readonly [first: number, last: number];
}

const srunPortCount = 100;
/** Below those that systems and the fabric's uplinks give out by themselves. */
const firstPort = 10_000;
const lastPort = 16_000;

export interface PortPlan {
  controller: number;
  natives: number[];
  guests: number[];
  srun: readonly [first: number, last: number];
}

/**
 * Ports for all daemons; other ones for another `seed`.
 * @throws LodgeError `spec-value` for more nodes than there are ports
 */
export function planPorts(natives: number, guests: number, seed: number): PortPlan {
  const count = 1 + natives + guests + srunPortCount;
  const room = lastPort - firstPort - count;
  if (room < 0) {
    throw new LodgeError(
      'spec-value',
      `a Slurm of one's own has ports for at most ${lastPort - firstPort} nodes`,
      {
        fix: 'ask for fewer guests',
      },
    );
  }
  const base = firstPort + (Math.abs(Math.trunc(seed)) % (room + 1));
  const range = (from: number, length: number): number[] => Array.from({ length }, (_, i) => from + i);
  const first = base + 1 + natives + guests;
  return {
    controller: base,
    natives: range(base + 1, natives),
    guests: range(base + 1 + natives, guests),
    srun: [first, first + srunPortCount - 1],
  };
}

export const privateFiles = {
  conf: 'slurm.conf',
  cgroup: 'cgroup.conf',
  key: 'munge.key',
  mungeSocket: 'munge.sock',
} as const;

/** `slurm.conf`, the same on all nodes. */
export function privateConf(slurm: PrivateSlurm): string {
  const { name, user, dir, controller, natives, guests, srunPorts } = slurm;
  const nodeLine = (node: PrivateNode): string =>
    `NodeName=${node.name} NodeHostname=${node.name} NodeAddr=${node.address} Port=${node.port} CPUs=${node.cpus} RealMemory=${node.memoryMiB} State=UNKNOWN`;
  const names = (nodes: readonly PrivateNode[]): string => nodes.map((node) => node.name).join(',');
  const partition = (title: string, nodes: readonly PrivateNode[], rest = ''): string[] =>
    nodes.length === 0
      ? []
      : [`PartitionName=${title} Nodes=${names(nodes)} MaxTime=INFINITE State=UP${rest}`];
  return `${[
    `ClusterName=${name}`,
    `SlurmctldHost=${controller.name}(${controller.address})`,
    `SlurmctldPort=${controller.port}`,
    `SlurmUser=${user}`,
    `SlurmdUser=${user}`,
    'AuthType=auth/munge',
    `AuthInfo=socket=${dir}/${privateFiles.mungeSocket}`,
    `StateSaveLocation=${dir}/state`,
    `SlurmdSpoolDir=${dir}/spool-%n`,
    `SlurmctldPidFile=${dir}/slurmctld.pid`,
    `SlurmdPidFile=${dir}/slurmd-%n.pid`,
    `SrunPortRange=${srunPorts[0]}-${srunPorts[1]}`,
    // Nothing here is root, so nothing is bound, counted or confined; that is the outer Slurm's part.
    'ProctrackType=proctrack/linuxproc',
    'TaskPlugin=task/none',
    'JobAcctGatherType=jobacct_gather/none',
    'SwitchType=switch/none',
    'MpiDefault=none',
    'SelectType=select/cons_tres',
    'SelectTypeParameters=CR_Core',
    'SlurmdParameters=config_overrides',
    'SchedulerParameters=batch_sched_delay=0,sched_min_interval=0',
    // Messages go straight to each node: between guests there is no way but by their hosts.
    'TreeWidth=65533',
    'ReturnToService=2',
    'KillWait=5',
    'MessageTimeout=30',
    ...[...natives, ...guests].map(nodeLine),
    ...partition('all', [...natives, ...guests], ' Default=YES'),
    ...partition('native', natives),
    ...partition('virtual', guests),
  ].join('\n')}\n`;
}

/** `cgroup.conf`: without it, slurmd looks for a hierarchy that not every host has. */
export const privateCgroupConf = 'CgroupPlugin=cgroup/v1\n';

/** What guests must reach: destinations of an uplink's rules. */
export function guestReaches(
  slurm: Pick<PrivateSlurm, 'controller' | 'natives' | 'guests' | 'srunPorts'>,
  frontends: readonly string[],
): {
  protocol: 'tcp';
  destination: string;
  ports: readonly [number, number];
}[] {
  const { controller, natives, guests, srunPorts } = slurm;
  const addresses = new Set([controller.address, ...frontends, ...natives.map(({ address }) => address)]);
  const ports = [...natives, ...guests].map(({ port }) => port);
  const nodes = [Math.min(...ports), Math.max(...ports)] as const;
  const rule = (address: string, range: readonly [number, number]) => ({
    protocol: 'tcp' as const,
    destination: `${address}/32`,
    ports: range,
  });
  return [
    rule(controller.address, [controller.port, controller.port]),
    ...[...addresses].flatMap((address) => [rule(address, srunPorts), rule(address, nodes)]),
  ];
}

/** How munge is started: as the user, with a key and a socket of its own. */
export function mungeArgv(dir: string): string[] {
  const at = (name: string): string => `${dir}/${name}`;
  return [
    // The directory is the user's alone, which is more than munge asks for, and it says so.
    ...['munged', '--force', '--key-file', at(privateFiles.key), '--socket', at(privateFiles.mungeSocket)],
    ...['--pid-file', at('munged.pid'), '--log-file', at('munged.log'), '--seed-file', at('munged.seed')],
  ];
}

/**
 * A shell script, run as the user in a guest: begins munge and slurmd, which go on by themselves. It ends when slurmd
 * listens: to slurmctld a node that was there before is idle all the time.
 */
export function guestScript(dir: string, { name, port }: Pick<PrivateNode, 'name' | 'port'>): string {
  const pid = `slurmd-${name}.pid`;
  // As /proc/net/tcp has it: local address and port, then those of the other end, then the state LISTEN.
  const listening = `:${port.toString(16).toUpperCase().padStart(4, '0')} [0-9A-F]*:0000 0A `;
  return `cd ${dir} && mkdir -p spool-${name} || exit 1
# One that runs already reads no new configuration.
if [ -f ${pid} ] && kill "$(cat ${pid})" 2>/dev/null; then
  while kill -0 "$(cat ${pid} 2>/dev/null)" 2>/dev/null; do sleep 0.1; done
fi
PATH=$PATH:/usr/sbin:/sbin
# A socket alone tells nothing: that of one that was killed stays.
if ! { [ -S ${privateFiles.mungeSocket} ] && [ "$(cat "/proc/$(cat munged.pid)/comm")" = munged ]; } 2>/dev/null; then
  ${mungeArgv(dir).join(' ')} || exit
fi
slurmd -N ${name} -f ${dir}/${privateFiles.conf} -L ${dir}/slurmd.log || exit
for i in $(seq 600); do
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q '${listening}' && exit 0
  sleep 0.1
done
echo 'slurmd does not listen' >&2
exit 1`;
}
