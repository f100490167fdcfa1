/** Capabilities of files (capabilities(7)), which a packed closure does not keep. */

import { LodgeError } from '../../errors.ts';
import { runProgram } from '../../process.ts';

const askLimitMs = 20_000;
const filesAtOnce = 500;
/** Ordinary users have no sbin on their PATH. */
const programs = ['getcap', '/usr/sbin/getcap', '/sbin/getcap'];

/**
 * The files among these that have capabilities, each with what getcap(8) says of it: `/usr/bin/ping cap_net_raw=ep`.
 * @returns undefined on a host that has no getcap
 */
export async function filesWithCapabilities(paths: readonly string[]): Promise<string[] | undefined> {
  const found: string[] = [];
  for (let at = 0; at < paths.length; at += filesAtOnce) {
    const output = await getcap(paths.slice(at, at + filesAtOnce));
    if (output === undefined) return undefined;
    found.push(...output.split('\n').filter((line) => line !== ''));
  }
  return found;
}

async function getcap(paths: readonly string[]): Promise<string | undefined> {
  for (const program of programs) {
    try {
      return (await runProgram([program, ...paths], { timeoutMs: askLimitMs })).stdout;
    } catch (error) {
      if (!(error instanceof LodgeError) || error.code !== 'missing-program') throw error;
    }
  }
  return undefined;
}
