/** The channel to a guest of user-mode Linux: a ring in each direction, in one file that guest and host share. */

import { closeSync, openSync, readSync, writevSync } from 'node:fs';
import { hostIoError } from '../../errors.ts';
import type { Transport } from './transport.ts';

/** Bytes of each of the two rings. */
export const ringBytes = 2 * 1024 * 1024;

const pageBytes = 4096;

/** Where what stands in the file; the format is in docs/reference/agent-protocol.md. */
export const ringOffsets = {
  hostCounts: 0,
  guestCounts: pageBytes,
  toGuest: 2 * pageBytes,
  toHost: 2 * pageBytes + ringBytes,
} as const;

export const ringFileBytes = 2 * (pageBytes + ringBytes);

/** Whoever has taken so many bytes tells the other, who may wait for room. */
const tellEveryBytes = BigInt(ringBytes / 4);

const ringSize = BigInt(ringBytes);

/** IOV_MAX of Linux. */
const maxWritePieces = 1024;

const bell = Buffer.alloc(1);

/** How many bytes one side has ever sent, and taken of what the other has sent. */
interface Counts {
  sent: bigint;
  taken: bigint;
}

/**
 * Both directions through the file. What comes on the line only says that the rings are worth a look.
 *
 * Plain reads and writes of the file are coherent with the guest's mapping of it, because both go to the same pages
 * of the host's page cache. All that the guest could have written there is untrusted: counts are checked against our
 * own, and bytes are copied before they are looked at.
 */
export class RingTransport implements Transport {
  readonly #line: Transport;
  readonly #file: number;
  /** Of what goes to the guest, and how much of it the guest has taken. */
  #sent: bigint;
  #sentTaken: bigint;
  /** Of what comes from the guest, and how much of that the guest has been told. */
  #taken: bigint;
  #told: bigint;
  #queue: Buffer[] = [];
  #waiting: (() => void)[] = [];
  #onData: (bytes: Buffer) => void = () => {};
  #onClose: (fault?: string) => void = () => {};
  #isFlushDue = false;
  #isClosed = false;

  /** @param line to the guest's serial line; closed here when the file cannot be opened */
  constructor(line: Transport, ringPath: string) {
    this.#line = line;
    try {
      this.#file = openSync(ringPath, 'r+');
    } catch (cause) {
      line.close();
      throw hostIoError('opening the rings of the channel', ringPath, cause);
    }
    // A host that comes back goes on where the last one stopped: the guest knows these counts only. What the guest has
    // said to another host is of no meaning to this one.
    const { sent, taken } = readCounts(this.#file, ringOffsets.guestCounts);
    this.#taken = this.#told = sent;
    this.#sent = readCounts(this.#file, ringOffsets.hostCounts).sent;
    this.#sentTaken = taken <= this.#sent && this.#sent - taken <= ringSize ? taken : this.#sent;
    line.onClose(() => {
      // Its last words may be there, and no bell came through for them.
      this.#take();
      this.#shut();
    });
    this.#tellCounts();
  }

  send(bytes: Buffer): void {
    this.#queue.push(bytes);
    if (this.#isFlushDue) return;
    // All that is sent in one go costs one write and one bell.
    this.#isFlushDue = true;
    queueMicrotask(() => {
      this.#isFlushDue = false;
      this.#flush();
    });
  }

  drained(): Promise<void> {
    if (this.#queue.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  onData(handler: (bytes: Buffer) => void): void {
    this.#onData = handler;
    this.#line.onData(() => this.#take());
  }

  onClose(handler: (fault?: string) => void): void {
    this.#onClose = handler;
  }

  close(): void {
    this.#flush();
    this.#shut();
  }

  /** Takes in what the guest has sent, and sends what it has made room for. */
  #take(): void {
    if (this.#isClosed) return;
    let guest = readCounts(this.#file, ringOffsets.guestCounts);
    // A read may fall in the middle of a write.
    if (!this.#mayBe(guest)) guest = readCounts(this.#file, ringOffsets.guestCounts);
    if (!this.#mayBe(guest)) {
      this.#shut('counts of its rings that cannot be');
      return;
    }
    if (guest.taken > this.#sentTaken) this.#sentTaken = guest.taken;
    this.#flush();
    while (this.#taken < guest.sent && !this.#isClosed) {
      const offset = Number(this.#taken % ringSize);
      const bytes = Buffer.allocUnsafe(Math.min(Number(guest.sent - this.#taken), ringBytes - offset));
      if (readSync(this.#file, bytes, 0, bytes.length, ringOffsets.toHost + offset) < bytes.length) {
        this.#shut('a file of its rings that was cut short');
        return;
      }
      this.#taken += BigInt(bytes.length);
      this.#onData(bytes);
    }
    this.#tellTaken();
  }

  #mayBe({ sent, taken }: Counts): boolean {
    return sent >= this.#taken && sent - this.#taken <= ringSize && taken <= this.#sent;
  }

  #tellTaken(): void {
    if (this.#isClosed || !this.#tellCounts() || this.#taken - this.#told < tellEveryBytes) return;
    this.#told = this.#taken;
    this.#line.send(bell);
  }

  #flush(): void {
    if (this.#isClosed) return;
    let wrote = false;
    while (this.#queue.length > 0) {
      const offset = Number(this.#sent % ringSize);
      const room = Math.min(ringBytes - Number(this.#sent - this.#sentTaken), ringBytes - offset);
      if (room === 0) break;
      const pieces = this.#takeQueued(room);
      if (!this.#put(pieces, ringOffsets.toGuest + offset)) return;
      for (const piece of pieces) this.#sent += BigInt(piece.length);
      wrote = true;
    }
    if (wrote) {
      if (!this.#tellCounts()) return;
      this.#line.send(bell);
    }
    if (this.#queue.length === 0) {
      for (const resolve of this.#waiting.splice(0)) resolve();
    }
  }

  /** Takes what is queued, up to so many bytes and as many pieces as one write takes. */
  #takeQueued(room: number): Buffer[] {
    const pieces: Buffer[] = [];
    let left = room;
    while (this.#queue.length > 0 && left > 0 && pieces.length < maxWritePieces) {
      const first = this.#queue[0]!;
      const part = first.subarray(0, left);
      pieces.push(part);
      left -= part.length;
      if (part.length === first.length) this.#queue.shift();
      else this.#queue[0] = first.subarray(part.length);
    }
    return pieces;
  }

  #tellCounts(): boolean {
    const counts = Buffer.allocUnsafe(16);
    counts.writeBigUInt64LE(this.#sent, 0);
    counts.writeBigUInt64LE(this.#taken, 8);
    return this.#put([counts], ringOffsets.hostCounts);
  }

  /** Writes to the file; where that fails, the line is cut, which is what everybody waits for. */
  #put(pieces: Buffer[], position: number): boolean {
    try {
      const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
      if (writevSync(this.#file, pieces, position) === bytes) return true;
    } catch {
      // As with a short write: the file system is full.
    }
    this.#shut();
    return false;
  }

  #shut(fault?: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#line.close();
    closeSync(this.#file);
    this.#queue = [];
    for (const resolve of this.#waiting.splice(0)) resolve();
    this.#onClose(fault);
  }
}

function readCounts(file: number, position: number): Counts {
  // A short read leaves zeros, which is what new rings hold.
  const counts = Buffer.alloc(16);
  readSync(file, counts, 0, counts.length, position);
  return { sent: counts.readBigUInt64LE(0), taken: counts.readBigUInt64LE(8) };
}
