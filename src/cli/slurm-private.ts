/** What `lodge slurm up` and `down` do: a cluster, and a Slurm of the user's own over its hosts and guests. */

import { createHash, hkdfSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  guestReaches,
  mungeArgv,
  type PortPlan,
  type PrivateNode,
  type PrivateSlurm,
  planPorts,
  privateCgroupConf,
  privateConf,
  privateFiles,
} from '../cluster/engine/private-slurm.ts';
import { withSlurmNetwork } from '../cluster/engine/slurm-network.ts';
import { clusterOfShell, linesInto, linesOutOf } from '../cluster/engine/slurm-shell.ts';
import { forEachBounded, usableCpuCount } from '../cluster/governor.ts';
import { readOutline } from '../cluster/look.ts';
import type { ClusterPlan, PlannedGuest } from '../cluster/plan.ts';
import { clusterSecret, readClusterPlan } from '../cluster/state.ts';
import { formatUplinkRule } from '../cluster/uplink-rule.ts';
import { LodgeError } from '../errors.ts';
import { thisUser } from '../guest/user.ts';
import { foldHostList } from '../host-list.ts';
import { probeLimits } from '../machine/basics.ts';
import { missingProgram, runProgram } from '../process.ts';
import type { ProcessIdentity } from '../process-identity.ts';
import { call, ensureHostAgent, stopServices } from '../server/client.ts';
import { type Door, ownAddress } from '../server/door.ts';
import { ensureJob, type Job, jobForClusters, openJob, stepProcess, verbOn } from '../server/job.ts';
import type { ServiceGroup, ServiceProgram } from '../server/services.ts';
import { joinGuest } from '../server/slurm-guest.ts';
import { downVerb, upVerb } from './cluster-actions.ts';
import { hasDefaultRoute, type LookAnswer, lastingMemoryBytes } from './host-part-actions.ts';
import { hostClusterNamed, jobClusterNamed } from './job-names.ts';
import type { GlobalOptions } from './program.ts';
import { openProgress } from './progress.ts';

const mostAtOnce = 16;
const nodesWithinMs = 180_000;
const programs = ['munged', 'slurmctld', 'slurmd', 'srun', 'sinfo', 'passt'];

interface Host {
  /** Of the machine. */
  name: string;
  /** As it calls itself. */
  hostName: string;
  address: string;
  door: Door;
  cpus: number;
  memoryMiB: number;
  hasWayOut: boolean;
}

