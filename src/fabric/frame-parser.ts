/**
 * Takes a stream apart into frames, each after its length as 4 bytes, big-endian. The stream may be cut anywhere and may
 * hold anything. What is whole in the bytes at hand is given on as it lies; only a frame that is cut is collected, in a
 * slot of the pool.
 */

import { largestFrameBytes } from './fabric.ts';
import type { FramePool } from './frame-pool.ts';
import type { PortSink } from './port-end.ts';

export class FrameParser {
  readonly #pool: FramePool;
  readonly #sink: Pick<PortSink, 'frame' | 'frames' | 'dropped'>;
  readonly #longestFrameBytes: number;
  /** Bytes at hand of a length that was cut. */
  #header = 0;
  #headerBytes = 0;
  /** A frame that was cut: its slot, or -1; its length, and how much of it is there. */
  #slot = -1;
  #length = 0;
  #have = 0;
  /** Bytes still to come of a frame that is not wanted. */
  #skip = 0;

  /** @param longestFrameBytes of longer ones the bytes are not kept */
  constructor(
    pool: FramePool,
    sink: Pick<PortSink, 'frame' | 'frames' | 'dropped'>,
    longestFrameBytes: number,
  ) {
    this.#pool = pool;
    this.#sink = sink;
    this.#longestFrameBytes = longestFrameBytes;
  }

  /**
   * Takes bytes that lie in the pool's region.
   * @returns false when a length shows that this is no stream of frames; only `reset` helps then
   */
  feed(offset: number, bytes: number): boolean {
    const { bytes: region, view } = this.#pool;
    const end = offset + bytes;
    let at = offset;
    while (at < end) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, end - at);
        this.#skip -= skipped;
        at += skipped;
      } else if (this.#slot >= 0) {
        at += this.#collect(at, end - at);
      } else if (this.#headerBytes > 0 || end - at < 4) {
        this.#header = ((this.#header << 8) | region[at++]!) >>> 0;
        if (++this.#headerBytes === 4 && !this.#begin(this.#header)) return false;
      } else {
        at += this.#sink.frames(region, at, end - at);
        if (end - at < 4) continue;
        const length = view.getUint32(at);
        at += 4;
        if (!this.#begin(length)) return false;
      }
    }
    return true;
  }

  /** Forgets what was cut: the next byte begins a length. */
  reset(): void {
    if (this.#slot >= 0) this.#pool.release(this.#slot);
    this.#slot = -1;
    this.#skip = 0;
    this.#header = 0;
    this.#headerBytes = 0;
  }

  #begin(length: number): boolean {
    this.#header = 0;
    this.#headerBytes = 0;
    if (length > largestFrameBytes) return false;
    if (length === 0) {
      this.#sink.dropped('runt', 1);
      return true;
    }
    this.#slot = length > this.#longestFrameBytes ? -1 : this.#pool.allocate(length);
    if (this.#slot < 0) {
      this.#sink.dropped(length > this.#longestFrameBytes ? 'giant' : 'memory', 1);
      this.#skip = length;
      return true;
    }
    this.#length = length;
    this.#have = 0;
    return true;
  }

  #collect(at: number, available: number): number {
    const slot = this.#slot;
    const begin = this.#pool.offset(slot);
    const taken = Math.min(this.#length - this.#have, available);
    this.#pool.bytes.copyWithin(begin + this.#have, at, at + taken);
    this.#have += taken;
    if (this.#have === this.#length) {
      this.#slot = -1;
      this.#sink.frame(this.#pool.bytes, begin, this.#length);
      this.#pool.release(slot);
    }
    return taken;
  }
}
