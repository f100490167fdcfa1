/** One at a time: who changes a cluster holds its lock, which the kernel takes back when the holder dies. */

import { spawn } from 'node:child_process';
import { LodgeError } from '../errors.ts';
import { missingProgram } from '../process.ts';
import { directoryIdentity, makeClusterDir } from './state.ts';

export interface ClusterLock {
  release(): Promise<void>;
}

/** flock(1)'s exit code for a lock that somebody holds. */
const conflict = 9;

/** Opens the directory, locks it, says which one it was, and holds it until standard input ends. */
const script = `exec 9<"$1" || exit 1; flock --nonblock 9 || exit ${conflict}; stat -L -c %d:%i /proc/self/fd/9; exec cat`;

/**
 * Takes the lock of a cluster; its directory is made when it is not there.
 * @throws LodgeError `cluster-busy` when somebody else has it
 */
export async function lockCluster(name: string): Promise<ClusterLock> {
  for (;;) {
    const dir = makeClusterDir(name);
    const held = await hold(dir, name);
    // Whoever held it before may have removed the directory: then the lock is on nothing.
    if (held.identity === directoryIdentity(dir)) return held;
    await held.release();
  }
}

function hold(dir: string, name: string): Promise<ClusterLock & { identity: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', script, 'sh', dir], { stdio: ['pipe', 'pipe', 'ignore'] });
    const ended = new Promise<void>((done) => child.once('close', () => done()));
    let told = '';
    child.stdin.on('error', () => {});
    child.on('error', () => reject(missingProgram('flock')));
    child.stdout.on('data', (piece: Buffer) => {
      told += piece.toString();
      if (!told.endsWith('\n')) return;
      resolve({
        identity: told.trim(),
        release: () => {
          child.stdin.end();
          return ended;
        },
      });
    });
    child.on('close', (code) => {
      if (code === conflict) {
        reject(
          new LodgeError('cluster-busy', `another lodge is changing cluster '${name}' at this moment`, {
            fix: 'wait until it has ended, then try again',
          }),
        );
      } else reject(new LodgeError('host-io', "the cluster's directory could not be locked", { where: dir }));
    });
  });
}