export async function slurmUpVerb(file: string, options: GlobalOptions): Promise<void> {
  await requirePrograms();
  const progress = openProgress(options);
  try {
    const outline = await readOutline(file, () => process.cwd());
    const slurmJob = jobForClusters();
    const job = slurmJob === undefined ? undefined : await ensureJob(slurmJob, progress.show);
    const hosts = await hostsOf(job);
    const uid = process.getuid!();
    const apart = job === undefined ? digestNumber(apartFromOthers()) : Number(job.id);
    const seed = uid * 131 + apart * 17 + digestNumber(outline.name);
    const ports = planPorts(hosts.length, outline.guests.length, seed);
    requireWayOut(hosts);
    const natives = hosts.map(
      (host, i): PrivateNode => ({
        ...{ name: `n${String(i + 1).padStart(2, '0')}`, address: host.address, port: ports.natives[i]! },
        ...{ cpus: host.cpus, memoryMiB: host.memoryMiB },
      }),
    );
    const taken = outline.guests.find((guest) => natives.some((node) => node.name === guest.name));
    if (taken !== undefined) {
      throw new LodgeError('spec-value', `'${taken.name}' is what a host is called in this Slurm`, {
        where: taken.where,
        fix: `name guests otherwise: ${taken.name.replace(/^n/, 'v')}`,
      });
    }
    const frontend = await ownAddress([hostname()]);
    const shape = {
      // slurmctld runs only where the host calls itself what it is told.
      controller: { name: hosts[0]!.hostName, address: natives[0]!.address, port: ports.controller },
      ...{ natives, srunPorts: ports.srun },
    };
    const probe = {
      ...shape,
      guests: outline.guests.map((_, i) => ({ ...natives[0]!, port: ports.guests[i]! })),
    };
    const allow = guestReaches(probe, [frontend]).map(formatUplinkRule);
    const extension = withSlurmNetwork(allow, ports.guests);
    progress.clear();
    await upVerb(file, { ...options, json: false, isNew: false, dryRun: false, extension, isSilent: true });

    const plan = planNow(outline.name);
    const dir = placeOf(uid, job, outline.name);
    const slurm: PrivateSlurm = {
      ...{ name: outline.name, user: thisUser().name, dir, ...shape },
      guests: guestNodes(plan, ports, wayInto(plan, hosts)),
    };
    const files = [
      { name: privateFiles.conf, text: privateConf(slurm) },
      { name: privateFiles.cgroup, text: privateCgroupConf },
      { name: privateFiles.key, text: mungeKey(outline.name) },
    ];
    progress.show('starting the daemons of Slurm');
    await startDaemons(hosts, slurm, files);
    await startFrontend(job, hosts, slurm, files);
    let ready = 0;
    if (!options.quiet) tellOthers(plan, slurm);
    await forEachBounded(slurmGuests(plan), mostAtOnce, async (guest) => {
      const node = slurm.guests.find(({ name }) => name === guest.name)!;
      await joinGuest(guest, node, dir, files);
      progress.show(`${++ready} of ${slurm.guests.length} guests have joined`);
    });
    progress.show('waiting for the nodes');
    await untilIdle(join(dir, privateFiles.conf), [...slurm.natives, ...slurm.guests]);
    progress.clear();
    tellShell(slurm, job, options.json);
  } finally {
    progress.clear();
  }
}

/** Made from the cluster's secret, so that it is the same when the Slurm is asked for again. */
function mungeKey(name: string): string {
  const ofJob = jobClusterNamed(name);
  const secret = ofJob === undefined ? clusterSecret(name) : Buffer.from(ofJob.secret, 'hex');
  return Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(0), 'munge', 64)).toString('hex');
}

/** @throws LodgeError `fabric-unavailable` before anything is begun */
function requireWayOut(hosts: readonly Host[]): void {
  const shut = hosts.filter(({ hasWayOut }) => !hasWayOut).map(({ name }) => name);
  if (shut.length === 0) return;
  throw new LodgeError(
    'fabric-unavailable',
    `passt begins no way out of guests without a default route: ${shut.join(', ')}`,
    {
      fix: 'any will do, also one to nowhere, as root: ip route add default via ADDRESS',
    },
  );
}

async function requirePrograms(): Promise<void> {
  for (const name of programs) {
    const { code } = await runProgram(['sh', '-c', `PATH=$PATH:/usr/sbin:/sbin command -v ${name}`]);
    if (code !== 0) throw missingProgram(name);
  }
}

function digestNumber(text: string): number {
  return [...text].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)!) % 10_007, 0);
}

/** The same on all hosts and in all guests, short, and on no shared file system. */
function placeOf(uid: number, job: Job | undefined, name: string): string {
  return `/tmp/lodge-${uid}-s${job?.id ?? apartFromOthers()}-${name}`;
}

/** Outside of jobs clusters of one name may be in several runtime directories, each with a Slurm of its own. */
function apartFromOthers(): string {
  const { LODGE_RUNTIME_DIR: place } = process.env;
  if (place === undefined || place === '') return '';
  return `r${createHash('sha256').update(resolve(place)).digest('hex').slice(0, 8)}`;
}

async function hostsOf(job: Job | undefined): Promise<Host[]> {
  if (job === undefined) {
    const basics = probeLimits();
    const memoryMiB = Math.floor(lastingMemoryBytes(basics) / 2 ** 20);
    const name = hostname();
    const address = await ownAddress([name]);
    return [
      {
        ...{ name, hostName: name, address },
        door: await ensureHostAgent(),
        cpus: Math.floor(usableCpuCount(basics)),
        hasWayOut: hasDefaultRoute(),
        memoryMiB,
      },
    ];
  }
  return Promise.all(
    job.hosts.map(async (host): Promise<Host> => {
      const input = `${JSON.stringify({ op: 'look', cwd: '/', guests: [] })}\n`;
      const { cpus, totalBytes, hasWayOut, hostName } = await verbOn<LookAnswer>(host, ['host-part'], {
        cwd: '/',
        input,
      });
      const { address } = host.agent;
      return {
        ...{ name: host.name, hostName, address },
        door: host.door,
        cpus: Math.floor(cpus),
        hasWayOut,
        memoryMiB: Math.floor(totalBytes / 2 ** 20),
      };
    }),
  );
}

