/**
 * The fabric at work: takes frames from ports, finds their way from switch to switch, holds those that links delay, and
 * hands them to ports. Here is the path of every frame, so nothing is allocated for one. What the graph is, and how it
 * changes, is in graph.ts.
 *
 * One frame is in work at a time; its bytes lie in the pool's region, in a slot once something holds it. Links that do
 * nothing to a frame are passed at once, others put it into the wheel.
 */

import { FabricClock } from './clock.ts';
import type { FabricEvent } from './control.ts';
import type { Direction } from './direction.ts';
import { lostToChance, lostToQueue } from './direction.ts';
import { drop, dropReasons } from './drops.ts';
import { EventWheel } from './event-wheel.ts';
import { FramePool } from './frame-pool.ts';
import { learnSource } from './learning.ts';
import { MacTable } from './mac-table.ts';
import { countRefused, type Port, shortestFrameBytes } from './port.ts';
import { TrafficMatrix } from './traffic-matrix.ts';

/** Longest frame that any network can have: 65,535 bytes of payload, header, tag and check sequence. */
export const largestFrameBytes = 65553;
/** Where frames from buffers that are not the pool's are put while they are in work. */
const stagingBytes = 131072;
/** Destination, in the matrix, of frames to everybody. */
export const everybody = -1;
/** The root of a frame that does not follow a tree. */
const noTree = -1;
/**
 * Added to the root of a frame that came by a trunk: it goes to no other trunk, since each host has one to every other
 * (or frames to everybody would go round for ever).
 */
const byTrunk = 0x10000;

export interface FabricOptions {
  memoryLimitBytes?: number;
  matrixHalfLifeMs?: number;
  clock?: FabricClock;
  /** Bytes at the start of the pool's region, after the fabric's own, for whoever reads sockets. */
  readBufferBytes?: number;
  onEvent?: (event: FabricEvent) => void;
  /** There is something to advance or to write: called often, must cost nothing. */
  onWork?: () => void;
}

export class Fabric {
  readonly pool: FramePool;
  readonly wheel = new EventWheel();
  readonly clock: FabricClock;
  readonly macs = new MacTable();
  readonly matrix: TrafficMatrix;
  /** Where the read buffer begins in the pool's region. */
  readonly readBufferOffset = stagingBytes;
  /** By number; holes are free numbers. */
  readonly directions: Direction[] = [];
  readonly ports: Port[] = [];
  onEvent: (event: FabricEvent) => void;
  onWork: () => void;
  /** Whose traffic an address behind a trunk is; graph.ts sets it. */
  endpointFor: (port: Port, hi: number, lo: number) => number = (port) => port.endpoint;

