/**
 * The fabric beside vde_switch (Debian's vde2), and its shapes against what they say.
 *
 * Speed: two endpoints (fabric-endpoint.c, the same program for both switches) on one switch; frames of 64 and 1514
 * bytes, one way and both ways, given to the kernel one by one and 32 at a time; then ping-pong. Each switch is a
 * process of its own, whose CPU time is read from /proc. Counted is what arrives.
 *
 * A second argument, `speed` or `shapes`, runs one part only.
 *
 * Shapes: over a grid of settings, by the fabric's own timestamps of each frame as it comes onto the link and leaves
 * it; the fabric runs in this process, on real time.
 */

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { build } from 'esbuild';
import { judge, median, ownCpuSeconds, rounds, spread } from './measure.mjs';

const count = rounds(5);
const here = dirname(fileURLToPath(import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'lodge-bench-'));
const seconds = 1;
const children = new Set();

function start(program, args, options) {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], ...options });
  children.add(child);
  child.once('exit', () => children.delete(child));
  child.once('error', (error) => {
    throw error;
  });
  return child;
}

/** A child's lines, one after the other. */
function linesOf(child) {
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`${child.spawnfile} ended too early`);
    return value;
  };
}

async function ended(child) {
  child.stdin.end();
  child.kill();
  if (child.exitCode === null && child.signalCode === null)
    await new Promise((resolve) => child.once('exit', resolve));
}

async function bundle(entry) {
  const outfile = join(directory, `${entry}.cjs`);
  const entryPoints = [join(here, `../src/fabric/${entry}.ts`)];
  const define = { 'import.meta.url': 'lodgeFileUrl' };
  const banner = { js: "const lodgeFileUrl = require('node:url').pathToFileURL(__filename).href;" };
  const common = { bundle: true, platform: 'node', format: 'cjs', target: 'node20', logLevel: 'warning' };
  await build({ entryPoints, outfile, ...common, define, banner, minify: true });
  return outfile;
}

/** @returns whether it can join a vde_switch */
function compileEndpoint(path) {
  const args = ['-O2', '-pthread', '-o', path, join(here, 'fabric-endpoint.c')];
  const hasSwitch = spawnSync('vde_switch', ['--version'], { stdio: 'ignore' }).error === undefined;
  if (hasSwitch && spawnSync('gcc', [...args, '-DWITH_VDE', '-lvdeplug'], { stdio: 'ignore' }).status === 0)
    return true;
  execFileSync('gcc', args, { stdio: 'inherit' });
  return false;
}

function guestPort(name, index, shapes = {}, place = directory) {
  const mac = `02:4c:00:00:00:0${index}`;
  const address = `10.1.0.${index}/16`;
  return {
    link: { name: `lan/${name}`, out: shapes.out ?? {}, in: shapes.in ?? {}, isCut: false },
    switch: 0,
    limits: { macs: 1, broadcastsPerSecond: 1000 },
    end: {
      kind: 'guest',
      guest: name,
      socketPath: join(place, name),
      interface: { network: 'lan', name: 'eth0', mac, address, mtuBytes: 1500 },
    },
  };
}

function lanPlan(ports, seed = 1) {
  const network = { name: 'lan', subnet: '10.1.0.0/16', mtuBytes: 1500, switches: ['lan'], links: [], ports };
  return { version: 1, name: 'bench', seed, networks: [network] };
}

const switches = {
  /** lodge's fabric. */
  async lodge(place, endpoints) {
    const joined = endpoints(['stream', join(place, 'a')], ['stream', join(place, 'b')]);
    const plan = lanPlan([guestPort('a', 1, {}, place), guestPort('b', 2, {}, place)]);
    const host = start(process.execPath, [join(here, 'fabric-host.mjs'), worker, JSON.stringify(plan)]);
    await linesOf(host)();
    return { child: host, joined };
  },
  async vde(place, endpoints) {
    const path = join(place, 'switch');
    const child = start('vde_switch', ['-s', path], { stdio: ['pipe', 'ignore', 'ignore'] });
    while (spawnSync('test', ['-S', join(path, 'ctl')]).status !== 0)
      await new Promise((resolve) => setTimeout(resolve, 20));
    return { child, joined: endpoints(['vde', path], ['vde', path]) };
  },
};

let runs = 0;

