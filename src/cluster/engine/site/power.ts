/**
 * What slurmctld's programs for power saving do: holder jobs are begun and cancelled, and what went wrong is told as the
 * reason of the node's state. They run as SlurmUser, may be killed at any moment, and may be asked twice.
 */

import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describeError, LodgeError } from '../../../errors.ts';
import { expandHostList } from '../../../host-list.ts';
import { installationDir } from '../../../installation.ts';
import { runProgram } from '../../../process.ts';
import { shellLine } from '../../../shell-words.ts';
import { standardPath } from '../../../start-environment.ts';
import { forEachBounded } from '../../governor.ts';
import { isControllerAway, knownSlurmFault, siteEnvironment } from '../slurm-job.ts';
import type { SiteFound } from './conf.ts';
import {
  endedProgram,
  holderArgv,
  holderName,
  holderOrder,
  holderScript,
  nodesOf,
  reasonText,
  sitePorts,
} from './holder.ts';
import { controllersOf, parseConfig, parseRecords, stateOf } from './scontrol.ts';
import type { Site, VirtualNode } from './spec.ts';

const answerWithinMs = 60_000;
/** SlurmctldTimeout, as it is where nothing is said: by then a backup has taken over. */
const controllerBackWithinMs = 120_000;
const askAgainAfterMs = 1000;
/** What was under way when slurmctld ended is told so; so is a wrong key of munge, which waiting does not mend. */
const cutOff = /Zero Bytes were transmitted/i;
/** V-nodes that are asked for at the same time. */
const mostAtOnce = 8;

/** The environment for a program of Slurm. slurmctld starts its programs without a PATH. */
function environment(): NodeJS.ProcessEnv {
  return { PATH: standardPath, ...siteEnvironment(process.env) };
}

interface Asking {
  /** Standard input. */
  input?: string;
  /**
   * Whether a controller that does not answer is waited for, as it is unless this is false: what power saving has begun
   * is not to fail because slurmctld is started anew at that moment.
   */
  waits?: boolean;
}

/** Standard output of a program of Slurm. @throws LodgeError `slurm-unavailable`, `missing-program` */
async function ask(argv: readonly string[], { input, waits = true }: Asking = {}): Promise<string> {
  const deadline = Date.now() + (waits ? controllerBackWithinMs : 0);
  for (;;) {
    const { code, stdout, stderr } = await runProgram(argv, {
      env: environment(),
      timeoutMs: answerWithinMs,
      ...(input === undefined ? {} : { input }),
    });
    if (code === 0) return stdout;
    const complaint = stderr || stdout;
    const mayPass = isControllerAway(complaint) || cutOff.test(complaint);
    if (mayPass && Date.now() < deadline) {
      await delay(askAgainAfterMs);
      continue;
    }
    throw (
      knownSlurmFault(complaint) ??
      new LodgeError('slurm-unavailable', `${argv[0]}: ${lastLine(complaint)}`, {
        fix: `try the same by hand: ${shellLine(argv)}`,
      })
    );
  }
}

function lastLine(text: string): string {
  return (text.trim().split('\n').at(-1) ?? '').replace(/^\w+: (error: )?/, '');
}

/** `scontrol show config`. @throws LodgeError `slurm-unavailable`, `missing-program` */
async function readConfig(asking?: Asking): Promise<Map<string, string>> {
  return parseConfig(await ask(['scontrol', 'show', 'config'], asking));
}

/** What there is of a site, for its configuration to be checked. @throws as {@link readConfig} */
export async function lookAtSite(asking?: Pick<Asking, 'waits'>): Promise<SiteFound> {
  const config = await readConfig(asking);
  const byKey = async (what: string, key: string): Promise<Map<string, Map<string, string>>> => {
    const text = await ask(['scontrol', 'show', what, '--all', '--oneliner'], asking);
    return new Map(parseRecords(text).map((record) => [record.get(key)!, record]));
  };
  const hasTree = /tree/.test(config.get('TopologyPlugin') ?? '');
  const [nodes, partitions, topology] = await Promise.all([
    byKey('node', 'NodeName'),
    byKey('partition', 'PartitionName'),
    hasTree ? ask(['scontrol', 'show', 'topology', '--oneliner'], asking) : '',
  ]);
  return { config, nodes, partitions, topology };
}

