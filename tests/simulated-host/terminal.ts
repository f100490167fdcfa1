/** A shell in the simulated host on this terminal. */

import { connect } from 'node:net';
import { join } from 'node:path';
import { stateFiles } from './qemu.ts';
import type { SimulatedHost } from './simulated-host.ts';

/** Gives the terminal to a login shell in the simulated host; resolves to its exit code. One at a time. */
export async function runShell(host: SimulatedHost, cwd: string): Promise<number> {
  const { stdin, stdout } = process;
  const socket = connect(join(host.directory, stateFiles.terminal));
  const size = (): string => `rows ${stdout.rows ?? 24} cols ${stdout.columns ?? 80}`;
  const resize = (): void => void host.run(`stty -F /dev/hvc0 ${size()}`).catch(() => undefined);
  stdin.setRawMode?.(true);
  stdin.pipe(socket);
  socket.pipe(stdout);
  stdout.on('resize', resize);
  try {
    const line = `stty -F /dev/hvc0 sane ${size()}; exec setsid -c -w bash -l </dev/hvc0 >/dev/hvc0 2>&1`;
    const env = { TERM: process.env.TERM ?? 'dumb' };
    const { code } = await host.run(line, { cwd, env, timeoutMs: Number.POSITIVE_INFINITY });
    return code;
  } finally {
    stdout.off('resize', resize);
    stdin.unpipe(socket);
    stdin.pause();
    stdin.setRawMode?.(false);
    socket.destroy();
  }
}
