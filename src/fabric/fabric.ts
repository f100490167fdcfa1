/**
 * The fabric at work: takes frames from ports, checks and counts them, and hands them on; travel.ts brings those on
 * their way that meet anything on it. Here is the path of every frame, so nothing is allocated for one. What the graph
 * is, and how it changes, is in graph.ts.
 */

import { FabricClock } from './clock.ts';
import type { FabricEvent } from './control.ts';
import type { Direction } from './direction.ts';
import { drop, dropReasons } from './drops.ts';
import type { EventWheel } from './event-wheel.ts';
import { FramePool } from './frame-pool.ts';
import { ipv6GroupHi, showsIpv6Router } from './ipv6-routers.ts';
import { type Learning, learnSource } from './learning.ts';
import type { MacTable } from './mac-table.ts';
import { countRefused, type Port, shortestFrameBytes } from './port.ts';
import { TrafficMatrix } from './traffic-matrix.ts';
import { byTrunk, noTree, Travel } from './travel.ts';

/** Longest frame that any network can have: 65,535 bytes of payload, header, tag and check sequence. */
export const largestFrameBytes = 65553;
/** Where frames from buffers that are not the pool's are put while they are in work. */
const stagingBytes = 131072;
/** Destination, in the matrix, of frames to everybody. */
export const everybody = -1;

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
  readonly clock: FabricClock;
  readonly travel: Travel;
  readonly wheel: EventWheel;
  readonly macs: MacTable;
  readonly matrix: TrafficMatrix;
  readonly directions: Direction[];
  readonly ports: Port[];
  /** Where the read buffer begins in the pool's region. */
  readonly readBufferOffset = stagingBytes;
  onEvent: (event: FabricEvent) => void;
  onWork: () => void;
  /** Whose traffic an address behind a trunk is; graph.ts sets it. */
  endpointFor: (port: Port, hi: number, lo: number) => number = (port) => port.endpoint;

  readonly #bytes: Buffer;
  readonly #view: DataView;
  /** A frame is being taken in or delivered: there is room for one only. */
  #isInWork = false;
  /** Of the frames that are to be handed on directly. */
  #sourceEndpoint = 0;
  #destinationEndpoint = 0;
  readonly #learning: Learning;

  constructor(options: FabricOptions = {}) {
    this.pool = new FramePool(
      options.memoryLimitBytes ?? 256 * 2 ** 20,
      stagingBytes + (options.readBufferBytes ?? 0),
    );
    this.clock = options.clock ?? new FabricClock();
    this.travel = new Travel(this.pool, this.clock);
    const { wheel, macs, directions, ports } = this.travel;
    this.wheel = wheel;
    this.macs = macs;
    this.directions = directions;
    this.ports = ports;
    this.#learning = {
      macs,
      portOf: (id) => ports[id]!,
      endpointFor: (port, hi, lo) => this.endpointFor(port, hi, lo),
    };
    this.matrix = new TrafficMatrix(options.matrixHalfLifeMs);
    this.#bytes = this.pool.bytes;
    this.#view = this.pool.view;
    this.onEvent = options.onEvent ?? (() => {});
    this.onWork = options.onWork ?? (() => {});
  }

  /** Takes a frame in from a port. */
  receive(port: Port, buffer: Buffer, offset: number, length: number): void {
    if (this.#isInWork) {
      this.#receiveLater(port, Buffer.from(buffer.subarray(offset, offset + length)));
      return;
    }
    this.#isInWork = true;
    try {
      this.travel.begin();
      let at = offset;
      if (buffer !== this.#bytes) {
        at = 0;
        // Of a giant only the length is looked at.
        if (length <= stagingBytes) buffer.copy(this.#bytes, 0, offset, offset + length);
      }
      const target = this.#take(port, at, length);
      if (target !== undefined) this.#sendDirectly(port, target, at, length);
    } finally {
      this.#isInWork = false;
    }
    this.onWork();
  }

  /**
   * Takes frames in, each after its length; see `PortSink.frames`. Frames that follow one another from one sender to
   * one receiver, with nothing on their way, are handed on in one piece, as they came.
   */
  receiveMany(port: Port, buffer: Buffer, offset: number, bytes: number): number {
    if (buffer !== this.#bytes || this.#isInWork) return this.#receiveEach(port, buffer, offset, bytes);
    this.#isInWork = true;
    try {
      return this.#receiveRuns(port, offset, bytes);
    } finally {
      this.#isInWork = false;
      this.onWork();
    }
  }

  /** See `Travel.advance`. */
  advance(budget?: number): boolean {
    this.#isInWork = true;
    try {
      return this.travel.advance(budget);
    } finally {
      this.#isInWork = false;
    }
  }

  #receiveRuns(port: Port, offset: number, bytes: number): number {
    this.travel.begin();
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
    return at - offset;
  }

  /** Counts frames of a port that were not let in, and tells of them now and then. */
  refuse(port: Port, reason: number, frames: number, bytes: number): void {
    port.out.frames += frames;
    port.out.bytes += bytes;
    const count = countRefused(
      port,
      reason,
      frames,
      this.clock.isFrozen ? this.travel.nowNs : this.clock.now(),
    );
    if (count > 0) {
      const event = { link: port.name, kind: 'dropping', reason: dropReasons[reason]!, count } as const;
      this.onEvent({ atMs: Date.now(), ...event });
    }
  }

  /** An end answered a frame before it had taken it: its answer comes when the work at hand is done. */
  #receiveLater(port: Port, frame: Buffer): void {
    setImmediate(() => {
      if (this.ports[port.id] === port) this.receive(port, frame, 0, frame.length);
    });
  }

  #receiveEach(port: Port, buffer: Buffer, offset: number, bytes: number): number {
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
    const sourceHi = view.getUint16(offset + 6);
    const sourceLo = view.getUint32(offset + 8);
    let source = port.sourceEntry;
    if (source < 0 || sourceLo !== port.sourceLo || sourceHi !== port.sourceHi) {
      const type = view.getUint16(offset + 12);
      source = learnSource(this.#learning, port, sourceHi, sourceLo, type, this.travel.nowNs);
      if (source < 0) {
        this.refuse(port, -1 - source, 1, length);
        return undefined;
      }
      port.sourceEntry = source;
      port.sourceHi = sourceHi;
      port.sourceLo = sourceLo;
    }
    this.macs.touch(source, this.travel.nowNs);
    const sourceEndpoint = this.macs.endpoint(source);
    const destinationHi = view.getUint16(offset);
    const found =
      (destinationHi & 0x0100) === 0
        ? this.macs.find(port.network.id, destinationHi, view.getUint32(offset + 2))
        : -1;
    if (found < 0) {
      if (!port.storm.take(this.travel.nowNs)) {
        this.refuse(port, drop.storm, 1, length);
        return undefined;
      }
      if (destinationHi === ipv6GroupHi && !port.isIpv6Router)
        port.isIpv6Router = showsIpv6Router(view, offset, length);
      this.matrix.add(this.matrix.row(sourceEndpoint, everybody), 1, length, this.travel.nowNs);
      this.travel.send(port.out, port.switch.index + (port.isTrunk ? byTrunk : 0), offset, length);
      return undefined;
    }
    const target = this.ports[this.macs.port(found)]!;
    if (target === port || (port.isTrunk && target.isTrunk)) {
      this.refuse(port, drop['own-port'], 1, length);
      return undefined;
    }
    const destinationEndpoint = this.macs.endpoint(found);
    if (
      !this.travel.isFrozen &&
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
    this.matrix.add(this.matrix.row(sourceEndpoint, destinationEndpoint), 1, length, this.travel.nowNs);
    this.travel.send(port.out, noTree, offset, length);
    return undefined;
  }

  #sendDirectly(port: Port, target: Port, offset: number, length: number): void {
    const taken = target.end.send(this.#bytes, offset, length) ? 1 : 0;
    this.#countDirect(port, target, 1, length, taken, taken * length);
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
      this.travel.nowNs,
    );
  }
}

/** Whether frames pass a direction unseen and unchanged. */
function isPlain(direction: Direction): boolean {
  return (
    !direction.isShaped && !direction.isCut && direction.heldFrames === 0 && direction.observer === undefined
  );
}
