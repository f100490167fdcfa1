import { ftruncateSync, openSync, writeSync } from 'node:fs';

const ringBytes = 4 << 20;
const headerBytes = 4096;

/** The host's side of the ring, in a file of its own. */
export class RingFile {
  readonly path: string;
  readonly #file: number;
  #head = 0;
  #consumed = 0;
  readonly #queue: Buffer[] = [];
  /** The most that was ever in the ring and not told to be consumed. */
  mostUntoldBytes = 0;

  constructor(path: string) {
    this.path = path;
    this.#file = openSync(path, 'w+');
    ftruncateSync(this.#file, ringBytes + headerBytes);
  }

  get head(): number {
    return this.#head;
  }

  get queued(): number {
    return this.#queue.length;
  }

  write(bytes: Buffer): void {
    if (bytes.length > 0) this.#queue.push(bytes);
    this.#flush();
  }

  consumed(totalBytes: number): void {
    if (totalBytes > this.#head) throw new Error('more was consumed than ever was written');
    this.#consumed = Math.max(this.#consumed, totalBytes);
    this.#flush();
  }

  /** Says that the stream has come to some point, whatever was written. */
  jump(head: number): void {
    this.#head = this.#consumed = head;
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(head));
    writeSync(this.#file, bytes, 0, 8, 0);
  }

  #flush(): void {
    while (this.#queue.length > 0) {
      const bytes = this.#queue[0]!;
      const offset = this.#head % ringBytes;
      const room = ringBytes - (this.#head - this.#consumed);
      const count = Math.min(bytes.length, room, ringBytes - offset);
      if (count === 0) return;
      writeSync(this.#file, bytes, 0, count, headerBytes + offset);
      const consumed = this.#consumed;
      this.jump(this.#head + count);
      this.#consumed = consumed;
      this.mostUntoldBytes = Math.max(this.mostUntoldBytes, this.#head - consumed);
      if (count === bytes.length) this.#queue.shift();
      else this.#queue[0] = bytes.subarray(count);
    }
  }
}
