/** What `status` shows of a cluster. */

import type { ClusterPlan, PlannedGuest } from '../cluster/plan.ts';
import { guestsOf, readClusterPlan, readFabricPlan, whichCluster } from '../cluster/state.ts';
import { describeError } from '../errors.ts';
import type { LinkState, TrunkState } from '../fabric/control.ts';
import type { GuestView } from '../guest/state.ts';
import { askFabric } from '../server/cluster-client.ts';
import { table } from './table.ts';

export async function statusVerb(asked: string | undefined, json: boolean): Promise<void> {
  const name = whichCluster(asked);
  const plan = readClusterPlan(name);
  const views = new Map(guestsOf(name).map((view) => [view.name, view]));
  let links: LinkState[] = [];
  let trunks: TrunkState[] = [];
  let problem: unknown;
  if (readFabricPlan(name) !== undefined) {
    try {
      links = await askFabric(name, 'links', {});
      trunks = (await askFabric(name, 'status', {})).trunks;
    } catch (error) {
      problem = error;
    }
  }
  const guests = statusOf(plan, views, links);
  if (json) {
    const fabric = {
      links: links.length,
      connected: links.filter((link) => link.port?.isConnected === true).length,
      trunks,
    };
    process.stdout.write(`${JSON.stringify({ name, file: plan?.file, guests, fabric }, null, 2)}\n`);
  } else {
    const running = guests.filter(({ status }) => status === 'running').length;
    const head = `${name}: ${running} of ${guests.length} guests run${plan === undefined ? ', and its plan is gone: lodge down' : `, from ${plan.file}`}\n`;
    process.stdout.write(head + table(guestRows(guests)) + trunks.map(trunkLine).join(''));
  }
  if (problem !== undefined) process.stderr.write(`${describeError(problem)}\n`);
}

/** What the other side said of itself may be in the reason. */
function trunkLine({ host, address, port, state, reason }: TrunkState): string {
  const why = reason === undefined ? '' : `: ${reason.replaceAll(/\p{Cc}/gu, '?')}`;
  return `trunk to ${host} at ${address}:${port}: ${state}${why}\n`;
}

/** What scripts read of a guest. Frames are those from and to the guest since the fabric began. */
interface GuestStatusRecord {
  name: string;
  fullName: string;
  /** That of the guest, or `missing`. */
  status: string;
  accelerator: string;
  addresses: string[];
  linksUp: number;
  links: number;
  framesOut: number;
  framesIn: number;
}

function statusOf(
  plan: ClusterPlan | undefined,
  views: ReadonlyMap<string, GuestView>,
  links: readonly LinkState[],
): GuestStatusRecord[] {
  const states = new Map(links.map((link) => [link.name, link]));
  const planned = (plan?.guests ?? []).map((guest) => recordOf(guest, views.get(guest.fullName), states));
  const known = new Set(planned.map(({ fullName }) => fullName));
  const others = [...views.values()]
    .filter((view) => !known.has(view.name))
    .map((view) =>
      recordOf(
        {
          name: view.plan.hostname,
          fullName: view.name,
          accelerator: view.plan.accelerator,
          interfaces: view.plan.interfaces,
        },
        view,
        states,
      ),
    );
  return [...planned, ...others];
}

function recordOf(
  guest: Pick<PlannedGuest, 'name' | 'fullName' | 'accelerator' | 'interfaces'>,
  view: GuestView | undefined,
  states: ReadonlyMap<string, LinkState>,
): GuestStatusRecord {
  const own = guest.interfaces.map(({ network }) => states.get(`${network}/${guest.name}`));
  const up = own.filter((link) => link?.port?.isConnected === true && !link.out.isCut && !link.in.isCut);
  const sum = (count: (link: LinkState) => number): number =>
    own.reduce((total, link) => total + (link === undefined ? 0 : count(link)), 0);
  return {
    name: guest.name,
    fullName: guest.fullName,
    status: view === undefined ? 'missing' : view.status,
    accelerator: guest.accelerator,
    addresses: guest.interfaces.map(({ address }) => address.split('/')[0]!),
    linksUp: up.length,
    links: guest.interfaces.length,
    framesOut: sum((link) => link.out.frames),
    framesIn: sum((link) => link.in.deliveredFrames),
  };
}

function guestRows(guests: readonly GuestStatusRecord[]): string[][] {
  return [
    ['GUEST', 'STATUS', 'ACCEL', 'ADDRESSES', 'LINKS UP', 'FRAMES OUT', 'FRAMES IN'],
    ...guests.map((guest) => [
      guest.name,
      guest.status,
      guest.accelerator,
      guest.addresses.join(' '),
      `${guest.linksUp} of ${guest.links}`,
      String(guest.framesOut),
      String(guest.framesIn),
    ]),
  ];
}
