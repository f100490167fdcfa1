/**
 * Verbs of lodge that an agent runs on its host for others of its job: a process of lodge's own, whose streams go over
 * a WebSocket as those of commands in guests do (`/v1/verb`, messages of api.ts). Only the doors of jobs have it.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import type { WebSocket } from 'ws';
import { LodgeError } from '../errors.ts';
import { signalNumbers } from '../process.ts';
import { startEnvironment } from '../start-environment.ts';
import { bodyOfError, type ExecServerMessage } from './api.ts';
import { jsonOf } from './http-json.ts';
import { thisHostVariable } from './locate.ts';
import { execMessageOf } from './requests.ts';

/** Output that may wait for a slow reader before the verb is held up. */
const bufferLimitBytes = 1024 * 1024;

const signalNames = new Map(
  Object.entries(signalNumbers).map(([name, number]) => [number, name as NodeJS.Signals]),
);

/** The verbs that run in one agent. */
export class Verbs {
  readonly #running = new Set<ChildProcess>();
  #isOver = false;

  /** Runs one verb for one client; when the client goes, it is ended. */
  serve(client: WebSocket): void {
    let child: ReturnType<typeof begin> | undefined;
    const tell = (message: ExecServerMessage): void => client.send(JSON.stringify(message), () => {});
    client.on('message', (data: Buffer, isBinary) => {
      if (isBinary) {
        if (data[0] === 0) child?.stdin.write(data.subarray(1));
        return;
      }
      try {
        const message = execMessageOf(jsonOf(data.toString(), 'message'));
        if (message.type === 'exec') {
          if (child !== undefined) throw new LodgeError('usage', 'a verb runs already');
          if (this.#isOver) throw new LodgeError('host-agent', 'the job ends on this host');
          const { argv, cwd } = message.request;
          child = begin(client, argv, cwd, tell);
          this.#keep(child);
        } else if (message.type === 'end-input') child?.stdin.end();
        else if (message.type === 'signal') child?.kill(signalNames.get(message.signal) ?? 'SIGTERM');
      } catch (error) {
        tell({ type: 'error', error: bodyOfError(error) });
      }
    });
    client.on('error', () => {});
    client.on('close', () => child?.kill('SIGTERM'));
  }

  #keep(child: ChildProcess): void {
    // One that could not be started has no process, and ends by its error.
    if (child.pid === undefined) return;
    this.#running.add(child);
    child.once('exit', () => this.#running.delete(child));
  }

  /** Kills all verbs that run and takes no more: what they would still make on this host would stay. */
  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.all(
      [...this.#running].map(
        (child) =>
          new Promise<void>((resolve) => {
            child.once('exit', () => resolve());
            child.kill('SIGKILL');
          }),
      ),
    );
  }
}

function begin(
  client: WebSocket,
  argv: readonly string[],
  cwd: string,
  tell: (message: ExecServerMessage) => void,
) {
  const child = spawn(process.execPath, [process.argv[1]!, ...argv], {
    cwd,
    env: { ...startEnvironment(process.env), [thisHostVariable]: '1' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.on('error', () => {});
  for (const [stream, number] of [
    [child.stdout, 1],
    [child.stderr, 2],
  ] as const) {
    stream.on('data', (piece: Buffer) => {
      const message = Buffer.allocUnsafe(piece.length + 1);
      message[0] = number;
      piece.copy(message, 1);
      if (client.bufferedAmount > bufferLimitBytes) stream.pause();
      client.send(message, () => stream.resume());
    });
  }
  child.once('spawn', () => tell({ type: 'started', pid: child.pid! }));
  child.once('error', (cause: NodeJS.ErrnoException) => {
    const message =
      cause.code === 'ENOENT'
        ? `there is no directory '${cwd}' on this host`
        : `lodge does not start: ${cause.message}`;
    tell({
      type: 'error',
      error: bodyOfError(
        new LodgeError('host-agent', message, { fix: 'run it in a directory that all hosts have' }),
      ),
    });
  });
  child.once('close', (code, signal) => {
    tell({ type: 'exit', code: code ?? 0, signal: signal === null ? 0 : (signalNumbers[signal] ?? 0) });
  });
  return child;
}
