/**
 * What lodge adds to QEMU: `lodge run -a tcg -- true` against a bare QEMU command line that does the same.
 *
 * The bare one has lodge's own command line from `--dry-run`: the same kernel, initramfs, devices and shares. Its
 * orders (set the guest up, run `true`, halt) are the same frames on the same socket, sent by this process, whose own
 * time is not counted: what is compared against is QEMU and nothing else.
 *
 * lodge's own CPU time is that of its whole process tree less QEMU's. QEMU's is read every 2 ms until it is gone, so
 * that lodge's comes out too high by some milliseconds rather than too low.
 */

import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Peer } from './frames.mjs';
import {
  childOf,
  childrenCpuSeconds,
  followCpu,
  judge,
  lodge,
  median,
  mustRun,
  rounds,
  spread,
} from './measure.mjs';

const count = rounds(9);
const command = ['run', '-a', 'tcg', '--', 'true'];
const isQemu = (name) => name.startsWith('qemu-system');

async function runLodge() {
  let stopFollowing;
  let search;
  const result = await mustRun(lodge, command, {
    onSpawn: (child) => {
      search = setInterval(() => {
        const pid = childOf(child.pid, isQemu);
        if (pid === undefined) return;
        clearInterval(search);
        stopFollowing = followCpu(pid);
      }, 2);
    },
  });
  clearInterval(search);
  return { ...result, ownSeconds: result.cpuSeconds - stopFollowing() };
}

const plan = JSON.parse(
  execFileSync(lodge, ['--json', ...command.slice(0, 1), '--dry-run', ...command.slice(1)]),
);

async function runBare() {
  const directory = mkdtempSync(join(tmpdir(), 'lodge-bench-'));
  const cpuBefore = childrenCpuSeconds();
  const startedAt = performance.now();
  const argv = plan.argv.map((word) => word.replaceAll(plan.dir, directory));
  const qemu = spawn(argv[0], argv.slice(1), { cwd: directory, stdio: ['ignore', 'pipe', 'inherit'] });
  qemu.stdout.resume();
  // Not used, but it has to cost the same here as there.
  const stopFollowing = followCpu(qemu.pid);
  const ended = new Promise((resolve) => qemu.once('exit', resolve));
  try {
    const peer = new Peer(await connected(join(directory, 'channel.sock')));
    await peer.sync();
    const now = Date.now();
    const fresh = [
      ['clock', String(Math.floor(now / 1000)), '0'],
      ['entropy', randomBytes(64).toString('hex')],
    ];
    await peer.configure([...fresh, ...plan.setup]);
    await Promise.all([peer.read('/etc/passwd'), peer.read('/etc/group')]);
    const environment = Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
    const code = await peer.run(['true'], environment, process.cwd());
    if (code !== 0) throw new Error(`the bare guest's command ended with ${code}`);
    await peer.halt(500);
  } finally {
    qemu.kill('SIGKILL');
    await ended;
    stopFollowing();
  }
  const wallSeconds = (performance.now() - startedAt) / 1000;
  const cpuSeconds = childrenCpuSeconds() - cpuBefore;
  rmSync(directory, { recursive: true });
  return { wallSeconds, cpuSeconds };
}

async function connected(path) {
  for (;;) {
    const socket = connect(path);
    const isThere = await new Promise((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    if (isThere) return socket;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// Once each without counting: kernels are fetched, caches warmed.
await runLodge();
await runBare();
const ours = [];
const bare = [];
for (let round = 0; round < count; round++) {
  const pair = [async () => ours.push(await runLodge()), async () => bare.push(await runBare())];
  if (round % 2 === 1) pair.reverse();
  for (const measure of pair) await measure();
}
const of = (results, key) => results.map((result) => result[key]);
const ratios = (key) => ours.map((result, i) => result[key] / bare[i][key]);
const own = of(ours, 'ownSeconds').map((seconds) => seconds * 1000);
process.stdout.write(`rounds: ${count}\n`);
process.stdout.write(
  `lodge run -a tcg -- true  wall s ${spread(of(ours, 'wallSeconds'))}  CPU s ${spread(of(ours, 'cpuSeconds'))}\n`,
);
process.stdout.write(
  `bare QEMU                 wall s ${spread(of(bare, 'wallSeconds'))}  CPU s ${spread(of(bare, 'cpuSeconds'))}\n`,
);
const [wall, cpu] = [ratios('wallSeconds'), ratios('cpuSeconds')];
const verdicts = [
  judge('CPU, lodge : bare QEMU', spread(cpu), median(cpu) <= 1.05, '1.05'),
  judge('wall time, lodge : bare QEMU', spread(wall), median(wall) <= 1.05, '1.05'),
  judge("lodge's own CPU, ms", spread(own, 0), median(own) <= 150, '150'),
];
process.exitCode = verdicts.every(Boolean) ? 0 : 1;