export interface Holder {
  id: string;
  isRunning: boolean;
  /** Why it waits, or where it is. */
  reason: string;
}

/** Holder jobs of v-nodes that run or wait, by v-node; those that are ending are not there. */
export async function holdersOf(nodes: readonly string[]): Promise<Map<string, Holder[]>> {
  const holders = new Map<string, Holder[]>(nodes.map((node) => [node, []]));
  if (nodes.length === 0) return holders;
  const names = `--name=${nodes.map(holderName).join(',')}`;
  const states = '--states=PENDING,RUNNING,CONFIGURING,SUSPENDED';
  // Anybody may give a job that name; those of SlurmUser alone are holders.
  const text = await ask(['squeue', '--noheader', '--me', names, states, '--format=%A|%T|%r|%j']);
  for (const line of text.split('\n')) {
    const [id = '', state = '', reason = '', name = ''] = line.split('|');
    const node = nodes.find((one) => holderName(one) === name);
    if (node !== undefined) holders.get(node)!.push({ id, isRunning: state === 'RUNNING', reason });
  }
  return holders;
}

/** The parts of a node's state; none where Slurm does not know it. */
export async function nodeState(node: string, asking?: Pick<Asking, 'waits'>): Promise<Set<string>> {
  const [record] = parseRecords(await ask(['scontrol', 'show', 'node', node, '--oneliner'], asking));
  return record === undefined ? new Set() : stateOf(record);
}

/**
 * Marks a v-node down, whose jobs end now and not when Slurm misses it, and powers it down: so it is not left half
 * joined. `scontrol update nodename=… state=idle` gives it back to jobs.
 */
export async function markDown(node: string, reason: string): Promise<void> {
  await ask(['scontrol', 'update', `nodename=${node}`, 'state=down', `reason=${reasonText(reason)}`]);
  try {
    await ask(['scontrol', 'update', `nodename=${node}`, 'state=power_down_force']);
  } catch (error) {
    // To one that is powered down already, or about to be, nothing is to be done.
    const state = await nodeState(node);
    if (!['POWERED_DOWN', 'POWERING_DOWN', 'POWER_DOWN'].some((one) => state.has(one))) throw error;
  }
}

/** An error as a reason: its message and code, without what is for terminals. */
export function reasonOf(error: unknown): string {
  if (error instanceof LodgeError) {
    const where = error.where === undefined ? '' : `${error.where}: `;
    return `${where}${error.message} (${error.code})`;
  }
  return describeError(error).split('\n')[0]!;
}

/**
 * Asks for holder jobs of v-nodes that have none. What cannot be asked for is marked down with the reason: nobody reads
 * what a program of slurmctld prints.
 * @param readSite may throw
 * @returns faults that were told to Slurm
 */
export async function resumeNodes(readSite: () => Site, list: string): Promise<string[]> {
  const faults: string[] = [];
  let site: Site;
  try {
    site = readSite();
  } catch (error) {
    for (const node of expandHostList(list, 'NODELIST')) await markDown(node, reasonOf(error));
    throw error;
  }
  const { known, unknown } = nodesOf(site, list);
  const fail = async (node: string, reason: string): Promise<void> => {
    faults.push(`${node}: ${reason}`);
    await markDown(node, reason);
  };
  const [config, holders] = await Promise.all([readConfig(), holdersOf(known.map(({ name }) => name))]);
  requireSlurmUser(config);
  for (const node of unknown) await fail(node, `'${node}' is not in ${site.file}`);
  const waiting = known.filter(({ name }) => holders.get(name)!.length === 0);
  const begun = new Set<string>();
  await forEachBounded(waiting, mostAtOnce, async (node) => {
    try {
      begun.add(await beginHolder(site, node, config));
    } catch (error) {
      await fail(node.name, reasonOf(error));
    }
  });
  // Who was asked at the same moment has seen none either: the first holder stays, and whoever came later ends his own.
  const all = await holdersOf(waiting.map(({ name }) => name));
  await cancel([...all.values()].flatMap((of) => laterOf(of).filter(({ id }) => begun.has(id))));
  return faults;
}

/** All holders of a v-node but the one that was asked for first. */
function laterOf(holders: readonly Holder[]): Holder[] {
  return [...holders].sort((a, b) => Number(a.id) - Number(b.id)).slice(1);
}

