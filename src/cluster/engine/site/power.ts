/**
 * What slurmctld's programs for power saving do: holder jobs are begun and cancelled, and what went wrong is told as the
 * reason of the node's state. They run as SlurmUser, may be killed at any moment, and may be asked twice.
 */

import { join } from 'node:path';
import { describeError, LodgeError } from '../../../errors.ts';
import { expandHostList } from '../../../host-list.ts';
import { installationDir } from '../../../installation.ts';
import { runProgram } from '../../../process.ts';
import { shellLine } from '../../../shell-words.ts';
import { siteEnvironment, slurmFault } from '../slurm-job.ts';
import type { SiteFound } from './conf.ts';
import {
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
const fallbackPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The environment for a program of Slurm. slurmctld starts its programs without a PATH. */
function environment(): NodeJS.ProcessEnv {
  return { PATH: fallbackPath, ...siteEnvironment(process.env) };
}

/** Standard output of a program of Slurm. @throws LodgeError `slurm-unavailable`, `missing-program` */
async function ask(argv: readonly string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await runProgram(argv, {
    env: environment(),
    timeoutMs: answerWithinMs,
    ...(input === undefined ? {} : { input }),
  });
  if (code === 0) return stdout;
  const fault = slurmFault(stderr || stdout);
  if (fault.message !== 'Slurm did not start a step for lodge') throw fault;
  throw new LodgeError('slurm-unavailable', `${argv[0]}: ${lastLine(stderr || stdout)}`, {
    fix: `try the same by hand: ${shellLine(argv)}`,
  });
}

function lastLine(text: string): string {
  return (text.trim().split('\n').at(-1) ?? '').replace(/^\w+: (error: )?/, '');
}

/** `scontrol show config`. @throws LodgeError `slurm-unavailable`, `missing-program` */
export async function readConfig(): Promise<Map<string, string>> {
  return parseConfig(await ask(['scontrol', 'show', 'config']));
}

/** What there is of a site, for its configuration to be checked. @throws as {@link readConfig} */
export async function lookAtSite(): Promise<SiteFound> {
  const config = await readConfig();
  const byKey = async (what: string, key: string): Promise<Map<string, Map<string, string>>> => {
    // Of a kind of which there is none, scontrol says so and may fail.
    const text = await ask(['scontrol', 'show', what, '--all', '--oneliner']).catch(() => '');
    return new Map(parseRecords(text).map((record) => [record.get(key)!, record]));
  };
  const hasTree = /tree/.test(config.get('TopologyPlugin') ?? '');
  return {
    config,
    nodes: await byKey('node', 'NodeName'),
    partitions: await byKey('partition', 'PartitionName'),
    topology: hasTree ? await ask(['scontrol', 'show', 'topology', '--oneliner']) : '',
  };
}

export interface Holder {
  id: string;
  isRunning: boolean;
  /** Why it waits, or where it is. */
  reason: string;
}

/** Holder jobs of a v-node that run or wait; those that are ending are not there. */
export async function holdersOf(node: string): Promise<Holder[]> {
  const states = '--states=PENDING,RUNNING,CONFIGURING,SUSPENDED';
  const text = await ask(['squeue', '--noheader', `--name=${holderName(node)}`, states, '--format=%A|%T|%r']);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [id = '', state = '', reason = ''] = line.split('|');
      return { id, isRunning: state === 'RUNNING', reason };
    });
}

/** The parts of a node's state; none where Slurm does not know it. */
export async function nodeState(node: string): Promise<Set<string>> {
  const [record] = parseRecords(await ask(['scontrol', 'show', 'node', node, '--oneliner']));
  return record === undefined ? new Set() : stateOf(record);
}

/**
 * Marks a v-node down, whose jobs end now and not when Slurm misses it, and powers it down: so it is not left half
 * joined. `scontrol update nodename=… state=resume` gives it back to jobs.
 */
export async function markDown(node: string, reason: string): Promise<void> {
  await ask(['scontrol', 'update', `nodename=${node}`, 'state=down', `reason=${reasonText(reason)}`]);
  // One that is powered down already has nothing to be done to it.
  await ask(['scontrol', 'update', `nodename=${node}`, 'state=power_down_force']).catch(() => {});
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
  const config = await readConfig();
  for (const node of unknown) await fail(node, `'${node}' is not in ${site.file}`);
  for (const node of known) {
    try {
      if ((await holdersOf(node.name)).length > 0) continue;
      await beginHolder(site, node, config);
    } catch (error) {
      await fail(node.name, reasonOf(error));
    }
  }
  return faults;
}

async function beginHolder(
  site: Site,
  node: VirtualNode,
  config: ReadonlyMap<string, string>,
): Promise<void> {
  const lodge = join(installationDir, 'lodge');
  const order = holderOrder(site, node, sitePorts(config), controllersOf(config));
  const script = holderScript(order, site.spec.store, lodge);
  const id = (await ask(holderArgv(site, node), script)).trim().split(';')[0]!;
  // Tells when the job has ended and nothing on its host could: the host is gone, or all of the job was killed at once.
  const ended = `${join(installationDir, 'scripts/slurm/ended')} ${node.name}`;
  await ask(['strigger', '--set', `--jobid=${id}`, '--fini', `--program=${ended}`]);
}

/** Cancels the holder jobs of v-nodes; names that are not of the site are passed over. */
export async function suspendNodes(site: Site, list: string): Promise<void> {
  for (const { name } of nodesOf(site, list).known) await cancelHolders(name);
}

async function cancelHolders(node: string): Promise<void> {
  for (const { id } of await holdersOf(node)) await ask(['scancel', '--quiet', id]);
}

/**
 * After ResumeTimeout: v-nodes whose holder has found no room on the host are given back, to be asked for again; others
 * stay down, with a reason.
 */
export async function failNodes(site: Site, list: string): Promise<void> {
  for (const { name } of nodesOf(site, list).known) {
    const holders = await holdersOf(name);
    const waiting = holders.find(({ isRunning }) => !isRunning);
    await cancelHolders(name);
    if (holders.length > 0 && waiting !== undefined && holders.every(({ isRunning }) => !isRunning)) {
      const reason = `no room on its host within ResumeTimeout: job ${waiting.id} waited (${waiting.reason})`;
      await markDown(name, reason);
      await giveBack(name);
    } else {
      const [holder] = holders;
      await markDown(
        name,
        holder === undefined
          ? 'no holder job was there when ResumeTimeout had passed'
          : `slurmd in the guest did not join within ResumeTimeout: job ${holder.id}; see holders/${name}.log in ${site.spec.store} on its host`,
      );
    }
  }
}

async function giveBack(node: string): Promise<void> {
  await ask(['scontrol', 'update', `nodename=${node}`, 'state=resume']);
}

/** What the end of a holder job says of its v-node, when nothing else has told Slurm of it yet. */
export async function holderEnded(node: string, job: string): Promise<void> {
  const state = await nodeState(node);
  if (isAway(state) || (await holdersOf(node)).length > 0) return;
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
