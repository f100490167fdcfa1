/**
 * What a holder job does on its host: boots the v-node's guest, has slurmd run in it, and tells Slurm when that ends.
 * The guest is a cluster of one in the job, as `lodge up` in a job makes it, so that what ends the job ends it.
 */

import { lookup } from 'node:dns/promises';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
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
import { controllersOf } from '../cluster/engine/site/scontrol.ts';
import { fullNameOf } from '../cluster/networks.ts';
import { describeError, hostIoError, LodgeError } from '../errors.ts';
import type { ClusterHosts } from '../fabric/control.ts';
import { readTrunkKey } from '../fabric/trunk/secure.ts';
import { deathOf } from '../guest/death.ts';
import { resolveImage } from '../image/resolve.ts';
import { openStore } from '../image/store.ts';
import { printable } from '../printable.ts';
import { call, configureGuest, execInGuest } from '../server/client.ts';
import { ensureJob, jobForClusters } from '../server/job.ts';
import { locateGuest } from '../server/locate.ts';
import { upVerb } from './cluster-actions.ts';
import type { GlobalOptions } from './program.ts';

/** Names that are resolved for guests: more have the site's own name service in the image. */
const mostNames = 4096;
/** How long the end of a guest may take to be seen after its channel has broken. */
const deathWithinMs = 1000;
const logLimitBytes = 4 * 1024 * 1024;

/** Ends with 0 when Slurm knows all that is to be known; with anything else, the script of the job tells it. */
export async function slurmHoldVerb(options: GlobalOptions): Promise<void> {
  const order = readOrder(readFileSync(0, 'utf8'));
  const told = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => resolve());
  });
  // Asked for twice, or too late: nobody waits for it any more.
  if (!isWanted(await nodeState(order.node))) {
    process.stderr.write(`lodge: Slurm does not wait for ${order.node}\n`);
    return;
  }
  let end: unknown;
  try {
    end = await Promise.race([runNode(order, options), told]);
  } catch (error) {
    end = error;
  }
  // Powered down, or told to be: it is as it should be.
  if (isAway(await nodeState(order.node))) return;
  if (end !== undefined) process.stderr.write(`${describeError(end)}\n`);
  const job = `holder job ${process.env.SLURM_JOB_ID} on ${process.env.SLURMD_NODENAME}`;
  await markDown(order.node, end === undefined ? `${job} was cancelled` : `${reasonOf(end)}, ${job}`);
}

/** Boots the guest and runs slurmd in it. @returns why the node has ended, once it has */
async function runNode(order: HolderOrder, options: GlobalOptions): Promise<unknown> {
  await requireAllowed(order);
  const mungeKey = readKey(order.mungeKey);
  const hosts = hostsHere(order);
  hosts.catch(() => {});
  const file = join(openStore().path, 'holders', `${order.node}.yaml`);
  try {
    mkdirSync(join(file, '..'), { recursive: true, mode: 0o700 });
    writeFileSync(file, holderClusterText(order), { mode: 0o600 });
  } catch (error) {
    throw hostIoError("writing the v-node's spec", file, error);
  }
  await joinFabric(order);
  const extension = holderNetwork(order);
  await upVerb(file, { ...options, json: false, isNew: true, dryRun: false, extension, isSilent: true });
  const guest = fullNameOf(nodeCluster, order.node);
  // What has booted, and not what had the name a moment ago, is given the key.
  const { plan } = (await locateGuest(guest)).guest;
  if (plan.image.id === undefined || !order.allowed.includes(plan.image.id)) {
    throw notAllowed(
      `image '${order.image}' was changed while it booted, and is now not on the list of the site`,
    );
  }
  const { config, lines } = await hosts;
  const step = joinGuest(order, mungeKey, lines, socketOf(config));
  await configureGuest(guest, [
    ['mkdir', guestPlace, '700'],
    ...step.files.map(({ path, mode, text }): [string, ...string[]] => ['write', path, mode, text]),
  ]);
  const session = await execInGuest(guest, {
    ...{ argv: ['/bin/sh', '-c', step.script], cwd: '/', umask: 0o022, env: {} },
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
  return session.end.then(
    ({ code, signal }) => slurmdFault(code, signal, said.trim()),
    (error: unknown) => deathIn(guest, error),
  );
}

/** Why a guest has ended, which is more than that its channel has: what it left tells, in a moment. */
async function deathIn(name: string, error: unknown): Promise<unknown> {
  const deadline = Date.now() + deathWithinMs;
  while (Date.now() < deadline) {
    const found = await locateGuest(name).catch(() => undefined);
    if (found?.guest.status === 'exited') return deathOf(found.guest.plan);
    // The agent has ended, or does not answer: there is nothing more to be known.
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
async function requireAllowed({ image, allowed }: HolderOrder): Promise<void> {
  const found = await resolveImage(image, openStore());
  const id = found.kind === 'linux' ? found.id : undefined;
  if (id !== undefined && allowed.includes(id)) return;
  throw notAllowed(
    id === undefined
      ? `image '${image}' is no Linux root, and a v-node boots from one`
      : `image '${image}' is not on the list of the site: its content is ${id}`,
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
async function joinFabric({ node, fabric }: HolderOrder): Promise<void> {
  if (fabric === undefined) return;
  requireFabricKey(fabric.key);
  const slurm = jobForClusters();
  if (slurm === undefined) throw new LodgeError('no-allocation', 'a v-node is begun in its holder job alone');
  const [host] = (await ensureJob(slurm, () => {})).hosts;
  const { door, agent } = host!;
  const addresses = new Map<string, string>();
  const names = [...new Set(fabric.nodes.map((one) => one.host))];
  await Promise.all(names.map(async (name) => addresses.set(name, await addressOf(name).catch(() => name))));
  const hosts: ClusterHosts = {
    host: node,
    listen: { address: agent.address, port: ownFabricNode(node, fabric).port },
    keyFile: fabric.key,
    peers: fabric.nodes
      .filter(({ name }) => name !== node)
      .map(({ name, host: at, port }) => ({ host: name, address: addresses.get(at)!, port })),
  };
  await call(door, 'POST', `/v1/clusters/${nodeCluster}/hosts`, hosts);
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
async function hostsHere({
  fabric,
}: HolderOrder): Promise<{ config: ReadonlyMap<string, string>; lines: string }> {
  const { config, nodes } = await lookAtSite();
  const addresses = new Map<string, string>();
  const known = new Set(fabric?.nodes.map(({ name }) => name));
  const names = namesToResolve(controllersOf(config), nodes.values())
    .filter((name) => !known.has(name))
    .slice(0, mostNames);
  await Promise.all(
    names.map(async (name) => {
      const found = await addressOf(name).catch(() => undefined);
      if (found !== undefined) addresses.set(name, found);
    }),
  );
  return { config, lines: hostsLines(addresses) };
}

/** Where Slurm's programs look for munge, when the site says it. */
function socketOf(config: ReadonlyMap<string, string>): string | undefined {
  return /(?:^|,)socket=([^,\s]+)/.exec(config.get('AuthInfo') ?? '')?.[1];
}