/** One run of two endpoints on a switch. */
async function run(kind, roles, bytes, batch) {
  const place = join(directory, `run${runs++}`);
  mkdirSync(place);
  const endpoints = (...places) =>
    places.map(([form, where], i) => {
      const addresses = i === 0 ? ['1', '2'] : ['2', '1'];
      const child = start(endpoint, [
        form,
        where,
        roles[i],
        ...addresses,
        `${bytes}`,
        `${batch}`,
        `${seconds}`,
      ]);
      return { child, line: linesOf(child) };
    });
  const { child, joined } = await switches[kind](place, endpoints);
  for (const { line } of joined) await line();
  const cpu = () => ownCpuSeconds(readFileSync(`/proc/${child.pid}/stat`, 'latin1'));
  const before = cpu();
  for (const one of joined.toReversed()) one.child.stdin.write('\n');
  const results = [];
  for (const { line } of joined) results.push(JSON.parse(await line()));
  const cpuSeconds = cpu() - before;
  for (const one of joined) await ended(one.child);
  await ended(child);
  return { results, cpuSeconds };
}

async function flow(kind, isBoth, bytes, batch) {
  const { results, cpuSeconds } = await run(
    kind,
    isBoth ? ['both', 'both'] : ['send', 'receive'],
    bytes,
    batch,
  );
  const receivers = results.filter(({ received }) => received > 0);
  const frames = receivers.reduce((sum, { received }) => sum + received, 0);
  const perSecond = receivers.reduce((sum, one) => sum + one.received / one.seconds, 0);
  return { perSecond, cpuMicroseconds: (cpuSeconds / frames) * 1e6, gigabits: (perSecond * bytes * 8) / 1e9 };
}

async function compareSpeed(peers) {
  let isMet = true;
  process.stdout.write(
    `rounds: ${count} of ${seconds} s; per frame: CPU time of the switch's process, user and system\n`,
  );
  for (const batch of [32, 1]) {
    for (const bytes of [64, 1514]) {
      for (const isBoth of [false, true]) {
        const found = Object.fromEntries(peers.map((kind) => [kind, []]));
        for (let round = 0; round < count; round++) {
          for (const kind of round % 2 === 0 ? peers : peers.toReversed()) {
            found[kind].push(await flow(kind, isBoth, bytes, batch));
          }
        }
        const what = `${bytes} B, ${isBoth ? 'both ways' : 'one way'}, ${batch} a call`;
        for (const kind of peers) {
          const of = (key) => found[kind].map((one) => one[key]);
          process.stdout.write(
            `${what}: ${kind.padEnd(5)} ${spread(
              of('perSecond').map((value) => value / 1e3),
              0,
            )} kframes/s, ` +
              `${median(of('gigabits')).toFixed(2)} Gbit/s, ${spread(of('cpuMicroseconds'))} us a frame\n`,
          );
        }
        if (!peers.includes('vde')) continue;
        const ratios = found.lodge.map((one, i) => one.perSecond / found.vde[i].perSecond);
        isMet = judge(`${what}: lodge : vde_switch`, spread(ratios), median(ratios) >= 1, '1') && isMet;
      }
    }
  }
  for (const kind of peers) {
    const times = [];
    const spent = [];
    for (let round = 0; round < count; round++) {
      const { results, cpuSeconds } = await run(kind, ['ping', 'pong'], 64, 1);
      times.push(results[0].medianUs);
      spent.push((cpuSeconds / (2 * results[0].rounds)) * 1e6);
    }
    process.stdout.write(
      `ping-pong, 64 B: ${kind.padEnd(5)} ${spread(times, 1)} us a round trip, ${spread(spent, 1)} us of CPU a frame\n`,
    );
  }
  return isMet;
}

