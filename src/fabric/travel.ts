/**
 * The way of a frame through the fabric, from its port's link on: from switch to switch, held where links delay it,
 * to the ports that it is for. Nothing is allocated for a frame.
 *
 * One frame is in work at a time; its bytes lie in the pool's region, in a slot once something holds it. Links that do
 * nothing to a frame are passed at once, others put it into the wheel.
 */

import type { FabricClock } from './clock.ts';
import { type DhcpResponder, isForDhcp, longestDhcpAnswerBytes } from './dhcp.ts';
import { type Direction, lostToChance, lostToQueue } from './direction.ts';
import { drop } from './drops.ts';
import { EventWheel } from './event-wheel.ts';
import { FramePool } from './frame-pool.ts';
import { isForIpv6Routers } from './ipv6-routers.ts';
import { MacTable } from './mac-table.ts';
import type { Switch } from './network.ts';
import type { Port } from './port.ts';

/** The root of a frame that does not follow a tree. */
export const noTree = -1;
/**
 * Added to the root of a frame that came by a trunk: it goes to no other trunk, since each host has one to every other
 * (or frames to everybody would go round for ever).
 */
export const byTrunk = 0x10000;

const dhcpAnswer = Buffer.alloc(longestDhcpAnswerBytes);

export class Travel {
  readonly pool: FramePool;
  readonly clock: FabricClock;
  readonly wheel = new EventWheel();
  readonly macs = new MacTable();
  /** By number; what is at free numbers is of no meaning. */
  readonly directions: Direction[] = [];
  readonly ports: Port[] = [];
  /** Of the frames that are taken in together, or fire together. */
  nowNs = 0;
  /** What is taken in while time stands still is held where it comes in. */
  isFrozen = false;

  readonly #bytes: Buffer;
  readonly #view: DataView;
  /** The frame in work. The slot is -1 while nobody holds the frame. */
  #offset = 0;
  #length = 0;
  #slot = -1;
  readonly #answers: { port: Port; frame: Buffer }[] = [];
  /** Directions that it leaves at this moment, and the roots of their trees. */
  readonly #leaving: Direction[] = [];
  readonly #leavingRoots: number[] = [];
  #leavingCount = 0;
  /** For `#visitChild`, which is given one number only. */
  #childRoot = noTree;
  #childTimeNs = 0;

  constructor(pool: FramePool, clock: FabricClock) {
    this.pool = pool;
    this.clock = clock;
    this.#bytes = pool.bytes;
    this.#view = pool.view;
  }

