/**
 * The state of a QEMU guest to and from a file: QEMU's migration stream (docs/devel/migration of QEMU) over a unix
 * socket, which this process copies. QEMU itself may open no file and start no program for it.
 */

import { createReadStream, createWriteStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { hostIoError, LodgeError } from '../../../errors.ts';
import type { StateSum } from '../../plan.ts';
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
 * @returns what was written
 * @throws LodgeError `vmm-failed`, `disk-full`, `host-io`
 */
export async function saveState(
  qmp: Qmp,
  dir: string,
  file: string,
  signal?: AbortSignal,
): Promise<StateSum> {
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
      const sum = summing();
      await pipeline(socket, sum.through, createWriteStream(part, { mode: 0o600 }));
      return sum.of();
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
    const sum = await written;
    await syncFile(part);
    await rename(part, file);
    return sum;
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
 * @param saved what was written, where that is known: memory that has changed on a disk comes to no guest
 * @throws LodgeError `checkpoint` when the file has changed; `vmm-failed` when the state is not of this machine, or
 * damaged; `host-io`
 */
export async function loadState(qmp: Qmp, dir: string, file: string, saved?: StateSum): Promise<void> {
  // What is too short makes QEMU fall over, without a word.
  const { size } = await stat(file).catch((cause) => {
    throw hostIoError("reading a guest's saved state", file, cause);
  });
  if (saved !== undefined && size !== saved.bytes) throw changed(file);
  const sum = summing();
  try {
    await receiveState(qmp, dir, file, sum.through);
  } catch (error) {
    if (saved !== undefined && (await sumOf(file)).crc32 !== saved.crc32) throw changed(file);
    throw error;
  }
  if (saved !== undefined && sum.of().crc32 !== saved.crc32) throw changed(file);
}

async function receiveState(qmp: Qmp, dir: string, file: string, through: Transform): Promise<void> {
  await qmp.execute('migrate-incoming', { uri: `unix:${socketName}` });
  const socket = await connectWhenThere(join(dir, socketName), { timeoutMs: connectLimitMs });
  const sent = pipeline(createReadStream(file), through, socket);
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

function changed(file: string): LodgeError {
  return new LodgeError('checkpoint', 'it has changed since it was saved, and is damaged', {
    where: file,
    fix: 'go on from another checkpoint, or from a copy of this one that is whole',
  });
}

/** Lets bytes through, and sums them up. */
function summing(): { through: Transform; of: () => StateSum } {
  const sum: StateSum = { bytes: 0, crc32: 0 };
  const through = new Transform({
    transform(bytes: Buffer, _encoding, done) {
      sum.bytes += bytes.length;
      sum.crc32 = crc32(bytes, sum.crc32);
      done(null, bytes);
    },
  });
  return { through, of: () => sum };
}

/** @throws LodgeError `host-io` */
async function sumOf(file: string): Promise<StateSum> {
  const sum = summing();
  await pipeline(createReadStream(file), sum.through.resume()).catch((cause) => {
    throw hostIoError("reading a guest's saved state", file, cause);
  });
  return sum.of();
}

async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
