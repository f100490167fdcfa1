/**
 * What a holder job does on its host: boots the v-node's guest, has slurmd run in it, and tells Slurm when that ends.
 * The guest is a cluster of one, and this process is its agent, so that what ends the job ends it.
 */

import { randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { jobDir } from '../cluster/engine/rendezvous.ts';
import type { SiteFound } from '../cluster/engine/site/conf.ts';
import { nodeCluster } from '../cluster/engine/site/fabric.ts';
import {
  guestPlace,
  type HolderOrder,
  holderClusterText,
  holderNetwork,
  hostsLines,
  joinGuest,
  namesToResolve,
  ownFabricNode,
  readOrder,
} from '../cluster/engine/site/holder.ts';
import { isAway, isWanted, lookAtSite, markDown, nodeState, reasonOf } from '../cluster/engine/site/power.ts';
import { controllersOf, stateOf } from '../cluster/engine/site/scontrol.ts';
import { slurmJobOf } from '../cluster/engine/slurm-job.ts';
import { clusterKeys, planSetUps, setUpSteps } from '../cluster/guest-setup.ts';
import { lookAtCluster } from '../cluster/look.ts';
import type { ClusterPlan, PlannedGuest } from '../cluster/plan.ts';
import { checkClusterMemory } from '../cluster/resources.ts';
import { makeClusterDir, writeClusterPlan } from '../cluster/state.ts';
import { describeError, hostIoError, LodgeError } from '../errors.ts';
import type { ClusterHosts } from '../fabric/control.ts';
import { readTrunkKey } from '../fabric/trunk/secure.ts';
import type { Step } from '../guest/channel/channel.ts';
import { deathOf } from '../guest/death.ts';
import type { GuestPlan } from '../guest/plan.ts';
import { viewGuest } from '../guest/state.ts';
import { foldHostList } from '../host-list.ts';
import { openStore } from '../image/store.ts';
import { probeLimits } from '../machine/basics.ts';
import { printable } from '../printable.ts';
import { ownAddress } from './door.ts';
import type { TaskOwner } from './host-agent.ts';
import { serveTask } from './job-agent.ts';
import type { AgentJob } from './job-saver.ts';

/** Names that are resolved for guests: more have the site's own name service in the image. */
const mostNames = 4096;
/** What a name service has not told by then, the guest does without. */
const namesWithinMs = 10_000;
/** How long the end of a guest may take to be seen after its channel has broken. */
const deathWithinMs = 1000;
const logLimitBytes = 4 * 1024 * 1024;

/**
 * Holds a v-node until it ends. When this throws, Slurm does not know of its end, and the script of the job tells it.
 * @param orderText what `readOrder` reads
 */
export async function holdNode(orderText: string): Promise<void> {
  const order = readOrder(orderText);
  const told = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => resolve());
  });
  const site = lookAtSite();
  site.catch(() => {});
  const hold = async (owner: TaskOwner): Promise<void> => {
    const found = await site;
    // Asked for twice, or too late: nobody waits for it any more.
    if (!isWanted(stateOf(found.nodes.get(order.node) ?? new Map()))) {
      process.stderr.write(`lodge: Slurm does not wait for ${order.node}\n`);
      return;
    }
    const end = Promise.race([runNode(order, found, owner), told]);
    await tellSlurm(order.node, await end.catch((error: unknown) => error));
  };
  let holding: Promise<void> | undefined;
  try {
    await serveTask(jobHere(), (owner) => {
      holding = hold(owner);
      return holding;
    });
  } catch (error) {
    // Without an agent nothing was begun.
    if (holding !== undefined) throw error;
    await tellSlurm(order.node, error);
  }
  await holding;
}

function jobHere(): AgentJob {
  const job = slurmJobOf(process.env);
  if (job === undefined) {
    throw new LodgeError('no-allocation', 'a v-node is begun in its holder job alone');
  }
  return { dir: jobDir(job.id), host: process.env.SLURMD_NODENAME ?? hostname() };
}