/** A fabric in this process, of two ports that the bench speaks for, with a record of each frame at both. */
class Shaped {
  constructor(FabricService, mostFrames) {
    this.entered = new Float64Array(mostFrames).fill(Number.NaN);
    this.left = new Float64Array(mostFrames).fill(Number.NaN);
    this.order = [];
    this.lengths = new Int32Array(mostFrames);
    const observe = (times, onFrame) => ({
      observe: (atSeconds, nanoseconds, buffer, offset) => {
        const id = buffer.readUInt32BE(offset + 14);
        // Milliseconds since the first frame.
        this.base ??= atSeconds;
        times[id] = (atSeconds - this.base) * 1e3 + nanoseconds / 1e6;
        onFrame?.(id);
      },
    });
    const nothing = { observe() {} };
    this.sinks = new Map();
    this.service = new FabricService(
      {
        openEnd: ({ link }) => ({
          start: (sink) => {
            this.sinks.set(link.name, sink);
            sink.connected();
          },
          send: () => true,
          pause() {},
          resume() {},
          stop() {},
        }),
        filterOf: async () => undefined,
        // One host alone.
        trunks: { setDigest() {}, states: () => [], stop: async () => {} },
        openCapture: (_plan, link) => ({
          out: link === 'lan/a' ? observe(this.entered) : nothing,
          in: link === 'lan/b' ? observe(this.left, (id) => this.order.push(id)) : nothing,
          close: async () => {},
        }),
      },
      () => {},
    );
  }

  async begin(shape, seed = 1) {
    const ports = [guestPort('a', 1, { out: shape }), guestPort('b', 2)];
    await this.service.ask('apply', { plan: lanPlan(ports, seed) });
    const capture = { directory: '', snapLengthBytes: 64, files: 1, fileBytes: 1e9 };
    for (const link of ['lan/a', 'lan/b']) await this.service.ask('capture-start', { link, capture });
  }

  send(id, bytes) {
    const frame = Buffer.alloc(bytes);
    Buffer.from('024c00000002024c0000000188b5', 'hex').copy(frame);
    frame.writeUInt32BE(id, 14);
    this.lengths[id] = bytes;
    this.sinks.get('lan/a').frame(frame, 0, bytes);
  }