  readonly #bytes: Buffer;
  readonly #view: DataView;
  /** Of the frames that are taken in together, or fire together. */
  #nowNs = 0;
  /** What is taken in while time stands still is held where it comes in. */
  #isFrozen = false;
  /** The frame in work. The slot is -1 while nobody holds the frame. */
  #offset = 0;
  #length = 0;
  #slot = -1;
  /** Directions that it leaves at this moment, and the roots of their trees. */
  readonly #leaving: Direction[] = [];
  readonly #leavingRoots: number[] = [];
  #leavingCount = 0;
  /** For `#visitChild`, which is given one number only. */
  #childRoot = noTree;
  #childTimeNs = 0;
  /** Of the frames that are to be handed on directly. */
  #sourceEndpoint = 0;
  #destinationEndpoint = 0;
  readonly #learning = {
    macs: this.macs,
    portOf: (id: number) => this.ports[id]!,
    endpointFor: (port: Port, hi: number, lo: number) => this.endpointFor(port, hi, lo),
  };

  constructor(options: FabricOptions = {}) {
    this.pool = new FramePool(
      options.memoryLimitBytes ?? 256 * 2 ** 20,
      stagingBytes + (options.readBufferBytes ?? 0),
    );
    this.clock = options.clock ?? new FabricClock();
    this.matrix = new TrafficMatrix(options.matrixHalfLifeMs);
    this.#bytes = this.pool.bytes;
    this.#view = this.pool.view;
    this.onEvent = options.onEvent ?? (() => {});
    this.onWork = options.onWork ?? (() => {});
  }

  /** Takes a frame in from a port. */
  receive(port: Port, buffer: Buffer, offset: number, length: number): void {
    this.#begin();
    let at = offset;
    if (buffer !== this.#bytes) {
      at = 0;
      // Of a giant only the length is looked at.
      if (length <= stagingBytes) buffer.copy(this.#bytes, 0, offset, offset + length);
    }
    const target = this.#take(port, at, length);
    if (target !== undefined) this.#sendDirectly(port, target);
    this.onWork();
  }

  /**
   * Takes frames in, each after its length; see `PortSink.frames`. Frames that follow one another from one sender to
   * one receiver, with nothing on their way, are handed on in one piece, as they came.
   */
  receiveMany(port: Port, buffer: Buffer, offset: number, bytes: number): number {
    if (buffer !== this.#bytes) return this.#receiveForeign(port, buffer, offset, bytes);
    this.#begin();
    const view = this.#view;
    const end = offset + bytes;
    const longest = port.longestFrameBytes;
    let at = offset;
    let target: Port | undefined;
    let runStart = 0;
    let runFrames = 0;
    // Destination and source of the run.
    let word0 = 0;
    let word1 = 0;
    let word2 = 0;
    while (end - at >= 4) {
      const length = view.getUint32(at);
      const frame = at + 4;
      if (length > largestFrameBytes || length > end - frame) break;
      if (target !== undefined) {
        if (
          length >= shortestFrameBytes &&
          length <= longest &&
          view.getInt32(frame) === word0 &&
          view.getInt32(frame + 4) === word1 &&
          view.getInt32(frame + 8) === word2
        ) {
          runFrames++;
          at = frame + length;
          continue;
        }
        this.#sendRun(port, target, runStart, at, runFrames);
      }
      target = this.#take(port, frame, length);
      if (target !== undefined) {
        runStart = at;
        runFrames = 1;
        word0 = view.getInt32(frame);
        word1 = view.getInt32(frame + 4);
        word2 = view.getInt32(frame + 8);
      }
      at = frame + length;
    }
    if (target !== undefined) this.#sendRun(port, target, runStart, at, runFrames);
    this.onWork();
    return at - offset;
  }

  /**
   * Delivers what is due.
   * @param budget about how many frames at most
   * @returns whether all that is due was delivered
   */
  advance(budget?: number): boolean {
    if (this.clock.isFrozen) return true;
    this.#isFrozen = false;
    this.#nowNs = this.clock.now();
    return this.wheel.advance(this.#nowNs, this.#fire, budget);
  }

  /** Counts frames of a port that were not let in, and tells of them now and then. */
  refuse(port: Port, reason: number, frames: number, bytes: number): void {
    port.out.frames += frames;
    port.out.bytes += bytes;
    const count = countRefused(port, reason, frames, this.clock.isFrozen ? this.#nowNs : this.clock.now());
    if (count > 0) {
      const event = { link: port.name, kind: 'dropping', reason: dropReasons[reason]!, count } as const;
      this.onEvent({ atMs: Date.now(), ...event });
    }
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

  #begin(): void {
    this.#nowNs = this.clock.now();
    this.#isFrozen = this.clock.isFrozen;
    if (!this.#isFrozen) this.wheel.advance(this.#nowNs, this.#fire);
  }

  #receiveForeign(port: Port, buffer: Buffer, offset: number, bytes: number): number {
    const end = offset + bytes;
    let at = offset;
    while (end - at >= 4) {
      const length = buffer.readUInt32BE(at);
      if (length > largestFrameBytes || length > end - at - 4) break;
      this.receive(port, buffer, at + 4, length);
      at += 4 + length;
    }
    return at - offset;
  }

  /**
   * Checks a frame of a port and brings it on its way.
   * @returns the port that it is for, when nothing is on the way there: the caller must then hand it on
   */
  #take(port: Port, offset: number, length: number): Port | undefined {
    if (length < shortestFrameBytes || length > port.longestFrameBytes) {
      this.refuse(port, length < shortestFrameBytes ? drop.runt : drop.giant, 1, length);
      return undefined;
    }
    const view = this.#view;
    this.#offset = offset;
    this.#length = length;
    this.#slot = -1;
    const sourceHi = view.getUint16(offset + 6);
    const sourceLo = view.getUint32(offset + 8);
    let source = port.sourceEntry;
    if (source < 0 || sourceLo !== port.sourceLo || sourceHi !== port.sourceHi) {
      const type = view.getUint16(offset + 12);
      source = learnSource(this.#learning, port, sourceHi, sourceLo, type, this.#nowNs);
      if (source < 0) {
        this.refuse(port, -1 - source, 1, length);
        return undefined;
      }
      port.sourceEntry = source;
      port.sourceHi = sourceHi;
      port.sourceLo = sourceLo;
    }
    this.macs.touch(source, this.#nowNs);
    const sourceEndpoint = this.macs.endpoint(source);
    const destinationHi = view.getUint16(offset);
    const found =
      (destinationHi & 0x0100) === 0
        ? this.macs.find(port.network.id, destinationHi, view.getUint32(offset + 2))
        : -1;
    if (found < 0) {
      if (!port.storm.take(this.#nowNs)) {
        this.refuse(port, drop.storm, 1, length);
        return undefined;
      }
      this.matrix.add(this.matrix.row(sourceEndpoint, everybody), 1, length, this.#nowNs);
      this.#enter(port.out, port.switch.index + (port.isTrunk ? byTrunk : 0), this.#nowNs);
      this.#finish(this.#nowNs);
      return undefined;
    }
    const target = this.ports[this.macs.port(found)]!;
    if (target === port || (port.isTrunk && target.isTrunk)) {
      this.refuse(port, drop['own-port'], 1, length);
      return undefined;
    }
    const destinationEndpoint = this.macs.endpoint(found);
    if (
      !this.#isFrozen &&
      port.switch === target.switch &&
      isPlain(port.out) &&
      isPlain(target.in) &&
      target.isConnected &&
      target.end.sendRun !== undefined
    ) {
      this.#sourceEndpoint = sourceEndpoint;
      this.#destinationEndpoint = destinationEndpoint;
      return target;
    }
    this.matrix.add(this.matrix.row(sourceEndpoint, destinationEndpoint), 1, length, this.#nowNs);
    this.#enter(port.out, noTree, this.#nowNs);
    this.#finish(this.#nowNs);
    return undefined;
  }

  #sendDirectly(port: Port, target: Port): void {
    const taken = target.end.send(this.#bytes, this.#offset, this.#length) ? 1 : 0;
    this.#countDirect(port, target, 1, this.#length, taken, taken * this.#length);
  }

  #sendRun(port: Port, target: Port, start: number, end: number, frames: number): void {
    const taken = target.end.sendRun!(this.#bytes, start, end - start);
    const bytes = end - start - 4 * frames;
    let missing = 0;
    let missingBytes = 0;
    for (let at = start + taken; at < end; missing++) {
      const length = this.#view.getUint32(at);
      missingBytes += length;
      at += 4 + length;
    }
    this.#countDirect(port, target, frames, bytes, frames - missing, bytes - missingBytes);
  }

  #countDirect(
    port: Port,
    target: Port,
    frames: number,
    bytes: number,
    taken: number,
    takenBytes: number,
  ): void {
    const from = port.out;
    from.frames += frames;
    from.bytes += bytes;
    from.deliveredFrames += frames;
    from.deliveredBytes += bytes;
    const to = target.in;
    to.frames += frames;
    to.bytes += bytes;
    to.deliveredFrames += taken;
    to.deliveredBytes += takenBytes;
    if (taken < frames) to.dropped[drop.overflow] = to.dropped[drop.overflow]! + frames - taken;
    this.matrix.add(
      this.matrix.row(this.#sourceEndpoint, this.#destinationEndpoint),
      frames,
      bytes,
      this.#nowNs,
    );
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
    const isEmpty = direction.heldFrames === 0 && !this.#isFrozen;
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
    if (direction.firstNs <= timeNs && (isEmpty || (direction.isAhead && !this.#isFrozen)))
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
    for (const port of at.ports) {
      if (port.in.id !== back && !(port.isTrunk && root >= byTrunk)) this.#enter(port.in, root, timeNs);
    }
    if (at.network.switches.length === 1) return;
    this.#childRoot = root;
    this.#childTimeNs = timeNs;
    at.network.routes.children(at.index, root & (byTrunk - 1), this.#visitChild);
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
      clock.seconds(this.#nowNs),
      clock.nanoseconds(this.#nowNs),
      this.#bytes,
      this.#offset,
      this.#length,
    );
  }
}

/** Whether frames pass a direction unseen and unchanged. */
function isPlain(direction: Direction): boolean {
  return (
    !direction.isShaped && !direction.isCut && direction.heldFrames === 0 && direction.observer === undefined
  );
}