/** @param end why the node has ended; undefined when its job was told to end */
async function tellSlurm(node: string, end: unknown): Promise<void> {
  // Whoever tells a job to end kills it soon: there is no time to wait for slurmctld, which its trigger tells later.
  const state = await nodeState(node, { waits: end !== undefined });
  // Powered down, or told to be: it is as it should be.
  if (isAway(state)) return;
  if (end !== undefined) process.stderr.write(`${describeError(end)}\n`);
  const job = `holder job ${process.env.SLURM_JOB_ID} on ${process.env.SLURMD_NODENAME}`;
  await markDown(node, end === undefined ? `${job} was cancelled` : `${reasonOf(end)}, ${job}`);
}

/** Boots the guest and runs slurmd in it. @returns why the node has ended, once it has */
async function runNode(order: HolderOrder, found: SiteFound, owner: TaskOwner): Promise<unknown> {
  const mungeKey = readKey(order.mungeKey);
  const hosts = hostsHere(order, found);
  const [{ guest, plan, steps }] = await Promise.all([planNode(order), joinFabric(order, owner)]);
  makeClusterDir(plan.name);
  writeClusterPlan(plan);
  await owner.fabrics.apply(plan.name);
  await owner.start({ plan: guest }, () => {});
  const channel = await owner.channel(guest.name);
  const node = joinGuest(order, mungeKey, await hosts, socketOf(found.config));
  await channel.configure([
    ...steps,
    ['mkdir', guestPlace, '700'],
    ...node.files.map(({ path, mode, text }): Step => ['write', path, mode, text]),
  ]);
  const session = channel.exec({
    ...{ argv: ['/bin/sh', '-c', node.script], cwd: '/', umask: 0o022, env: {} },
    ...{ uid: 0, gid: 0, groups: [0] },
  });
  let said = '';
  let loggedBytes = 0;
  const collect = (bytes: Buffer): void => {
    // The guest's root writes this: it may not fill the host's disk.
    loggedBytes += bytes.length;
    if (loggedBytes <= logLimitBytes) process.stderr.write(printable(bytes.toString()));
    said = (said + bytes.toString()).slice(-2000);
  };
  session.output('stdout', collect);
  session.output('stderr', collect);
  session.endInput();
  await session.started;
  return session.end.then(
    ({ code, signal }) => slurmdFault(code, signal, said.trim()),
    (error: unknown) => deathIn(guest.name, error),
  );
}

/** The guest as a cluster of one, and what it is told of itself. @throws LodgeError for what cannot be had here */
async function planNode(
  order: HolderOrder,
): Promise<{ guest: GuestPlan; plan: ClusterPlan; steps: readonly Step[] }> {
  const store = openStore();
  const file = join(store.path, 'holders', `${order.node}.yaml`);
  try {
    mkdirSync(join(file, '..'), { recursive: true, mode: 0o700 });
    writeFileSync(file, holderClusterText(order), { mode: 0o600 });
  } catch (error) {
    throw hostIoError("writing the v-node's spec", file, error);
  }
  const look = await lookAtCluster(
    file,
    { store, onProgress: () => {}, cwd: process.cwd() },
    holderNetwork(order),
  );
  const { plan } = look;
  const [planned] = plan.guests as [PlannedGuest];
  look.requireSources(new Set([planned.fullName]));
  checkClusterMemory(plan.guests, probeLimits().limits, 0);
  const guest = await look.guestPlan(planned);
  // What is planned is what boots, whatever its name in the store comes to mean meanwhile.
  requireAllowed(order, guest);
  const keys = clusterKeys(plan.name, randomBytes(32));
  const setUp = planSetUps(plan, keys).get(planned.fullName)!;
  return { guest, plan, steps: setUpSteps(plan, planned, setUp, keys, true) };
}

/** Why a guest has ended, which is more than that its channel has: what it left tells, in a moment. */
async function deathIn(name: string, error: unknown): Promise<unknown> {
  const deadline = Date.now() + deathWithinMs;
  while (Date.now() < deadline) {
    const found = viewGuest(name);
    if (found?.status === 'exited') return deathOf(found.plan);
    // The job ends, and this with it: there is nothing more to be known.
    if (found === undefined) break;
    await delay(50);
  }
  return error;
}

function slurmdFault(code: number, signal: number, said: string): LodgeError {
  const end = signal > 0 ? `signal ${signal}` : `code ${code}`;
  const last = said.split('\n').at(-1)!;
  return new LodgeError(
    'guest-setup',
    `slurmd in the guest ended with ${end}${last === '' ? '' : `: ${last}`}`,
    {
      ...(said === '' ? {} : { detail: said }),
      ...(code === 127 ? { fix: 'boot it from an image that has slurmd and munge' } : {}),
    },
  );
}