  /** Looks at the clock, and delivers what is due before anything new is taken in. */
  begin(): void {
    this.nowNs = this.clock.now();
    this.isFrozen = this.clock.isFrozen;
    if (!this.isFrozen) this.wheel.advance(this.nowNs, this.#fire);
  }

  /**
   * Delivers what is due.
   * @param budget about how many frames at most
   * @returns whether all that is due was delivered
   */
  advance(budget?: number): boolean {
    if (this.clock.isFrozen) return true;
    this.isFrozen = false;
    this.nowNs = this.clock.now();
    return this.wheel.advance(this.nowNs, this.#fire, budget);
  }

  /**
   * Brings a frame on its way that has just come onto a direction. Its bytes may be overwritten afterwards.
   * @param root index of the switch from which it goes to everybody, with `byTrunk` where it came by one; or `noTree`
   */
  send(direction: Direction, root: number, offset: number, length: number): void {
    this.#offset = offset;
    this.#length = length;
    this.#slot = -1;
    this.#enter(direction, root, this.nowNs);
    this.#finish(this.nowNs);
  }

  /** Puts a frame of a checkpoint back on its way. @returns false when there are too many */
  restoreHeld(direction: Direction, deadlineNs: number, root: number, slot: number): boolean {
    return this.#hold(direction, deadlineNs, root, slot);
  }

  /** Forgets all that is on its way. */
  dropHeld(): void {
    for (const { slot } of this.wheel.events()) this.pool.release(slot);
    this.wheel.clear();
    for (const direction of this.directions) {
      direction.heldFrames = 0;
      direction.heldBytes = 0;
    }
  }

  /** The frame in work comes onto a direction. When that holds nothing up, it is put on the list of those to leave. */
  #enter(direction: Direction, root: number, timeNs: number): void {
    direction.frames++;
    direction.bytes += this.#length;
    if (direction.observer !== undefined && direction.isOut) this.#observe(direction);
    if (direction.isCut) {
      this.#drop(direction, drop.cut);
      return;
    }
    const isEmpty = direction.heldFrames === 0 && !this.isFrozen;
    if (!direction.isShaped && isEmpty) {
      this.#pushLeaving(direction, root);
      return;
    }
    const copies = direction.plan(timeNs, this.#length);
    if (copies < 0) {
      if (copies === lostToQueue) this.#drop(direction, drop.queue);
      if (copies === lostToChance) this.#drop(direction, drop.loss);
      return;
    }
    // What is not delayed may still not overtake what is.
    if (direction.firstNs <= timeNs && (isEmpty || (direction.isAhead && !this.isFrozen)))
      this.#pushLeaving(direction, root);
    else this.#holdInWork(direction, direction.firstNs, root);
    if (copies === 2) {
      if (direction.secondNs <= timeNs && isEmpty) this.#pushLeaving(direction, root);
      else this.#holdInWork(direction, direction.secondNs, root);
    }
  }

  #pushLeaving(direction: Direction, root: number): void {
    const at = this.#leavingCount++;
    this.#leaving[at] = direction;
    this.#leavingRoots[at] = root;
  }

  /** Follows the frame in work until it is delivered, held or dropped everywhere. */
  #finish(timeNs: number): void {
    while (this.#leavingCount > 0) {
      const at = --this.#leavingCount;
      const direction = this.#leaving[at]!;
      const root = this.#leavingRoots[at]!;
      if (direction.toPort !== undefined) {
        this.#deliver(direction, direction.toPort);
        continue;
      }
      direction.deliveredFrames++;
      direction.deliveredBytes += this.#length;
      if (direction.observer !== undefined && !direction.isOut) this.#observe(direction);
      if (root === noTree) this.#forward(direction, timeNs);
      else this.#flood(direction, root, timeNs);
    }
    if (this.#slot >= 0) {
      this.pool.release(this.#slot);
      this.#slot = -1;
    }
    if (this.#answers.length > 0) this.#sendAnswers(timeNs);
  }

  /** What a switch itself has to say, after the frame that it answers has gone its way. */
  #sendAnswers(timeNs: number): void {
    for (const { port, frame } of this.#answers.splice(0)) {
      // Nothing is at work, so the place of frames from elsewhere is free.
      frame.copy(this.#bytes, 0);
      this.#offset = 0;
      this.#length = frame.length;
      this.#enter(port.in, noTree, timeNs);
      this.#finish(timeNs);
    }
  }

  #deliver(direction: Direction, port: Port): void {
    if (!port.isConnected) {
      this.#drop(direction, drop.detached);
      return;
    }
    if (!port.end.send(this.#bytes, this.#offset, this.#length)) {
      this.#drop(direction, drop.overflow);
      return;
    }
    direction.deliveredFrames++;
    direction.deliveredBytes += this.#length;
    if (direction.observer !== undefined) this.#observe(direction);
  }

  /** The frame in work has come to the switch that `from` leads to; its way is that to its destination. */
  #forward(from: Direction, timeNs: number): void {
    const at = from.toSwitch!;
    const destinationHi = this.#view.getUint16(this.#offset);
    const destinationLo = this.#view.getUint32(this.#offset + 2);
    const entry = this.macs.find(at.network.id, destinationHi, destinationLo);
    if (entry < 0) {
      // Forgotten on the way: from here to everybody.
      this.#flood(from, at.index, timeNs);
      return;
    }
    const port = this.ports[this.macs.port(entry)]!;
    if (port.switch === at) {
      this.#enter(port.in, noTree, timeNs);
      return;
    }
    const sourceLo = this.#view.getUint32(this.#offset + 8);
    const sourceHi = this.#view.getUint16(this.#offset + 6);
    const hash =
      Math.imul(destinationLo ^ (destinationHi << 16), 0x9e3779b1) ^
      Math.imul(sourceLo ^ (sourceHi << 16), 0x85ebca6b);
    const next = at.network.routes.next(at.index, port.switch.index, hash);
    if (next < 0) this.#drop(from, drop.unreachable);
    else this.#enter(this.directions[next]!, noTree, timeNs);
  }

  /** As `#forward`, for a frame to everybody: along the tree of shortest paths from the switch `root`. */
  #flood(from: Direction, root: number, timeNs: number): void {
    const at = from.toSwitch!;
    const back = from.id ^ 1;
    const { dhcp } = at.network;
    // Where it came in, and nowhere else; what came by a trunk has been answered there.
    if (dhcp !== undefined && root === at.index && isForDhcp(this.#bytes, this.#offset, this.#length)) {
      this.#askDhcp(at, dhcp);
    }
    const isForRouters = isForIpv6Routers(this.#view, this.#offset, this.#length);
    for (const port of at.ports) {
      if (port.in.id === back || (port.isTrunk && root >= byTrunk)) continue;
      if (port.isIpv6Router || !isForRouters) this.#enter(port.in, root, timeNs);
    }
    if (at.network.switches.length === 1) return;
    this.#childRoot = root;
    this.#childTimeNs = timeNs;
    at.network.routes.children(at.index, root & (byTrunk - 1), this.#visitChild);
  }

  #askDhcp(at: Switch, dhcp: DhcpResponder): void {
    const length = dhcp.answer(this.#bytes, this.#offset, this.#length, dhcpAnswer);
    if (length === 0) return;
    const hi = this.#view.getUint16(this.#offset + 6);
    const lo = this.#view.getUint32(this.#offset + 8);
    const entry = this.macs.find(at.network.id, hi, lo);
    const port = entry < 0 ? undefined : this.ports[this.macs.port(entry)];
    if (port?.switch === at) this.#answers.push({ port, frame: Buffer.from(dhcpAnswer.subarray(0, length)) });
  }

  readonly #visitChild = (direction: number): void => {
    this.#enter(this.directions[direction]!, this.#childRoot, this.#childTimeNs);
  };

  #holdInWork(direction: Direction, deadlineNs: number, root: number): void {
    const isHeld = this.#slot >= 0;
    const bytes = isHeld ? this.pool.slotBytes(this.#slot) : FramePool.slotBytesFor(this.#length);
    if (!this.#hasRoom(direction, bytes)) {
      this.#drop(direction, drop.memory);
      return;
    }
    if (!isHeld) {
      const slot = this.pool.allocate(this.#length);
      if (slot < 0) {
        this.#drop(direction, drop.memory);
        return;
      }
      const to = this.pool.offset(slot);
      this.#bytes.copyWithin(to, this.#offset, this.#offset + this.#length);
      this.#offset = to;
      this.#slot = slot;
    }
    if (!this.#hold(direction, deadlineNs, root, this.#slot)) this.#drop(direction, drop.memory);
  }

  #hold(direction: Direction, deadlineNs: number, root: number, slot: number): boolean {
    if (!this.wheel.insert(deadlineNs, direction.id, slot, root)) return false;
    this.pool.hold(slot);
    direction.heldFrames++;
    direction.heldBytes += this.pool.slotBytes(slot);
    return true;
  }

  /**
   * One direction may hold as much as is free: so one that hoards gets half of the memory, ten get 10/11, and some is
   * left for others always. Source: A. K. Choudhury and E. L. Hahne, "Dynamic queue length thresholds for
   * shared-memory packet switches", IEEE/ACM Transactions on Networking 6(2), 1998.
   */
  #hasRoom(direction: Direction, bytes: number): boolean {
    return direction.heldBytes + bytes <= this.pool.freeBytes;
  }

  readonly #fire = (id: number, slot: number, root: number, deadlineNs: number): void => {
    const direction = this.directions[id]!;
    direction.heldFrames--;
    direction.heldBytes -= this.pool.slotBytes(slot);
    this.#slot = slot;
    this.#offset = this.pool.offset(slot);
    this.#length = this.pool.length(slot);
    this.#pushLeaving(direction, root);
    // Time goes on from when the frame was due, not from when its turn came: delays of a way do not add up errors.
    this.#finish(deadlineNs);
  };

  #drop(direction: Direction, reason: number): void {
    direction.dropped[reason] = direction.dropped[reason]! + 1;
  }

  #observe(direction: Direction): void {
    const { clock } = this;
    direction.observer!.observe(
      clock.seconds(this.nowNs),
      clock.nanoseconds(this.nowNs),
      this.#bytes,
      this.#offset,
      this.#length,
    );
  }
}
