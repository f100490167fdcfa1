/** Connecting to a socket that another process is about to make. */

import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** The wait after the first attempt; each further one is half as long again, up to the last. */
const firstRetryMs = 5;
const lastRetryMs = 50;

export interface WaitOptions {
  /** For the socket to take the connection. */
  timeoutMs: number;
  /** Gives up at once when aborted: nobody waits for the socket of a process that has ended. */
  signal?: AbortSignal | undefined;
}

/**
 * Connects to a unix socket, trying again until somebody listens on it.
 * @throws the error of the last attempt after `timeoutMs`, or the signal's reason
 */
export async function connectWhenThere(path: string, { timeoutMs, signal }: WaitOptions): Promise<Socket> {
  const deadlineMs = performance.now() + timeoutMs;
  for (let retryMs = firstRetryMs; ; retryMs = Math.min(1.5 * retryMs, lastRetryMs)) {
    signal?.throwIfAborted();
    try {
      return await connectOnce(path);
    } catch (cause) {
      if (performance.now() >= deadlineMs) throw cause;
    }
    await delay(retryMs);
  }
}

function connectOnce(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.removeListener('error', reject);
      resolve(socket);
    });
  });
}
