/** Capture filters: expressions of pcap-filter(7), compiled by tcpdump's own engine, run by `bpf.ts`. */

import { LodgeError } from '../../errors.ts';
import { runProgram } from '../../process.ts';
import { type BpfProgram, parseBpf } from './bpf.ts';

/** Names of hosts and services in an expression are looked up, which may take its time. */
const compileTimeoutMs = 10_000;

/**
 * Compiles a filter expression such as `tcp port 80 and host 10.1.0.2` for Ethernet frames.
 * @param snapLengthBytes what the program returns for a frame that it lets through
 * @param where the place of the expression, for the error
 * @throws LodgeError `spec-value` with tcpdump's words when it is no expression, `missing-program` without tcpdump
 */
export async function compileFilter(
  expression: string,
  snapLengthBytes: number,
  where?: string,
): Promise<BpfProgram> {
  // `--` because an expression is a person's text and must never be read as an option.
  const argv = ['tcpdump', '-ddd', '-y', 'EN10MB', '-s', String(snapLengthBytes), '--', expression];
  const { code, stdout, stderr } = await runProgram(argv, { timeoutMs: compileTimeoutMs });
  if (code === 0) return parseBpf(stdout);
  const words = stderr
    .split('\n')
    .map((line) => line.replace(/^tcpdump: /, '').trim())
    .filter((line) => line !== '' && !line.startsWith('Warning'))
    .join('; ');
  throw new LodgeError('spec-value', `'${expression}' is not a capture filter: ${words}`, {
    ...(where === undefined ? {} : { where }),
    fix: 'write an expression of pcap-filter(7), such as: tcp port 80 and host 10.1.0.2',
  });
}
