/** What is changed of a fabric while it runs, in its plan: so that it is the same after the host agent was killed. Pure. */

import { LodgeError } from '../errors.ts';
import type { DirectionName } from '../fabric/control.ts';
import type { CapturePlan, FabricPlan, LinkPlan, PortPlan, Shape, SwitchLinkPlan } from '../fabric/plan.ts';
import { nearest } from '../nearest.ts';

export type FabricChange =
  | { kind: 'shape'; ask: { link: string; direction?: DirectionName; shape: Shape } }
  | { kind: 'cut' | 'heal'; ask: { link: string } }
  | { kind: 'move'; ask: { link: string; switch: string } }
  | { kind: 'capture-start'; ask: { link: string; capture: CapturePlan } }
  | { kind: 'capture-stop'; ask: { link: string } };

/**
 * The plan after a change.
 * @throws LodgeError `no-such-link`, `usage`
 */
export function changedFabric(plan: FabricPlan, change: FabricChange): FabricPlan {
  const { link: name } = change.ask;
  requireLink(plan, name);
  const isThis = ({ link }: PortPlan | SwitchLinkPlan): boolean => link.name === name;
  const networks = plan.networks.map((network) => {
    const { ports, links, switches } = network;
    if (!ports.some(isThis) && !links.some(isThis)) return network;
    if (network.bridge !== undefined) refuseOnBridge(change);
    return {
      ...network,
      ports: ports.map((port): PortPlan => (isThis(port) ? changedPort(port, change, switches) : port)),
      links: links.map((one): SwitchLinkPlan => {
        if (!isThis(one)) return one;
        if (change.kind === 'move') {
          throw new LodgeError(
            'usage',
            `'${name}' joins two switches, and only links of guests can be moved`,
            {
              fix: 'cut it, or name the link of a guest',
            },
          );
        }
        return { ...one, link: changedLink(one.link, change) };
      }),
    };
  });
  return { ...plan, networks };
}

/** @throws LodgeError `usage` for what a bridge of the kernel cannot do */
function refuseOnBridge({ kind, ask: { link } }: FabricChange): void {
  if (kind !== 'move' && kind !== 'capture-start') return;
  const what = kind === 'move' ? 'other switches' : 'captures';
  throw new LodgeError('usage', `'${link}' is on a bridge of the kernel, which has no ${what}`, {
    fix:
      kind === 'move'
        ? 'lodge fabric cut takes it off the bridge, and heal puts it back'
        : 'run tcpdump in the guest, or leave out bridge: the user-space fabric captures',
  });
}

function changedPort(port: PortPlan, change: FabricChange, switches: readonly string[]): PortPlan {
  if (change.kind !== 'move') return { ...port, link: changedLink(port.link, change) };
  const index = switches.indexOf(change.ask.switch);
  if (index >= 0) return { ...port, switch: index };
  const near = nearest(change.ask.switch, switches);
  throw new LodgeError(
    'usage',
    `there is no switch '${change.ask.switch}' in the network of '${port.link.name}'`,
    {
      fix:
        near === undefined
          ? `switches: ${switches.slice(0, 10).join(', ')}${switches.length > 10 ? '…' : ''}`
          : `did you mean '${near}'?`,
    },
  );
}

function changedLink(link: LinkPlan, change: FabricChange): LinkPlan {
  switch (change.kind) {
    case 'shape': {
      const { direction, shape } = change.ask;
      return {
        ...link,
        ...(direction === 'in' ? {} : { out: shape }),
        ...(direction === 'out' ? {} : { in: shape }),
      };
    }
    case 'cut':
      return { ...link, isCut: true };
    case 'heal':
      return { ...link, isCut: false };
    case 'capture-start':
      return { ...link, capture: change.ask.capture };
    case 'capture-stop': {
      const { capture: _, ...rest } = link;
      return rest;
    }
    case 'move':
      return link;
  }
}

/** A link of the fabric. @throws LodgeError `no-such-link` with the nearest name */
export function requireLink(plan: FabricPlan, name: string): LinkPlan {
  const names: string[] = [];
  for (const network of plan.networks) {
    for (const { link } of [...network.ports, ...network.links]) {
      if (link.name === name) return link;
      names.push(link.name);
    }
  }
  const near = nearest(name, names);
  throw new LodgeError('no-such-link', `there is no link '${name}' in cluster '${plan.name}'`, {
    fix:
      near === undefined
        ? `lodge fabric links --cluster ${plan.name} shows all ${names.length}`
        : `did you mean '${near}'?`,
  });
}
