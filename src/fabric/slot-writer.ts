/**
 * Collects what goes out to a stream in two slots of the fabric's pool: one is being written, one is being filled. When
 * both are full the other side does not read fast enough, and there is no room. Nothing is allocated per frame.
 */

import { largestSlotBytes } from './frame-pool.ts';
import type { SocketIo } from './guest-end.ts';

/** Written at once when so much has collected, not at the end of the turn. */
const writeAtBytes = 131_072;

export class SlotWriter {
  readonly #io: SocketIo;
  readonly #write: (piece: Buffer, done: () => void) => void;
  #fillSlot = -1;
  #fillBytes = 0;
  #writingSlot = -1;
  #isDirty = false;
  #isReleased = false;
  #whenEmpty: (() => void) | undefined;

  /** @param write hands bytes to the stream, and calls back when they may be overwritten */
  constructor(io: SocketIo, write: (piece: Buffer, done: () => void) => void) {
    this.#io = io;
    this.#write = write;
  }

  /** @returns where in the pool's region so many bytes go, to be followed by `filled`; -1 when there is no room */
  reserve(bytes: number): number {
    if (this.#isReleased || bytes > largestSlotBytes) return -1;
    const { pool } = this.#io.fabric;
    if (this.#fillSlot >= 0 && this.#fillBytes + bytes > largestSlotBytes) {
      if (this.#writingSlot >= 0) return -1;
      this.#begin();
    }
    if (this.#fillSlot < 0) {
      this.#fillSlot = pool.allocate(largestSlotBytes);
      this.#fillBytes = 0;
      if (this.#fillSlot < 0) return -1;
    }
    return pool.offset(this.#fillSlot) + this.#fillBytes;
  }

  filled(bytes: number): void {
    this.#fillBytes += bytes;
    if (this.#fillBytes >= writeAtBytes && this.#writingSlot < 0) this.#begin();
    else if (!this.#isDirty) {
      this.#isDirty = true;
      this.#io.turns.flushLater(this);
    }
  }

  /** Writes what has collected, unless something is being written. */
  flush(): void {
    this.#isDirty = false;
    if (this.#fillSlot >= 0 && this.#writingSlot < 0) this.#begin();
  }

  /** Calls back once all that was filled so far has been handed to the stream; one at a time. */
  whenEmpty(action: () => void): void {
    this.#whenEmpty = action;
    this.flush();
    this.#tellEmpty();
  }

  /** Gives the memory back; the stream must be closed, so that nothing is read from it any more. */
  release(): void {
    this.#isReleased = true;
    this.#whenEmpty = undefined;
    const { pool } = this.#io.fabric;
    if (this.#fillSlot >= 0) pool.release(this.#fillSlot);
    if (this.#writingSlot >= 0) pool.release(this.#writingSlot);
    this.#fillSlot = -1;
    this.#writingSlot = -1;
  }

  #tellEmpty(): void {
    if (this.#fillSlot >= 0) return;
    const action = this.#whenEmpty;
    this.#whenEmpty = undefined;
    action?.();
  }

  #begin(): void {
    const { pool } = this.#io.fabric;
    const begin = pool.bytes.byteOffset + pool.offset(this.#fillSlot);
    const piece = Buffer.from(pool.bytes.buffer, begin, this.#fillBytes);
    this.#writingSlot = this.#fillSlot;
    this.#fillSlot = -1;
    this.#fillBytes = 0;
    this.#write(piece, () => {
      if (this.#isReleased) return;
      pool.release(this.#writingSlot);
      this.#writingSlot = -1;
      if (this.#fillSlot >= 0) this.#begin();
      this.#tellEmpty();
    });
  }
}