/** Whoever else asks would leave a job that nobody can end as a holder's. @throws LodgeError `slurm-setup` */
function requireSlurmUser(config: ReadonlyMap<string, string>): void {
  const asked = /^(.*)\((\d+)\)$/.exec(config.get('SlurmUser') ?? '');
  if (asked === null || Number(asked[2]) === process.getuid!()) return;
  throw new LodgeError('slurm-setup', `v-nodes are powered by SlurmUser alone, who is ${asked[1]} here`, {
    fix: `an administrator powers one up by: scontrol update nodename=NODE state=power_up`,
  });
}

/** @returns the id of the job */
async function beginHolder(
  site: Site,
  node: VirtualNode,
  config: ReadonlyMap<string, string>,
): Promise<string> {
  const lodge = join(installationDir, 'lodge');
  const order = holderOrder(site, node, sitePorts(config), controllersOf(config));
  const script = holderScript(order, site.spec.store, lodge);
  const id = (await ask(holderArgv(site, node), { input: script })).trim().split(';')[0]!;
  // Tells when the job has ended and nothing on its host could: the host is gone, or all of the job was killed at once.
  const program = endedProgram(lodge, node.name);
  await ask(['strigger', '--set', `--jobid=${id}`, '--fini', `--program=${program}`]);
  return id;
}

/** Cancels the holder jobs of v-nodes; names that are not of the site are passed over. */
export async function suspendNodes(site: Site, list: string): Promise<void> {
  const holders = await holdersOf(nodesOf(site, list).known.map(({ name }) => name));
  await cancel([...holders.values()].flat());
}

/** Nothing is to be told of their ends: by then, the nodes may be on their way up again. */
async function cancel(holders: readonly Holder[]): Promise<void> {
  if (holders.length === 0) return;
  await ask(['scancel', '--quiet', ...holders.map(({ id }) => id)]);
  // One that has none yet, or has told already, has nothing to be cleared.
  for (const { id } of holders) await ask(['strigger', '--clear', `--jobid=${id}`]).catch(() => {});
}

/**
 * After ResumeTimeout, when Slurm has them down: v-nodes whose holder has found no room on the host, or was never asked
 * for, are given back, to be asked for again; others stay down, with a reason.
 */
export async function failNodes(site: Site, list: string): Promise<void> {
  const all = await holdersOf(nodesOf(site, list).known.map(({ name }) => name));
  await cancel([...all.values()].flat());
  for (const [node, holders] of all) {
    const running = holders.find(({ isRunning }) => isRunning);
    if (running !== undefined) {
      await markDown(
        node,
        `slurmd in the guest did not join within ResumeTimeout: job ${running.id}; see holders/${node}.log in ${site.spec.store} on its host`,
      );
    } else if (!isWanted(await nodeState(node))) {
      const [waiting] = holders;
      await giveBack(
        node,
        waiting === undefined
          ? 'ResumeTimeout has passed, and no holder job was there: was ResumeProgram killed?'
          : `no room on its host within ResumeTimeout: job ${waiting.id} waited (${waiting.reason})`,
      );
    }
  }
}

/** Lets jobs have a v-node again that is powered down. A node that is idle shows no reason: it has a comment. */
async function giveBack(node: string, reason: string): Promise<void> {
  const update = ['scontrol', 'update', `nodename=${node}`];
  await ask([...update, 'state=idle']);
  await ask([...update, `comment=${reasonText(reason)}`]);
}

/** What the end of a holder job says of its v-node, when nothing else has told Slurm of it yet. */
export async function holderEnded(node: string, job: string): Promise<void> {
  const state = await nodeState(node);
  if (isAway(state) || (await holdersOf([node])).get(node)!.length > 0) return;
  await markDown(node, `its holder job ${job} has ended`);
}

/** Whether Slurm counts on nothing from a node: it is down, or is being powered down. */
export function isAway(state: ReadonlySet<string>): boolean {
  const away = ['DOWN', 'POWERED_DOWN', 'POWERING_DOWN', 'POWER_DOWN'];
  return state.size === 0 || away.some((one) => state.has(one));
}

/** Whether Slurm waits for a v-node to be booted. */
export function isWanted(state: ReadonlySet<string>): boolean {
  return state.has('POWERING_UP') && !state.has('DOWN');
}
