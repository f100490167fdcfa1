/** The proof that the guests of a fabric reach nothing but each other, and what was declared. */

import { randomBytes } from 'node:crypto';
import { BlockList } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Channel } from '../../guest/channel/channel.ts';
import { onlyBridges, plannedDevices } from '../bridge/devices.ts';
import type { FabricPlan, NetworkPlan } from '../plan.ts';
import { openCanary } from './canary.ts';
import type { IsolationFinding } from './finding.ts';
import { judgeProbes, metadataAddress, type ProbeTarget, probeFrom } from './probe.ts';
import {
  type GuestProcesses,
  judgeBridges,
  judgeProcesses,
  judgeSeparation,
  networksOfProcesses,
  ownNamespace,
} from './processes.ts';

/** A guest that runs, as the proof needs it. */
export interface GuestToProve {
  /** Its name in the fabric's plan. */
  guest: string;
  /** Process of its virtual machine. */
  pid: number;
  /** Names of its interfaces where its processes are those of the host: namespaces. */
  allowed: readonly string[];
  /** Without an agent nothing can be tried from inside. */
  channel?: Channel;
}

/** How many guests are tried at the same time: each waits for answers that do not come. */
const atOnce = 32;

/** A datagram may be on its way a little longer than the connection that was tried after it. */
const lateMs = 200;

/**
 * Looks at all guests from the outside, and tries from the inside.
 * @param plan of this host
 * @param holderPid the process that has the namespace of the cluster's bridges
 * @param whole of all hosts: members on others are to be reached, too
 */
export async function proveIsolation(
  plan: FabricPlan,
  guests: readonly GuestToProve[],
  holderPid: number | undefined,
  whole: FabricPlan = plan,
): Promise<IsolationFinding[]> {
  const host = ownNamespace();
  const looked = guests.map(
    ({ guest, pid, allowed }): GuestProcesses => ({ guest, allowed, processes: networksOfProcesses(pid) }),
  );
  const findings = [
    ...judgeUplinks(plan),
    ...looked.flatMap((one) => judgeProcesses(one, host)),
    ...judgeSeparation(looked),
    ...lookAtBridgesOf(plan, holderPid, host),
  ];
  const waiting = [...guests];
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      findings.push(...(await tryFromInside(whole, next)));
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, guests.length) }, worker));
  return findings;
}

function lookAtBridgesOf(plan: FabricPlan, holderPid: number | undefined, host: string): IsolationFinding[] {
  const { networks } = onlyBridges(plan);
  if (networks.length === 0) return [];
  const subject = networks.map(({ name }) => name).join(', ');
  const found = holderPid === undefined ? undefined : networksOfProcesses(holderPid)[0];
  if (found === undefined) {
    return [{ verdict: 'note', subject, found: 'the process that keeps the bridges is gone: lodge apply' }];
  }
  return [judgeBridges(subject, found, plannedDevices(plan), host)];
}

/** Bridges of the host that a guest's networks join: what is reached by them was asked for. */
function joinedBy(plan: FabricPlan, guest: string): string[] {
  return plan.networks.flatMap((network) => {
    const { bridge } = network;
    const isMember = portsOf(network).some((port) => port.guest === guest);
    return bridge?.joins !== undefined && isMember ? [bridge.joins.bridge] : [];
  });
}

async function tryFromInside(plan: FabricPlan, guest: GuestToProve): Promise<IsolationFinding[]> {
  if (guest.channel === undefined) {
    const found = 'has no agent: nothing was tried from inside';
    return [{ verdict: 'note', subject: guest.guest, found }];
  }
  const canary = await openCanary();
  try {
    const token = `lodge ${randomBytes(6).toString('hex')}`;
    const targets = targetsOf(plan, guest.guest, hostAddresses(), canary.port);
    const results = await probeFrom(guest.channel, targets, token);
    await new Promise((resolve) => setTimeout(resolve, lateMs));
    const joined = joinedBy(plan, guest.guest);
    return judgeProbes({ guest: guest.guest, results, canary: canary.reached(), joined });
  } finally {
    canary.close();
  }
}

/** IPv4 addresses of this host, loopback among them. */
function hostAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ family }) => family === 'IPv4')
    .map(({ address }) => address);
}

/** Any port does to see a member: one that refuses has been reached. */
const memberPort = 9;

/** What a guest is to try: the host by all its addresses, the metadata address, and one member of each of its networks. */
export function targetsOf(
  plan: FabricPlan,
  guest: string,
  hostAddresses: readonly string[],
  canaryPort: number,
): ProbeTarget[] {
  const own = plan.networks.filter((network) => portsOf(network).some((port) => port.guest === guest));
  const subnets = new BlockList();
  for (const { subnet } of own) {
    const [network = '', length = ''] = subnet.split('/');
    subnets.addSubnet(network, Number(length));
  }
  const members = own.flatMap((network): ProbeTarget[] => {
    const other = portsOf(network).find((port) => port.guest !== guest);
    if (other === undefined) return [];
    const address = other.interface.address.split('/')[0]!;
    return [{ what: `${other.guest} in ${network.name}`, address, port: memberPort, isMember: true }];
  });
  return [
    // An address that a member may have too says nothing: what reaches the host shows at its canary.
    ...hostAddresses
      .filter((address) => !subnets.check(address))
      .map((address) => ({ what: 'the host', address, port: canaryPort, isMember: false })),
    { what: 'the metadata address', address: metadataAddress, port: 80, isMember: false },
    ...members,
  ];
}

function portsOf(network: NetworkPlan) {
  return network.ports.flatMap(({ end }) => (end.kind === 'guest' ? [end] : []));
}

/** Ways out of a fabric are there because they were asked for; all others are none. */
export function judgeUplinks(plan: FabricPlan): IsolationFinding[] {
  return plan.networks.flatMap((network) => [
    ...joinFinding(network),
    ...network.ports.flatMap(({ end }): IsolationFinding[] => {
      if (end.kind === 'guest') return [];
      if (end.kind === 'trunk') {
        const found = `goes on at host ${end.host}, encrypted`;
        return [{ verdict: 'note', subject: network.name, found }];
      }
      const rules = end.allow.map(
        ({ protocol, destination, ports }) =>
          `${protocol} to ${destination}${ports === undefined ? '' : ` port ${ports[0] === ports[1] ? ports[0] : ports.join('-')}`}`,
      );
      return [
        { verdict: 'note', subject: network.name, found: `has a declared way out: ${rules.join(', ')}` },
      ];
    }),
  ]);
}

function joinFinding({ name, bridge }: NetworkPlan): IsolationFinding[] {
  if (bridge?.joins === undefined) return [];
  const found = `has a declared way out: it joins ${bridge.joins.bridge} of the host, and reaches whatever that does`;
  return [{ verdict: 'note', subject: name, found }];
}
