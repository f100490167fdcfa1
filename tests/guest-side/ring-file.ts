import { ftruncateSync, openSync, readSync, writeSync } from 'node:fs';

export const ringBytes = 2 << 20;
const pageBytes = 4096;
const toGuest = 2 * pageBytes;
const toHost = toGuest + ringBytes;

/** The host's side of the rings, in a file of its own. */
export class RingFile {
  readonly path: string;
  readonly #file: number;
  #sent = 0;
  #sentTaken = 0;
  #taken = 0;
  readonly #queue: Buffer[] = [];

  constructor(path: string) {
    this.path = path;
    this.#file = openSync(path, 'w+');
    ftruncateSync(this.#file, toHost + ringBytes);
  }

  get sent(): number {
    return this.#sent;
  }

  get queued(): number {
    return this.#queue.length;
  }

  write(bytes: Buffer): void {
    if (bytes.length > 0) this.#queue.push(bytes);
    this.#flush();
  }

  /** What the agent has sent since the last call. */
  take(): Buffer {
    const guest = Buffer.alloc(16);
    readSync(this.#file, guest, 0, 16, pageBytes);
    const [sent, taken] = [Number(guest.readBigUInt64LE(0)), Number(guest.readBigUInt64LE(8))];
    if (sent < this.#taken || sent - this.#taken > ringBytes)
      throw new Error('more was sent than there is room');
    // After a jump the agent may still be where no byte was sent.
    if (taken <= this.#sent) this.#sentTaken = Math.max(this.#sentTaken, taken);
    this.#flush();
    const pieces: Buffer[] = [];
    while (this.#taken < sent) {
      const offset = this.#taken % ringBytes;
      const piece = Buffer.alloc(Math.min(sent - this.#taken, ringBytes - offset));
      readSync(this.#file, piece, 0, piece.length, toHost + offset);
      pieces.push(piece);
      this.#taken += piece.length;
    }
    this.#tell(this.#sent, this.#taken);
    return Buffer.concat(pieces);
  }

  /** Says that the stream to the agent has come to some point, whatever was written. */
  jump(sent: number): void {
    this.#sent = this.#sentTaken = sent;
    this.#tell(sent, this.#taken);
  }

  #tell(sent: number, taken: number): void {
    const counts = Buffer.alloc(16);
    counts.writeBigUInt64LE(BigInt(sent), 0);
    counts.writeBigUInt64LE(BigInt(taken), 8);
    writeSync(this.#file, counts, 0, 16, 0);
  }

  #flush(): void {
    while (this.#queue.length > 0) {
      const bytes = this.#queue[0]!;
      const offset = this.#sent % ringBytes;
      const room = ringBytes - (this.#sent - this.#sentTaken);
      const count = Math.min(bytes.length, room, ringBytes - offset);
      if (count === 0) return;
      writeSync(this.#file, bytes, 0, count, toGuest + offset);
      this.#sent += count;
      this.#tell(this.#sent, this.#taken);
      if (count === bytes.length) this.#queue.shift();
      else this.#queue[0] = bytes.subarray(count);
    }
  }
}
