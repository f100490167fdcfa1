/**
 * Where addresses are: network and MAC → port, a chained hash table over typed arrays. Entries keep their number as
 * long as they live. An address is held as two numbers, its first 16 and its last 32 bits.
 *
 * The hash begins at a random number of this process, so that no guest can choose addresses that meet in one chain.
 */

import { randomInt } from 'node:crypto';

export class MacTable {
  #count = 0;
  #heads = new Int32Array(1024).fill(-1);
  #nexts = new Int32Array(256);
  #his = new Uint16Array(256);
  #los = new Uint32Array(256);
  #networks = new Int32Array(256);
  #ports = new Int32Array(256);
  #endpoints = new Int32Array(256);
  #statics = new Uint8Array(256);
  #seenNs = new Float64Array(256);
  /** Entries of one port: a list through all of them. */
  #portNexts = new Int32Array(256);
  #portPreviouses = new Int32Array(256);
  readonly #portHeads = new Map<number, number>();
  #free = -1;
  #fresh = 0;
  readonly #salt = randomInt(2 ** 31);

  get count(): number {
    return this.#count;
  }

  /** @returns the entry, or -1 */
  find(network: number, hi: number, lo: number): number {
    let entry = this.#heads[this.#hash(network, hi, lo)]!;
    while (entry >= 0) {
      if (this.#los[entry] === lo && this.#his[entry] === hi && this.#networks[entry] === network) break;
      entry = this.#nexts[entry]!;
    }
    return entry;
  }

  port(entry: number): number {
    return this.#ports[entry]!;
  }

  /** Whose traffic it is, in the matrix. */
  endpoint(entry: number): number {
    return this.#endpoints[entry]!;
  }

  isStatic(entry: number): boolean {
    return this.#statics[entry] === 1;
  }

  seenNs(entry: number): number {
    return this.#seenNs[entry]!;
  }

  touch(entry: number, timeNs: number): void {
    this.#seenNs[entry] = timeNs;
  }

  /** Adds an address that is not there. @returns its entry */
  add(
    network: number,
    hi: number,
    lo: number,
    port: number,
    endpoint: number,
    isStatic: boolean,
    timeNs: number,
  ): number {
    let entry = this.#free;
    if (entry >= 0) this.#free = this.#nexts[entry]!;
    else {
      if (this.#fresh === this.#nexts.length) this.#grow();
      entry = this.#fresh++;
    }
    this.#networks[entry] = network;
    this.#his[entry] = hi;
    this.#los[entry] = lo;
    this.#endpoints[entry] = endpoint;
    this.#statics[entry] = isStatic ? 1 : 0;
    this.#seenNs[entry] = timeNs;
    const bucket = this.#hash(network, hi, lo);
    this.#nexts[entry] = this.#heads[bucket]!;
    this.#heads[bucket] = entry;
    this.#linkPort(entry, port);
    this.#count++;
    return entry;
  }

  /** Says that an address is elsewhere now. */
  move(entry: number, port: number, endpoint: number, isStatic: boolean): void {
    this.#unlinkPort(entry);
    this.#linkPort(entry, port);
    this.#endpoints[entry] = endpoint;
    this.#statics[entry] = isStatic ? 1 : 0;
  }

  remove(entry: number): void {
    const bucket = this.#hash(this.#networks[entry]!, this.#his[entry]!, this.#los[entry]!);
    let at = this.#heads[bucket]!;
    if (at === entry) this.#heads[bucket] = this.#nexts[entry]!;
    else {
      while (this.#nexts[at] !== entry) at = this.#nexts[at]!;
      this.#nexts[at] = this.#nexts[entry]!;
    }
    this.#unlinkPort(entry);
    this.#nexts[entry] = this.#free;
    this.#free = entry;
    this.#count--;
  }

  /** Entries of a port, the latest first. */
  *ofPort(port: number): Generator<number> {
    let entry = this.#portHeads.get(port) ?? -1;
    while (entry >= 0) {
      const next = this.#portNexts[entry]!;
      yield entry;
      entry = next;
    }
  }

  /** First 16 and last 32 bits of the address. */
  key(entry: number): { hi: number; lo: number } {
    return { hi: this.#his[entry]!, lo: this.#los[entry]! };
  }

  #hash(network: number, hi: number, lo: number): number {
    let hash =
      Math.imul(lo ^ this.#salt, 0x9e3779b1) ^ Math.imul(hi + Math.imul(network, 0x10001), 0x85ebca6b);
    hash ^= hash >>> 15;
    hash = Math.imul(hash, 0x2c1b3c6d);
    hash ^= hash >>> 13;
    return hash & (this.#heads.length - 1);
  }

  #linkPort(entry: number, port: number): void {
    const first = this.#portHeads.get(port) ?? -1;
    this.#ports[entry] = port;
    this.#portNexts[entry] = first;
    this.#portPreviouses[entry] = -1;
    if (first >= 0) this.#portPreviouses[first] = entry;
    this.#portHeads.set(port, entry);
  }

  #unlinkPort(entry: number): void {
    const next = this.#portNexts[entry]!;
    const previous = this.#portPreviouses[entry]!;
    if (next >= 0) this.#portPreviouses[next] = previous;
    if (previous >= 0) this.#portNexts[previous] = next;
    else if (next >= 0) this.#portHeads.set(this.#ports[entry]!, next);
    else this.#portHeads.delete(this.#ports[entry]!);
  }

  #grow(): void {
    const size = this.#nexts.length * 2;
    const grown = <Numbers extends { set(from: ArrayLike<number>): void }>(
      to: Numbers,
      from: ArrayLike<number>,
    ) => {
      to.set(from);
      return to;
    };
    this.#nexts = grown(new Int32Array(size), this.#nexts);
    this.#his = grown(new Uint16Array(size), this.#his);
    this.#los = grown(new Uint32Array(size), this.#los);
    this.#networks = grown(new Int32Array(size), this.#networks);
    this.#ports = grown(new Int32Array(size), this.#ports);
    this.#endpoints = grown(new Int32Array(size), this.#endpoints);
    this.#statics = grown(new Uint8Array(size), this.#statics);
    this.#seenNs = grown(new Float64Array(size), this.#seenNs);
    this.#portNexts = grown(new Int32Array(size), this.#portNexts);
    this.#portPreviouses = grown(new Int32Array(size), this.#portPreviouses);
    if (size * 2 <= this.#heads.length) return;
    // Only numbers handed out before are in chains; free ones are in the list of free ones, by the same links.
    const chained: number[] = [];
    for (let head of this.#heads) for (; head >= 0; head = this.#nexts[head]!) chained.push(head);
    this.#heads = new Int32Array(size * 4).fill(-1);
    for (const entry of chained) {
      const bucket = this.#hash(this.#networks[entry]!, this.#his[entry]!, this.#los[entry]!);
      this.#nexts[entry] = this.#heads[bucket]!;
      this.#heads[bucket] = entry;
    }
  }
}

export function macText(hi: number, lo: number): string {
  const digits = hi.toString(16).padStart(4, '0') + lo.toString(16).padStart(8, '0');
  return digits.match(/../g)!.join(':');
}

/**
 * First 16 and last 32 bits of an address.
 * @returns undefined for what is not six bytes in hexadecimal, joined by colons
 */
export function parseMac(text: string): { hi: number; lo: number } | undefined {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) return undefined;
  const digits = text.replaceAll(':', '');
  return { hi: Number.parseInt(digits.slice(0, 4), 16), lo: Number.parseInt(digits.slice(4), 16) };
}
