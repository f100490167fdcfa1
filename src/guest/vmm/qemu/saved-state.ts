/**
 * The state of a QEMU guest to and from a file: QEMU's migration stream (docs/devel/migration of QEMU) over a unix
 * socket, which this process copies. QEMU itself may open no file and start no program for it.
 */

import { createReadStream, createWriteStream } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { hostIoError, LodgeError } from '../../../errors.ts';
import { connectWhenThere } from '../../unix-socket.ts';
import type { Qmp } from './qmp.ts';

/** In the guest's directory, where QEMU runs. */
const socketName = 'state.sock';

const lookMs = 20;
const connectLimitMs = 10_000;

/** Nothing is gained by holding a guest that stands still below the speed of the disk. */
const unlimitedBytesPerSecond = 1e12;

/**
 * Saves the state of a stopped guest. The file is whole and on the disk when this resolves, or not there.
 * @param dir the guest's directory
 * @param signal gives up; the promise is then rejected with its reason
 * @returns bytes written
 * @throws LodgeError `vmm-failed`, `disk-full`, `host-io`
 */
export async function saveState(qmp: Qmp, dir: string, file: string, signal?: AbortSignal): Promise<number> {
  signal?.throwIfAborted();
  const path = join(dir, socketName);
  await rm(path, { force: true });
  const server = createServer();
  const part = `${file}.part`;
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    const connection = new Promise<Socket>((resolve) => server.once('connection', resolve));
    const written = connection.then(async (socket) => {
      await pipeline(socket, createWriteStream(part, { mode: 0o600 }));
      return socket.bytesRead;
    });
    written.catch(() => {});
    await qmp.execute('migrate-set-parameters', { 'max-bandwidth': unlimitedBytesPerSecond });
    await qmp.execute('migrate', { uri: `unix:${socketName}` });
    await Promise.race([
      migrated(qmp, 'saved', signal),
      // A full disk is the reason, and the broken migration its consequence.
      written.then(
        () => new Promise<never>(() => {}),
        (cause) => Promise.reject(hostIoError("saving a guest's state", file, cause)),
      ),
    ]);
    const bytes = await written;
    await syncFile(part);
    await rename(part, file);
    return bytes;
  } catch (error) {
    await qmp.execute('migrate_cancel').catch(() => {});
    await rm(part, { force: true });
    throw error;
  } finally {
    server.close();
    await rm(path, { force: true });
  }
}

/**
 * Loads a saved state into a QEMU that was started with `-incoming defer`; the guest then stands still.
 * @throws LodgeError `vmm-failed` when the state is not of this machine, or damaged; `host-io`
 */
export async function loadState(qmp: Qmp, dir: string, file: string): Promise<void> {
  await qmp.execute('migrate-incoming', { uri: `unix:${socketName}` });
  const socket = await connectWhenThere(join(dir, socketName), { timeoutMs: connectLimitMs });
  const sent = pipeline(createReadStream(file), socket);
  await Promise.all([
    migrated(qmp, 'loaded'),
    sent.catch((cause: NodeJS.ErrnoException) => {
      // QEMU says itself what is wrong with what it was sent.
      if (cause.code !== 'EPIPE' && cause.code !== 'ECONNRESET') {
        throw hostIoError("reading a guest's saved state", file, cause);
      }
    }),
  ]);
  await rm(join(dir, socketName), { force: true });
}

async function migrated(qmp: Qmp, done: string, signal?: AbortSignal): Promise<void> {
  for (;;) {
    signal?.throwIfAborted();
    const { status, 'error-desc': reason } = await qmp.execute('query-migrate');
    if (status === 'completed') return;
    if (status === 'failed' || status === 'cancelled') {
      throw new LodgeError(
        'vmm-failed',
        `the guest's state could not be ${done}${reason ? `: ${reason}` : ''}`,
      );
    }
    await delay(lookMs);
  }
}

async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
