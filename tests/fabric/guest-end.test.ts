import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { FabricEvent } from '../../src/fabric/control.ts';
import { openGuestEnd } from '../../src/fabric/guest-end.ts';
import { FabricService } from '../../src/fabric/service.ts';
import { hostTrunks } from '../../src/fabric/trunk/host-trunks.ts';
import { broadcast, frameOf, lan, macOf, type PortOptions, planOf, portPlan, stream, textOf } from './rig.ts';

/** What a guest's program is to the fabric: it listens, and takes one connection after the other. */
class Guest {
  readonly server: Server;
  readonly texts: string[] = [];
  socket: Socket | undefined;
  connections = 0;
  isReading = true;
  #rest = Buffer.alloc(0);

  constructor(path: string) {
    this.server = createServer((socket) => {
      this.socket = socket;
      this.connections++;
      this.#rest = Buffer.alloc(0);
      if (!this.isReading) socket.pause();
      socket.on('data', (piece) => this.#take(piece));
      socket.on('error', () => {});
    });
    this.server.listen(path);
  }

  close(): void {
    this.socket?.destroy();
    this.server.close();
  }

  #take(piece: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, piece]);
    while (this.#rest.length >= 4) {
      const end = 4 + this.#rest.readUInt32BE(0);
      if (this.#rest.length < end) break;
      this.texts.push(textOf(this.#rest.subarray(4, end)));
      this.#rest = this.#rest.subarray(end);
    }
  }
}

let directory: string;
let service: FabricService;
let events: FabricEvent[];
let guests: Guest[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'lodge-fabric-'));
  events = [];
  guests = [];
  service = new FabricService(
    {
      openEnd: (plan, context, io) => {
        if (plan.end.kind !== 'guest') throw new Error('guests only');
        return openGuestEnd(plan.end, context, io);
      },
      openCapture: () => {
        throw new Error('no captures here');
      },
      filterOf: async () => undefined,
      trunks: hostTrunks(() => {}),
    },
    (event) => events.push(event),
    { memoryLimitBytes: 16 * 2 ** 20 },
  );
});

afterEach(async () => {
  await service.ask('stop', {});
  for (const guest of guests) guest.close();
  rmSync(directory, { recursive: true, force: true });
});

function listen(number: number): Guest {
  const guest = new Guest(join(directory, `v${number}`));
  guests.push(guest);
  return guest;
}

async function lanOf(...options: PortOptions[]): Promise<void> {
  const ports = options.map((option, i) =>
    portPlan(i + 1, { ...option, socketPath: join(directory, `v${i + 1}`) }),
  );
  await service.ask('apply', { plan: planOf(lan(ports)) });
}

/** The far side of guest number `number`, connected. */
async function connected(number: number): Promise<Socket> {
  await vi.waitFor(async () => {
    const [link] = await service.ask('links', { links: [`lan/v${number}`] });
    expect(link!.port!.isConnected).toBe(true);
  });
  return guests[number - 1]!.socket!;
}

async function counters(number: number) {
  return (await service.ask('links', { links: [`lan/v${number}`] }))[0]!;
}

const limits = { timeout: 15_000, interval: 10 };