function planNow(name: string): ClusterPlan {
  const plan = jobClusterNamed(name)?.plan ?? readClusterPlan(name);
  if (plan !== undefined) return plan;
  throw new LodgeError('no-such-cluster', `cluster '${name}' has gone meanwhile`);
}

/** Guests that can be nodes. */
function slurmGuests(plan: ClusterPlan): PlannedGuest[] {
  return plan.guests.filter(({ hasAgent, accelerator }) => hasAgent && accelerator !== 'netns');
}

/** Guests that are in the cluster and that srun does not know. */
function tellOthers(plan: ClusterPlan, { guests }: PrivateSlurm): void {
  const others = plan.guests.filter(({ name }) => !guests.some((node) => node.name === name));
  if (others.length === 0) return;
  process.stderr.write(
    `lodge: no nodes of this Slurm, as guests of namespaces and those without an agent cannot be: ${foldHostList(others.map(({ name }) => name))}\n`,
  );
}

/** The address of the host with the way out of the guests, which leads to them: that of the first one (hosts.ts). */
function wayInto({ name, guests }: ClusterPlan, hosts: readonly Host[]): string {
  const host = jobClusterNamed(name)?.hostOfGuest[guests[0]!.name];
  return (hosts.find((one) => one.name === host) ?? hosts[0]!).address;
}

function guestNodes(plan: ClusterPlan, ports: PortPlan, address: string): PrivateNode[] {
  return slurmGuests(plan).map((guest) => {
    const port = ports.guests[plan.guests.indexOf(guest)]!;
    // What its kernel keeps for itself is not for jobs.
    const memoryMiB = Math.max(32, Math.floor((guest.spec.memory / 2 ** 20) * 0.8));
    return { name: guest.name, address, port, cpus: guest.spec.cpus, memoryMiB };
  });
}

type Files = ServiceGroup['files'];

async function startDaemons(hosts: readonly Host[], slurm: PrivateSlurm, files: Files): Promise<void> {
  const { dir } = slurm;
  const conf = join(dir, privateFiles.conf);
  await Promise.all(
    hosts.map((host, i) => {
      const node = slurm.natives[i]!.name;
      const controller: ServiceProgram[] =
        i === 0 ? [{ name: 'slurmctld', argv: ['slurmctld', '-D', '-f', conf] }] : [];
      return startGroup(host.door, slurm, files, [
        ...controller,
        { name: 'slurmd', argv: ['slurmd', '-D', '-N', node, '-f', conf] },
      ]);
    }),
  );
}

function startGroup(
  door: Door,
  { name, dir, natives }: PrivateSlurm,
  files: Files,
  daemons: readonly ServiceProgram[],
  boundTo?: ProcessIdentity,
): Promise<string> {
  const [munged = '', ...rest] = mungeArgv(dir);
  const group: ServiceGroup = {
    ...{ name: `slurm-${name}`, dir, files },
    directories: ['state', ...natives.map((node) => `spool-${node.name}`)],
    programs: [
      { name: 'munged', argv: [munged, '--foreground', ...rest], ready: privateFiles.mungeSocket },
      ...daemons,
    ],
    ...(boundTo === undefined ? {} : { boundTo }),
  };
  return call(door, 'POST', '/v1/services', group);
}

/** Where commands are typed there must be the key as well; on a host of the job it is there already. */
async function startFrontend(
  job: Job | undefined,
  hosts: readonly Host[],
  slurm: PrivateSlurm,
  files: Files,
): Promise<void> {
  if (job === undefined || hosts.some(({ name }) => name === process.env.SLURMD_NODENAME)) return;
  await startGroup(await ensureHostAgent(), slurm, files, [], stepProcess(job.dir));
}