/** By content: a name in the store may have come to mean another image. @throws LodgeError `image-not-allowed` */
function requireAllowed({ image: name, allowed }: HolderOrder, { image }: GuestPlan): void {
  const id = image.kind === 'linux' ? image.id : undefined;
  if (id !== undefined && allowed.includes(id)) return;
  throw notAllowed(
    id === undefined
      ? `image '${name}' is no Linux root, and a v-node boots from one`
      : `image '${name}' is not on the list of the site: its content is ${id}`,
  );
}

function notAllowed(message: string): LodgeError {
  return new LodgeError('image-not-allowed', message, {
    fix: 'an administrator adds the digest to images in the site file, after a look at the image',
  });
}

/** @throws LodgeError `slurm-setup` */
function readKey(path: string): string {
  try {
    return readFileSync(path).toString('base64');
  } catch (cause) {
    throw new LodgeError('slurm-setup', `the key of munge cannot be read: ${(cause as Error).message}`, {
      where: path,
      fix: `as root, on each host: install -D -o SLURMUSER -m 400 /etc/munge/munge.key ${path}`,
      cause,
    });
  }
}

/**
 * Where v-nodes have a network, has the agent of this job listen for the others, and tells it where they are. Each is a
 * host to the others, by its own name; which of them are there just now shows by itself.
 */
async function joinFabric({ node, fabric }: HolderOrder, { fabrics }: TaskOwner): Promise<void> {
  if (fabric === undefined) return;
  requireFabricKey(fabric.key);
  const address = await ownAddress([process.env.SLURMD_NODENAME ?? hostname(), hostname()]);
  const addresses = new Map<string, string>();
  const names = [...new Set(fabric.nodes.map((one) => one.host))];
  await Promise.all(names.map(async (name) => addresses.set(name, await addressOf(name).catch(() => name))));
  const hosts: ClusterHosts = {
    host: node,
    listen: { address, port: ownFabricNode(node, fabric).port },
    keyFile: fabric.key,
    peers: fabric.nodes
      .filter(({ name }) => name !== node)
      .map(({ name, host: at, port }) => ({ host: name, address: addresses.get(at)!, port })),
  };
  await fabrics.joinHosts(nodeCluster, hosts);
}

/** @throws LodgeError `slurm-setup` */
function requireFabricKey(path: string): void {
  try {
    readTrunkKey(path);
  } catch (cause) {
    throw new LodgeError(
      'slurm-setup',
      `the key of the network between v-nodes cannot be used: ${(cause as Error).message}`,
      {
        where: path,
        fix: `as root, once: head -c 32 /dev/urandom >FILE; and on each host: install -D -o SLURMUSER -m 400 FILE ${path}`,
        cause,
      },
    );
  }
}

async function addressOf(name: string): Promise<string> {
  return (await lookup(name, { family: 4 })).address;
}

/** Names of Slurm's hosts, as this host resolves them; those of v-nodes in the network between them are its own. */
async function hostsHere({ fabric }: HolderOrder, { config, nodes }: SiteFound): Promise<string> {
  const addresses = new Map<string, string>();
  const known = new Set(fabric?.nodes.map(({ name }) => name));
  const names = namesToResolve(controllersOf(config), nodes.values())
    .filter((name) => !known.has(name))
    .slice(0, mostNames);
  const asked = new Set(names);
  const looking = Promise.all(
    names.map(async (name) => {
      const found = await addressOf(name).catch(() => undefined);
      asked.delete(name);
      if (found !== undefined) addresses.set(name, found);
    }),
  );
  await Promise.race([looking, delay(namesWithinMs, undefined, { ref: false })]);
  if (asked.size > 0) {
    const seconds = namesWithinMs / 1000;
    process.stderr.write(
      `lodge: the name service has not told within ${seconds} s, and the v-node does without: ${foldHostList([...asked])}\n`,
    );
  }
  return hostsLines(addresses);
}

/** Where Slurm's programs look for munge, when the site says it. */
function socketOf(config: ReadonlyMap<string, string>): string | undefined {
  return /(?:^|,)socket=([^,\s]+)/.exec(config.get('AuthInfo') ?? '')?.[1];
}