describe('a port of a guest', () => {
  it('carries frames both ways, in order, however the guest cuts its stream', async () => {
    const [a, b] = [listen(1), listen(2)];
    await lanOf({}, {});
    const [socket] = [await connected(1), await connected(2)];
    const sent = Array.from({ length: 300 }, (_, i) =>
      frameOf(i % 10 === 9 ? broadcast : macOf(2), macOf(1), `${i}`, 0x88b5, 60 + ((i * 97) % 1450)),
    );
    const bytes = stream(...sent);
    for (let at = 0, piece = 1; at < bytes.length; piece = (piece * 7) % 4999) {
      socket.write(bytes.subarray(at, at + piece));
      at += piece;
      if (piece % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await vi.waitFor(() => expect(b.texts).toHaveLength(300), limits);
    expect(b.texts).toEqual(sent.map((_, i) => `${i}`));
    b.socket!.write(stream(frameOf(macOf(1), macOf(2), 'back')));
    await vi.waitFor(() => expect(a.texts).toEqual(['back']), limits);
    expect(service.fabric.pool.usedBytes).toBe(0);
  });

  it('delivers after a delay, woken by a timer', async () => {
    const [, b] = [listen(1), listen(2)];
    await lanOf({ out: { delayMs: 40 } }, {});
    const [socket] = [await connected(1), await connected(2)];
    const begin = performance.now();
    socket.write(stream(frameOf(macOf(2), macOf(1), 'late')));
    await vi.waitFor(() => expect(b.texts).toEqual(['late']), limits);
    expect(performance.now() - begin).toBeGreaterThan(39);
  });

  it('connects to a guest that comes later, and at once when it is told', async () => {
    await lanOf({}, {});
    listen(1);
    await service.ask('connect', { links: ['lan/v1'] });
    await connected(1);
    listen(2);
    await connected(2);
  });

  it('survives a guest that dies in the middle of a frame, and takes it back', async () => {
    const [a, b] = [listen(1), listen(2)];
    await lanOf({}, {});
    const [socket] = [await connected(1), await connected(2)];
    const bytes = stream(
      frameOf(macOf(2), macOf(1), 'whole'),
      frameOf(macOf(2), macOf(1), 'half', 0x88b5, 1500),
    );
    socket.end(bytes.subarray(0, bytes.length - 700));
    await vi.waitFor(() => expect(a.connections).toBe(2), limits);
    (await connected(1)).write(stream(frameOf(macOf(2), macOf(1), 'again')));
    await vi.waitFor(() => expect(b.texts).toEqual(['whole', 'again']), limits);
    expect(service.fabric.pool.usedBytes).toBe(0);
    expect(events.map(({ link, kind }) => `${link} ${kind}`)).toContain('lan/v1 disconnected');
  });

  it('lets go of a guest whose stream is none, tells it, and connects anew', async () => {
    const [a, b] = [listen(1), listen(2)];
    await lanOf({}, {});
    const [socket] = [await connected(1), await connected(2)];
    socket.write(Buffer.concat([stream(frameOf(macOf(2), macOf(1), 'good')), Buffer.alloc(5000, 0xff)]));
    await vi.waitFor(() => expect(a.connections).toBe(2), limits);
    (await connected(1)).write(stream(frameOf(macOf(2), macOf(1), 'better')));
    await vi.waitFor(() => expect(b.texts).toEqual(['good', 'better']), limits);
    expect((await counters(1)).out.dropped).toEqual({ malformed: 1 });
    expect(events.map(({ link, kind }) => `${link} ${kind}`)).toContain('lan/v1 framing-lost');
  });

  it('drops what a guest does not read, in bounds, and gives it whole frames when it reads again', async () => {
    const [, b, c] = [listen(1), listen(2), listen(3)];
    b.isReading = false;
    await lanOf({}, {}, {});
    const [socket] = [await connected(1), await connected(2), await connected(3)];
    const count = 4000;
    const sent = Array.from({ length: count }, (_, i) => frameOf(macOf(2), macOf(1), `${i}`, 0x88b5, 1500));
    socket.write(stream(...sent, frameOf(macOf(3), macOf(1), 'to the other')));
    await vi.waitFor(() => expect(c.texts).toEqual(['to the other']), limits);
    const { in: to } = await counters(2);
    expect(to.deliveredFrames + to.dropped.overflow!).toBe(count);
    expect(to.dropped.overflow).toBeGreaterThan(0);
    expect(service.fabric.pool.usedBytes).toBeLessThanOrEqual(2 * 262_144);
    b.socket!.resume();
    await vi.waitFor(() => expect(b.texts).toHaveLength(to.deliveredFrames), limits);
    expect(b.texts).toEqual(b.texts.toSorted((x, y) => Number(x) - Number(y)));
    await vi.waitFor(() => expect(service.fabric.pool.usedBytes).toBe(0), limits);
  });

  it('gives its memory back when a guest that does not read goes away', async () => {
    const [, b] = [listen(1), listen(2)];
    b.isReading = false;
    await lanOf({}, {});
    const [socket] = [await connected(1), await connected(2)];
    socket.write(
      stream(...Array.from({ length: 2000 }, () => frameOf(macOf(2), macOf(1), '', 0x88b5, 1500))),
    );
    await vi.waitFor(async () => expect((await counters(1)).out.frames).toBe(2000), limits);
    expect(service.fabric.pool.usedBytes).toBeGreaterThan(0);
    b.socket!.destroy();
    await vi.waitFor(() => expect(b.connections).toBe(2), limits);
    expect(service.fabric.pool.usedBytes).toBe(0);
  });

  it('takes nothing in while the fabric is frozen; then all of it', async () => {
    const [, b] = [listen(1), listen(2)];
    await lanOf({}, {});
    const [socket] = [await connected(1), await connected(2)];
    await service.ask('freeze', {});
    socket.write(stream(frameOf(macOf(2), macOf(1), 'frozen')));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await counters(1)).out.frames).toBe(0);
    await service.ask('thaw', {});
    await vi.waitFor(() => expect(b.texts).toEqual(['frozen']), limits);
  });

  it('is drained into a checkpoint', async () => {
    const [, b] = [listen(1), listen(2)];
    await lanOf({}, {});
    const [socket] = [await connected(1), await connected(2)];
    await service.ask('freeze', {});
    await new Promise<void>((resolve) => {
      socket.write(stream(frameOf(macOf(2), macOf(1), 'waits')), () => resolve());
    });
    await service.ask('save', { drainMs: 5000 });
    expect(service.fabric.wheel.count).toBe(1);
    expect(b.texts).toEqual([]);
    await service.ask('thaw', {});
    await vi.waitFor(() => expect(b.texts).toEqual(['waits']), limits);
  });
});
