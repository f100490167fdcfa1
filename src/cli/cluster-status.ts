/** What `status` shows of a cluster. */

import type { JobCluster } from '../cluster/engine/rendezvous.ts';
import type { ClusterPlan, PlannedGuest } from '../cluster/plan.ts';
import { guestsOf, readClusterPlan, readFabricPlan } from '../cluster/state.ts';
import { describeError } from '../errors.ts';
import type { LinkState, TrunkState } from '../fabric/control.ts';
import type { GuestView } from '../guest/state.ts';
import { askFabric } from '../server/cluster-client.ts';
import { thisJobId } from '../server/locate.ts';
import { hostClusterNamed, jobClusterNamed } from './job-names.ts';
import { printJson } from './print-json.ts';
import { table } from './table.ts';

export async function statusVerb(asked: string | undefined, json: boolean): Promise<void> {
  const ofJob = jobClusterNamed(asked);
  if (ofJob !== undefined) {
    await showJobStatus(ofJob, json);
    return;
  }
  const name = hostClusterNamed(asked);
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
  const connected = links.filter((link) => link.port?.isConnected === true).length;
  const fabric = { links: links.length, connected, trunks };
  printStatus({ name, file: plan?.file, guests, fabric }, json);
  if (problem !== undefined) process.stderr.write(`${describeError(problem)}\n`);
}

/** A cluster over the hosts of this job: what each of them tells. */
async function showJobStatus({ plan, hostOfGuest }: JobCluster, json: boolean): Promise<void> {
  const { openJob, verbOn } = await import('../server/job.ts');
  const { hosts } = await openJob(thisJobId());
  const problems: string[] = [];
  const told = new Map<string, GuestStatusRecord>();
  const fabric: StatusRecord['fabric'] = { links: 0, connected: 0, trunks: [] };
  await Promise.all(
    hosts.map(async (host) => {
      if (!Object.values(hostOfGuest).includes(host.name)) return;
      try {
        const answer = await verbOn<StatusRecord>(host, ['status', plan.name], { cwd: '/', input: '' });
        for (const guest of answer.guests) told.set(guest.name, { ...guest, host: host.name });
        fabric.links += answer.fabric.links;
        fabric.connected += answer.fabric.connected;
        fabric.trunks.push(...answer.fabric.trunks.map((trunk) => ({ from: host.name, ...trunk })));
      } catch (error) {
        problems.push(`${host.name}: ${describeError(error)}`);
      }
    }),
  );
  const guests = plan.guests.map((guest): GuestStatusRecord => {
    const host = hostOfGuest[guest.name]!;
    return told.get(guest.name) ?? { ...recordOf(guest, undefined, new Map()), host };
  });
  printStatus({ name: plan.name, file: plan.file, guests, fabric }, json);
  for (const problem of problems) process.stderr.write(`lodge: ${problem}\n`);
}

interface StatusRecord {
  name: string;
  file?: string | undefined;
  guests: GuestStatusRecord[];
  fabric: { links: number; connected: number; trunks: (TrunkState & { from?: string })[] };
}

function printStatus(status: StatusRecord, json: boolean): void {
  if (json) {
    printJson(status);
    return;
  }
  const { name, file, guests } = status;
  const running = guests.filter((guest) => guest.status === 'running').length;
  const from = file === undefined ? ', and its plan is gone: lodge down' : `, from ${file}`;
  // Of many hosts, those that are as they should be fill no screen.
  const shown = status.fabric.trunks.filter(({ from, state }) => from === undefined || state !== 'up');
  const lines = shown.map(trunkLine).join('');
  process.stdout.write(
    `${name}: ${running} of ${guests.length} guests run${from}\n${table(guestRows(guests))}${lines}`,
  );
}

/** What the other side said of itself may be in the reason. */
function trunkLine({ from, host, address, port, state, reason }: TrunkState & { from?: string }): string {
  const why = reason === undefined ? '' : `: ${reason.replaceAll(/\p{Cc}/gu, '?')}`;
  return `trunk ${from === undefined ? '' : `from ${from} `}to ${host} at ${address}:${port}: ${state}${why}\n`;
}

/** What scripts read of a guest. Frames are those from and to the guest since the fabric began. */
interface GuestStatusRecord {
  name: string;
  fullName: string;
  /** In a job of several hosts. */
  host?: string;
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
  const host = guests.some((guest) => guest.host !== undefined) ? ['HOST'] : [];
  return [
    ['GUEST', ...host, 'STATUS', 'ACCEL', 'ADDRESSES', 'LINKS UP', 'FRAMES OUT', 'FRAMES IN'],
    ...guests.map((guest) => [
      guest.name,
      ...(guest.host === undefined ? [] : [guest.host]),
      guest.status,
      guest.accelerator,
      guest.addresses.join(' '),
      `${guest.linksUp} of ${guest.links}`,
      String(guest.framesOut),
      String(guest.framesIn),
    ]),
  ];
}
