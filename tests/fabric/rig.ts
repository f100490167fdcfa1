/** A fabric on paper: time goes on when a test says so, and ends are lists of frames. */

import { FabricClock } from '../../src/fabric/clock.ts';
import type { FabricEvent, LinkState } from '../../src/fabric/control.ts';
import type { FabricPlan, LinkPlan, NetworkPlan, PortPlan, Shape } from '../../src/fabric/plan.ts';
import type { PortEnd, PortSink } from '../../src/fabric/port-end.ts';
import { FabricService, type Means } from '../../src/fabric/service.ts';
import { hostTrunks } from '../../src/fabric/trunk/host-trunks.ts';

export const broadcast = 'ff:ff:ff:ff:ff:ff';

/** The address of the guest with this number. */
export function macOf(guest: number): string {
  return `02:4c:00:00:${(guest >> 8).toString(16).padStart(2, '0')}:${(guest & 255).toString(16).padStart(2, '0')}`;
}

/** An Ethernet frame; the text is its payload. */
export function frameOf(to: string, from: string, text = '', etherType = 0x88b5, bytes = 60): Buffer {
  const frame = Buffer.alloc(Math.max(bytes, 14 + text.length));
  Buffer.from(to.replaceAll(':', ''), 'hex').copy(frame, 0);
  Buffer.from(from.replaceAll(':', ''), 'hex').copy(frame, 6);
  frame.writeUInt16BE(etherType, 12);
  frame.write(text, 14, 'latin1');
  return frame;
}

export function textOf(frame: Buffer): string {
  return frame.toString('latin1', 14).replace(/\0+$/, '');
}

/** As frames are in a stream. */
export function stream(...frames: Buffer[]): Buffer {
  return Buffer.concat(
    frames.flatMap((frame) => {
      const header = Buffer.alloc(4);
      header.writeUInt32BE(frame.length);
      return [header, frame];
    }),
  );
}

/** The other side of a port: keeps what it gets. */
export class FakeEnd implements PortEnd {
  sink!: PortSink;
  readonly got: { atNs: number; frame: Buffer }[] = [];
  isPaused = false;
  isStopped = false;
  /** Frames that it still takes. */
  room = Number.POSITIVE_INFINITY;
  runs = 0;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  start(sink: PortSink): void {
    this.sink = sink;
    sink.connected();
  }

  send(buffer: Buffer, offset: number, length: number): boolean {
    if (this.room-- <= 0) return false;
    this.got.push({ atNs: this.#now(), frame: Buffer.from(buffer.subarray(offset, offset + length)) });
    return true;
  }

  sendRun(buffer: Buffer, offset: number, bytes: number): number {
    this.runs++;
    let at = offset;
    while (at < offset + bytes) {
      const length = buffer.readUInt32BE(at);
      if (!this.send(buffer, at + 4, length)) break;
      at += 4 + length;
    }
    return at - offset;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  stop(): void {
    this.isStopped = true;
  }

  /** Sends a frame into the fabric. */
  emit(frame: Buffer): void {
    this.sink.frame(frame, 0, frame.length);
  }

  get texts(): string[] {
    return this.got.map(({ frame }) => textOf(frame));
  }
}

export function linkPlan(name: string, shapes: { out?: Shape; in?: Shape } = {}): LinkPlan {
  return { name, out: shapes.out ?? {}, in: shapes.in ?? {}, isCut: false };
}

export interface PortOptions {
  out?: Shape;
  in?: Shape;
  switch?: number;
  macs?: number;
  broadcastsPerSecond?: number;
  socketPath?: string;
}

/** The port of guest number `guest`, whose link is `NETWORK/vGUEST`. */
export function portPlan(guest: number, options: PortOptions = {}, network = 'lan'): PortPlan {
  const address = `10.1.${guest >> 8}.${guest & 255}/16`;
  return {
    link: linkPlan(`${network}/v${guest}`, options),
    switch: options.switch ?? 0,
    limits: { macs: options.macs ?? 1, broadcastsPerSecond: options.broadcastsPerSecond ?? 1e6 },
    end: {
      kind: 'guest',
      guest: `v${guest}`,
      socketPath: options.socketPath ?? `/nowhere/v${guest}`,
      interface: { network, name: 'eth0', mac: macOf(guest), address, mtuBytes: 1500 },
    },
  };
}

export function trunkPlan(host: string, macs = 1000, network = 'lan'): PortPlan {
  return {
    link: linkPlan(`${network}/${host}`),
    switch: 0,
    limits: { macs, broadcastsPerSecond: 1e6 },
    end: { kind: 'trunk', host },
  };
}

export function lan(ports: PortPlan[], name = 'lan'): NetworkPlan {
  return { name, subnet: '10.1.0.0/16', mtuBytes: 1500, switches: [name], links: [], ports };
}

export function planOf(...networks: NetworkPlan[]): FabricPlan {
  return { version: 1, name: 'test', seed: 1, networks };
}

export class Rig {
  nowNs = 0;
  readonly service: FabricService;
  readonly ends = new Map<string, FakeEnd>();
  readonly events: FabricEvent[] = [];

  constructor(means: Partial<Means> = {}, memoryLimitBytes?: number) {
    const clock = new FabricClock(
      () => this.nowNs,
      () => 1_700_000_000_000,
    );
    this.service = new FabricService(
      {
        openEnd: (plan) => {
          const end = new FakeEnd(() => this.nowNs);
          this.ends.set(plan.link.name, end);
          return end;
        },
        openCapture: () => {
          throw new Error('no captures here');
        },
        filterOf: async () => undefined,
        trunks: hostTrunks((event) => this.events.push(event)),
        ...means,
      },
      (event) => this.events.push(event),
      { clock, ...(memoryLimitBytes === undefined ? {} : { memoryLimitBytes }) },
    );
  }

  async apply(plan: FabricPlan) {
    return this.service.ask('apply', { plan });
  }

  /** The end of guest number `guest`. */
  end(guest: number | string, network = 'lan'): FakeEnd {
    return this.ends.get(`${network}/${typeof guest === 'number' ? `v${guest}` : guest}`)!;
  }

  /** Lets time go on, in steps of what is due. */
  run(ms: number): void {
    const { fabric } = this.service;
    const endNs = this.nowNs + ms * 1e6;
    for (;;) {
      // The wheel counts fabric time, the rig the time outside.
      const nextNs = this.nowNs + (fabric.wheel.nextNs() - fabric.clock.now());
      if (!(nextNs <= endNs) || fabric.clock.isFrozen) break;
      this.nowNs = Math.max(this.nowNs, nextNs);
      fabric.advance();
    }
    this.nowNs = endNs;
    fabric.advance();
  }

  async link(name: string): Promise<LinkState> {
    return (await this.service.ask('links', { links: [name] }))[0]!;
  }

  /** Sends frames as a guest's socket does: many in one piece, in the memory of the fabric. */
  emitMany(guest: number, frames: Buffer[]): number {
    const { pool, readBufferOffset } = this.service.fabric;
    const bytes = stream(...frames);
    bytes.copy(pool.bytes, readBufferOffset);
    return this.end(guest).sink.frames(pool.bytes, readBufferOffset, bytes.length);
  }
}