async function untilIdle(conf: string, nodes: readonly PrivateNode[]): Promise<void> {
  const deadline = Date.now() + nodesWithinMs;
  const { SLURM_CONF: _, ...rest } = process.env;
  for (;;) {
    const env = { ...rest, SLURM_CONF: conf };
    const { stdout, stderr } = await runProgram(['sinfo', '-h', '-N', '-p', 'all', '-o', '%N %T'], { env });
    const states = new Map(stdout.split('\n').map((line) => line.split(' ') as [string, string]));
    const waiting = nodes.filter(({ name }) => !/^(idle|mixed|allocated)$/.test(states.get(name) ?? ''));
    if (waiting.length === 0) return;
    if (Date.now() > deadline) {
      throw new LodgeError(
        'slurm-unavailable',
        `these nodes do not come up: ${waiting.map(({ name }) => name).join(', ')}`,
        {
          detail: (stderr.trim() || stdout).trim(),
          fix: 'a firewall between the hosts must let TCP through; logs are in the directory of slurm.conf on each host',
        },
      );
    }
    await delay(200);
  }
}

function tellShell(slurm: PrivateSlurm, job: Job | undefined, json: boolean): void {
  const conf = join(slurm.dir, privateFiles.conf);
  const nodes = {
    natives: slurm.natives.map(({ name }) => name),
    guests: slurm.guests.map(({ name }) => name),
  };
  if (json) {
    process.stdout.write(`${JSON.stringify({ name: slurm.name, conf, ...nodes })}\n`);
    return;
  }
  const hosts = jobList() || (process.env.SLURM_JOB_NODELIST ?? '');
  const lines = linesInto(process.env, conf, job === undefined ? undefined : { id: job.id, hosts });
  process.stdout.write(`${lines.join('\n')}\n`);
}

function jobList(): string {
  return (process.env.LODGE_JOB ?? '').split(':')[1] ?? '';
}

export async function slurmDownVerb(
  asked: string | undefined,
  options: GlobalOptions & { graceMs: number },
): Promise<void> {
  const own = clusterOfShell(process.env);
  const meant = asked ?? own;
  // A shell stays in its Slurm when another one is ended.
  const isTold = !options.json && !options.quiet && (own === undefined || own === meant);
  const lines = isTold ? linesOutOf(process.env) : [];
  const tellShellBack = (): void => {
    if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`);
  };
  try {
    await endSlurm(meant, options);
  } catch (error) {
    // Of one that has ended already, the shell is still to be told.
    if (error instanceof LodgeError && error.code === 'no-such-cluster') tellShellBack();
    throw error;
  }
  tellShellBack();
}

async function endSlurm(
  asked: string | undefined,
  options: GlobalOptions & { graceMs: number },
): Promise<void> {
  const ofJob = jobClusterNamed(asked);
  const name = ofJob?.plan.name ?? hostClusterNamed(asked);
  const slurmJob = jobForClusters();
  const job = ofJob === undefined || slurmJob === undefined ? undefined : await openJob(slurmJob.id);
  const conf = join(placeOf(process.getuid!(), job, name), privateFiles.conf);
  // Its jobs end in good order first; where the daemons are gone, there are none.
  if (existsSync(conf)) {
    const env = { ...process.env, SLURM_CONF: conf };
    await runProgram(['scancel', '--user', thisUser().name], { env, timeoutMs: 10_000 }).catch(() => {});
    for (let i = 0; i < 50; i++) {
      const { code, stdout } = await runProgram(['squeue', '-h'], { env, timeoutMs: 10_000 }).catch(() => ({
        code: 1,
        stdout: '',
      }));
      if (code !== 0 || stdout.trim() === '') break;
      await delay(100);
    }
  }
  await downVerb(name, options);
  const isFrontend = job?.hosts.some(({ name: host }) => host === process.env.SLURMD_NODENAME) === false;
  if (isFrontend) {
    await stopServices(`slurm-${name}`);
  }
}
