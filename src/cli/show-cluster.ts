/** A cluster's plan for people, or as the JSON it is. */

import { describeSteps } from '../cluster/apply.ts';
import type { Step } from '../cluster/diff.ts';
import { describeChanges } from '../cluster/guest-changes.ts';
import type { ClusterPlan } from '../cluster/plan.ts';
import { memorySum } from '../cluster/resources.ts';
import { formatUplinkRule } from '../cluster/uplink-rule.ts';
import { capturePath } from '../fabric/capture/capture.ts';
import type { LinkPlan, NetworkPlan } from '../fabric/plan.ts';
import { formatShape } from '../fabric/shape.ts';
import { formatSize } from '../units.ts';
import { printJson } from './print-json.ts';
import { table } from './table.ts';

/** @param hosts names of hosts by those of guests, where there are several */
export function printClusterPlan(
  plan: ClusterPlan,
  steps: readonly Step[],
  json: boolean,
  hosts?: ReadonlyMap<string, string>,
): void {
  if (json) {
    const over = hosts === undefined ? {} : { hosts: Object.fromEntries(hosts) };
    printJson({ plan, ...over, steps });
    return;
  }
  const parts = [
    `cluster ${plan.name}: ${describeSteps(steps)}`,
    '',
    table([
      [
        ...['GUEST', ...(hosts === undefined ? [] : ['HOST']), 'ACCEL', 'VCPUS', 'MEMORY'],
        ...['INTERFACE', 'NETWORK', 'ADDRESS', 'MAC'],
      ],
      ...guestRows(plan, hosts),
    ]).trimEnd(),
    ...plan.fabric.networks.flatMap((network) => ['', ...networkLines(network)]),
    '',
    `memory at most: ${memorySum(plan.guests)}`,
    ...changes(steps),
  ];
  process.stdout.write(`${parts.join('\n')}\n`);
}

function guestRows(plan: ClusterPlan, hosts: ReadonlyMap<string, string> | undefined): string[][] {
  return plan.guests.flatMap(({ name, accelerator, spec, interfaces }) => {
    const host = hosts === undefined ? [] : [hosts.get(name) ?? ''];
    const head = [name, ...host, accelerator, String(spec.cpus), formatSize(spec.memory)];
    return interfaces.map((one, i) => [
      ...(i === 0 ? head : head.map(() => '')),
      one.name,
      one.network,
      one.address,
      one.mac,
    ]);
  });
}

/** Links of a large graph are all alike: what is not shown is told. */
const mostLinks = 50;

function switchWords({ switches, links, bridge }: NetworkPlan): string {
  if (bridge !== undefined) {
    const { joins } = bridge;
    return `a bridge of the kernel${joins === undefined ? '' : `, joined to ${joins.bridge} of the host: a way out`}`;
  }
  return switches.length === 1
    ? 'one switch'
    : `${switches.length} switches, ${links.length} links between them`;
}

function networkLines(network: NetworkPlan): string[] {
  const { name, subnet, mtuBytes, ports, links } = network;
  const all = [...ports, ...links];
  const rows = all
    .slice(0, mostLinks)
    .map(({ link }) => [link.name, formatShape(link.out), formatShape(link.in)]);
  return [
    `network ${name}: ${subnet}, ${switchWords(network)}, MTU ${mtuBytes}`,
    table([['LINK', 'OUT', 'IN'], ...rows]).trimEnd(),
    ...(all.length > mostLinks ? [`and ${all.length - mostLinks} more links`] : []),
    ...ports.flatMap(({ link, end }) => [
      ...(end.kind === 'uplink'
        ? [`uplink by ${end.gateway}, for ${end.allow.map(formatUplinkRule).join('; ')}`]
        : []),
      ...captureLines(link),
    ]),
  ];
}

function captureLines({ name, capture }: LinkPlan): string[] {
  return capture === undefined ? [] : [`capture of ${name} in ${capturePath(capture.directory, name)}`];
}

/** What would be done to a cluster that is there. */
function changes(steps: readonly Step[]): string[] {
  // Of a new cluster all is started.
  if (steps.some((step) => step.kind === 'fabric' && step.isNew)) return [];
  const lines = steps.flatMap((step) => {
    if (step.kind === 'remove' || step.kind === 'start') return [`  ${step.kind} ${step.guest}`];
    if (step.kind === 'replace') return [`  replace ${step.guest}: ${whyReplaced(step)}`];
    if (step.kind !== 'fabric') return [];
    return [
      ...step.added.map((link) => `  add link ${link}`),
      ...step.removed.map((link) => `  remove link ${link}`),
      ...step.changed.map((link) => `  change link ${link}: ${step.how[link]}`),
    ];
  });
  return lines.length === 0 ? [] : ['', 'changes:', ...lines];
}

function whyReplaced({ why, changes }: Extract<Step, { kind: 'replace' }>): string {
  if (why === 'ended') return 'it has ended';
  // Whoever applied the spec before did not come to this guest.
  return changes === undefined ? 'it was started from another spec' : describeChanges(changes);
}
