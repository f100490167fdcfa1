/** The process that keeps the network namespace of a cluster's bridges (host-side/holder.c), and programs run there. */

import { spawn } from 'node:child_process';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { LodgeError } from '../../errors.ts';
import { builtFile } from '../../installation.ts';
import { runProgram } from '../../process.ts';
import { isAlive, type ProcessIdentity, signalProcess } from '../../process-identity.ts';

const fileName = 'bridges';

/** The holder of a cluster, by its directory; undefined when none lives. */
export function findHolder(clusterDir: string): ProcessIdentity | undefined {
  let text: string;
  try {
    text = readFileSync(join(clusterDir, fileName), 'utf8');
  } catch {
    return undefined;
  }
  const [pid = 0, startTicks = 0] = text.trim().split(' ').map(Number);
  const holder = { pid, startTicks };
  return pid > 0 && isAlive(holder) ? holder : undefined;
}

/**
 * The holder, started when none lives. One that was killed leaves its namespace to the keepers of guests in it.
 * @param keepers of guests on bridges of the cluster that run
 * @throws LodgeError `bridge-unmet`
 */
export async function ensureHolder(clusterDir: string, keepers: readonly number[]): Promise<ProcessIdentity> {
  const there = findHolder(clusterDir);
  if (there !== undefined) return there;
  const said = await startHolder([clusterDir, ...keepers.slice(0, 1).map(String)]);
  const started = findHolder(clusterDir);
  if (started !== undefined) return started;
  throw new LodgeError(
    'bridge-unmet',
    `the bridges of the cluster have no place: ${said || 'their holder died'}`,
    {
      where: clusterDir,
      fix: 'as root: sysctl user.max_user_namespaces=10000; or leave out bridge',
    },
  );
}

/** @returns what it says: `ready`, or what went wrong */
function startHolder(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(builtFile('holder'), args, { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
    let text = '';
    child.stdout.on('data', (piece: Buffer) => {
      text += piece.toString();
    });
    child.stdout.once('end', () => resolve(text.trim()));
    child.once('error', reject);
    child.unref();
  });
}

/** Ends the holder; the namespace goes when the last guest in it does. Nothing happens when there is none. */
export async function endHolder(clusterDir: string): Promise<void> {
  const holder = findHolder(clusterDir);
  if (holder !== undefined) {
    signalProcess(holder, 'SIGKILL');
    while (isAlive(holder)) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  rmSync(join(clusterDir, fileName), { force: true });
}

/**
 * Runs a program in the namespace. @returns its standard output
 * @throws LodgeError `bridge-unmet` when it fails
 */
export async function runAtBridges(
  { pid }: ProcessIdentity,
  argv: readonly string[],
  input?: string,
): Promise<string> {
  const isOther = statSync(`/proc/${pid}/ns/user`).ino !== statSync('/proc/self/ns/user').ino;
  const user = isOther ? ['--user', '--preserve-credentials'] : [];
  return runChecked(['nsenter', '--target', String(pid), ...user, '--net', ...argv], input);
}

/** @throws LodgeError `bridge-unmet` when it fails */
export async function runChecked(argv: readonly string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await runProgram(argv, input === undefined ? {} : { input });
  if (code === 0) return stdout;
  throw new LodgeError('bridge-unmet', `the kernel does not do as told: ${stderr.trim().split('\n')[0]}`, {
    where: argv.join(' '),
    ...(input === undefined ? {} : { detail: input.trim() }),
  });
}
