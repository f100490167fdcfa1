/**
 * The flows of an uplink: which guest speaks with whom outside. passt serves one machine with one address; so that many
 * guests can use it, each flow gets a port of that address for its own (for ICMP an identifier), and answers are found
 * by it. What answers no flow does not come in.
 *
 * A fixed table over typed arrays: bounded, no allocation per frame. A flow's port outside is its number and `firstPort`.
 * Numbers that were freed are used again as late as possible.
 */

import { randomInt } from 'node:crypto';

export const mostFlows = 32_768;
export const firstPort = 16_384;
/** One MAC address may have so many, so that no guest takes them all: it can say of any IP address that it is its own. */
const mostOfOneGuest = 4096;

/** How long a flow lives without a frame, by its state, in ms. */
const lifetimesMs = [0, 60_000, 7_200_000, 60_000, 180_000, 30_000] as const;
export const flowStates = { free: 0, opening: 1, open: 2, closing: 3, udp: 4, icmp: 5 } as const;

const bucketCount = 32_768;
/** A table that is full is not searched again before this time has passed. */
const sweepEveryMs = 1000;

export class Flows {
  readonly #heads = new Int32Array(bucketCount).fill(-1);
  readonly #nexts = new Int32Array(mostFlows);
  readonly state = new Uint8Array(mostFlows);
  readonly protocol = new Uint8Array(mostFlows);
  readonly guestMacHigh = new Uint16Array(mostFlows);
  readonly guestMacLow = new Uint32Array(mostFlows);
  readonly guestAddress = new Uint32Array(mostFlows);
  readonly guestPort = new Uint16Array(mostFlows);
  readonly address = new Uint32Array(mostFlows);
  readonly port = new Uint16Array(mostFlows);
  readonly #seenMs = new Float64Array(mostFlows);
  /** Free numbers, first freed first. */
  readonly #free = new Uint16Array(mostFlows);
  #freeHead = 0;
  #freeCount = mostFlows;
  /** By MAC address, as a number of 48 bits. */
  readonly #ofGuest = new Map<number, number>();
  #sweptMs = Number.NEGATIVE_INFINITY;
  /** No guest can choose ports that meet in one bucket. */
  readonly #salt = randomInt(2 ** 31);

  constructor() {
    for (let i = 0; i < mostFlows; i++) this.#free[i] = i;
  }

  get count(): number {
    return mostFlows - this.#freeCount;
  }

  /** @returns the flow's number, or -1 */
  find(
    protocol: number,
    macHigh: number,
    macLow: number,
    guestAddress: number,
    guestPort: number,
    address: number,
    port: number,
  ): number {
    let flow = this.#heads[this.#bucket(protocol, guestAddress, guestPort, address, port)]!;
    while (flow >= 0) {
      if (
        this.guestPort[flow] === guestPort &&
        this.address[flow] === address &&
        this.port[flow] === port &&
        this.guestAddress[flow] === guestAddress &&
        this.guestMacLow[flow] === macLow &&
        this.guestMacHigh[flow] === macHigh &&
        this.protocol[flow] === protocol
      ) {
        break;
      }
      flow = this.#nexts[flow]!;
    }
    return flow;
  }

  /** @returns the number of a new flow, or -1 when there is no room for one of this guest */
  add(
    protocol: number,
    macHigh: number,
    macLow: number,
    guestAddress: number,
    guestPort: number,
    address: number,
    port: number,
    state: number,
    nowMs: number,
  ): number {
    const guest = macNumber(macHigh, macLow);
    if (this.#isFull(guest)) this.#sweep(nowMs);
    if (this.#isFull(guest)) return -1;
    const flow = this.#free[this.#freeHead]!;
    this.#freeHead = (this.#freeHead + 1) % mostFlows;
    this.#freeCount--;
    this.#ofGuest.set(guest, (this.#ofGuest.get(guest) ?? 0) + 1);
    this.protocol[flow] = protocol;
    this.guestMacHigh[flow] = macHigh;
    this.guestMacLow[flow] = macLow;
    this.guestAddress[flow] = guestAddress;
    this.guestPort[flow] = guestPort;
    this.address[flow] = address;
    this.port[flow] = port;
    this.state[flow] = state;
    this.#seenMs[flow] = nowMs;
    const bucket = this.#bucket(protocol, guestAddress, guestPort, address, port);
    this.#nexts[flow] = this.#heads[bucket]!;
    this.#heads[bucket] = flow;
    return flow;
  }

  /** The flow of an answer: whose port outside it came to, if it came from whom that flow speaks with; or -1. */
  ofAnswer(protocol: number, outsidePort: number, address: number, port: number): number {
    const flow = outsidePort - firstPort;
    if (flow < 0 || flow >= mostFlows || this.state[flow] === flowStates.free) return -1;
    const isItsOwn =
      this.protocol[flow] === protocol && this.address[flow] === address && this.port[flow] === port;
    return isItsOwn ? flow : -1;
  }

  /** A frame of the flow went by. */
  touch(flow: number, nowMs: number): void {
    this.#seenMs[flow] = nowMs;
  }

  clear(): void {
    for (let flow = 0; flow < mostFlows; flow++) if (this.state[flow] !== flowStates.free) this.#remove(flow);
  }

  #isFull(guest: number): boolean {
    return this.#freeCount === 0 || (this.#ofGuest.get(guest) ?? 0) >= mostOfOneGuest;
  }

  /** Frees flows that were silent for too long. */
  #sweep(nowMs: number): void {
    if (nowMs - this.#sweptMs < sweepEveryMs) return;
    this.#sweptMs = nowMs;
    for (let flow = 0; flow < mostFlows; flow++) {
      const state = this.state[flow]!;
      if (state !== flowStates.free && nowMs - this.#seenMs[flow]! > lifetimesMs[state]!) this.#remove(flow);
    }
  }

  #remove(flow: number): void {
    const bucket = this.#bucket(
      this.protocol[flow]!,
      this.guestAddress[flow]!,
      this.guestPort[flow]!,
      this.address[flow]!,
      this.port[flow]!,
    );
    if (this.#heads[bucket] === flow) this.#heads[bucket] = this.#nexts[flow]!;
    else {
      let before = this.#heads[bucket]!;
      while (this.#nexts[before] !== flow) before = this.#nexts[before]!;
      this.#nexts[before] = this.#nexts[flow]!;
    }
    this.state[flow] = flowStates.free;
    this.#free[(this.#freeHead + this.#freeCount) % mostFlows] = flow;
    this.#freeCount++;
    const guest = macNumber(this.guestMacHigh[flow]!, this.guestMacLow[flow]!);
    const left = this.#ofGuest.get(guest)! - 1;
    if (left === 0) this.#ofGuest.delete(guest);
    else this.#ofGuest.set(guest, left);
  }

  #bucket(protocol: number, guestAddress: number, guestPort: number, address: number, port: number): number {
    let hash = Math.imul(this.#salt ^ guestAddress, 0x9e3779b1);
    hash = Math.imul((hash ^ (hash >>> 15)) + address, 0x85ebca6b);
    hash = Math.imul((hash ^ (hash >>> 13)) + ((guestPort << 16) | port), 0xc2b2ae35);
    hash = Math.imul((hash ^ (hash >>> 16)) + protocol, 0x27d4eb2f);
    return (hash ^ (hash >>> 15)) & (bucketCount - 1);
  }
}

function macNumber(high: number, low: number): number {
  return high * 2 ** 32 + low;
}