  async settle() {
    for (;;) {
      const { heldFrames } = await this.service.ask('status', {});
      if (heldFrames === 0) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  stop() {
    return this.service.ask('stop', {});
  }
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * The peer of the fabric's timers: a thread that waits for a millisecond again and again by the kernel's own timer.
 * @returns ends it, and gives how late it was, in ms, in order of size
 */
function watchTimers() {
  const isOver = new Int32Array(new SharedArrayBuffer(4));
  const source = `
    const { parentPort, workerData } = require('node:worker_threads');
    const cell = new Int32Array(new SharedArrayBuffer(4));
    const late = [];
    while (Atomics.load(workerData, 0) === 0) {
      const begun = performance.now();
      Atomics.wait(cell, 0, 0, 1);
      late.push(performance.now() - begun - 1);
    }
    parentPort.postMessage(late);`;
  const worker = new Worker(source, { eval: true, workerData: isOver });
  const told = new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  return async () => {
    Atomics.store(isOver, 0, 1);
    return (await told).sort((a, b) => a - b);
  };
}

const late99 = (sorted) => sorted[Math.floor(sorted.length * 0.99)];

async function delayError(FabricService, delayMs, jitterMs) {
  // Two seconds: of less, the hundredth that is late is the one time that the bench's own garbage was collected.
  const frames = 10_000;
  const endWatch = watchTimers();
  const shaped = new Shaped(FabricService, frames);
  await shaped.begin({ delayMs, ...(jitterMs > 0 ? { jitterMs } : {}) });
  for (let id = 0; id < frames; ) {
    for (const end = Math.min(frames, id + 5); id < end; id++) shaped.send(id, 200);
    await sleep(1);
  }
  await shaped.settle();
  await shaped.stop();
  const timers = await endWatch();
  const errors = [...shaped.left]
    .map((left, id) => left - shaped.entered[id] - delayMs)
    .sort((a, b) => a - b);
  return { errors, median: median(errors), late: late99(errors), timersLate: late99(timers) };
}

async function rateError(FabricService, rate, shape = {}) {
  const bytes = 1500;
  const frames = Math.max(40, Math.floor((rate * 0.6) / 8 / bytes));
  const shaped = new Shaped(FabricService, frames);
  await shaped.begin({ bandwidthBitsPerSecond: rate, queueBytes: 1e9, ...shape });
  for (let id = 0; id < frames; id++) shaped.send(id, bytes);
  await shaped.settle();
  await shaped.stop();
  const { order, left } = shaped;
  const [first, last] = [left[order[0]], left[order.at(-1)]];
  // Lost frames took their time on the link as well.
  const sent = order.at(-1) - order[0];
  return (sent * bytes * 8) / ((last - first) / 1e3) / rate - 1;
}

async function lossFound(FabricService, loss, seed) {
  const frames = 50_000;
  const shaped = new Shaped(FabricService, frames);
  await shaped.begin({ loss }, seed);
  for (let id = 0; id < frames; id++) shaped.send(id, 100);
  await shaped.settle();
  await shaped.stop();
  const lost = frames - shaped.order.length;
  // 99.9 % of runs lie within.
  const width = 3.29 * Math.sqrt(frames * loss * (1 - loss));
  return { lost, expected: frames * loss, width };
}

async function checkShapes(FabricService) {
  let isMet = true;
  for (const delayMs of [0.5, 1, 2, 5, 10, 50, 200]) {
    const { median: middle, late, timersLate } = await delayError(FabricService, delayMs, 0);
    const most = Math.max(1, delayMs * 0.02);
    const found = `median ${middle >= 0 ? '+' : ''}${middle.toFixed(3)} ms, 99th percentile +${late.toFixed(3)} ms; a plain timer +${timersLate.toFixed(3)} ms`;
    const isWithin = middle >= 0 && middle <= most && late <= most + timersLate;
    isMet = judge(`delay ${delayMs} ms`, found, isWithin, `${most} ms more than the timer`) && isMet;
  }
  for (const [delayMs, jitterMs] of [
    [10, 5],
    [50, 20],
  ]) {
    const { errors, median: middle, late, timersLate } = await delayError(FabricService, delayMs, jitterMs);
    const [low, high] = [errors[0], errors.at(-1)];
    // A third of the width of the median's own scatter is far more than what the fabric adds.
    const most = Math.max(1, delayMs * 0.02) + (3.29 * jitterMs) / Math.sqrt(errors.length);
    const found = `median ${middle.toFixed(3)} ms off, ${low.toFixed(2)} to ${high.toFixed(2)} ms`;
    const isWithin = Math.abs(middle) <= most && low >= -jitterMs && late <= jitterMs + 1 + timersLate;
    isMet =
      judge(
        `delay ${delayMs} ms, jitter ${jitterMs} ms`,
        found,
        isWithin,
        `within the jitter and ${most.toFixed(2)} ms`,
      ) && isMet;
  }
  for (const [rate, shape, name] of [
    [1e6, {}, '1 Mbit/s'],
    [1e7, {}, '10 Mbit/s'],
    [1e8, {}, '100 Mbit/s'],
    [1e9, {}, '1 Gbit/s'],
    [1e7, { delayMs: 20, loss: 0.01 }, '10 Mbit/s, 20 ms, 1 % loss'],
    [1e8, { delayMs: 5, jitterMs: 0.2 }, '100 Mbit/s, 5 ms, 0.2 ms jitter'],
  ]) {
    const error = await rateError(FabricService, rate, shape);
    isMet =
      judge(`rate ${name}`, `${(error * 100).toFixed(3)} % off`, Math.abs(error) <= 0.02, '2 %') && isMet;
  }
  for (const loss of [0.001, 0.01, 0.1, 0.5]) {
    for (const seed of [1, 2]) {
      const { lost, expected, width } = await lossFound(FabricService, loss, seed);
      const bar = `${expected} +- ${width.toFixed(0)}`;
      isMet =
        judge(
          `loss ${loss * 100} %, seed ${seed}`,
          `${lost} of 50000`,
          Math.abs(lost - expected) <= width,
          bar,
        ) && isMet;
    }
  }
  return isMet;
}

let worker;
const endpoint = join(directory, 'endpoint');
try {
  const part = process.argv[3];
  let isMet = true;
  if (part !== 'shapes') {
    worker = await bundle('worker');
    const peers = compileEndpoint(endpoint) ? ['lodge', 'vde'] : ['lodge'];
    if (peers.length === 1) {
      process.stdout.write('vde_switch: skipped, not installed: apt-get install vde2 libvdeplug-dev\n');
    }
    isMet = await compareSpeed(peers);
  }
  if (part !== 'speed') {
    const { FabricService } = createRequire(import.meta.url)(await bundle('service'));
    isMet = (await checkShapes(FabricService)) && isMet;
  }
  process.exitCode = isMet ? 0 : 1;
} finally {
  for (const child of children) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
}
