/**
 * Large clusters on one machine: up, everybody reaches everybody, the matrix is right, down with nothing left.
 *
 *   node bench/cluster.mjs mixed [N]      N guests of all kinds (100): 4 % emulated, 26 % user-mode, the rest namespaces
 *   node bench/cluster.mjs thousand [N]   N namespaces (1000) in one network, and one user-mode guest beside them
 *
 * Without arguments both, one after the other.
 */

import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { judge, lodge, median } from './measure.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const base = mkdtempSync(join(tmpdir(), 'lb-'));
const runtime = join(base, 'run');
const work = join(base, 'work');
for (const path of [runtime, work]) mkdirSync(path, { mode: 0o700 });
const env = { ...process.env, LODGE_RUNTIME_DIR: runtime };
execFileSync('gcc', ['-O2', '-static', '-o', join(work, 'reach'), join(here, 'cluster-reach.c')]);

/** Runs lodge to its end. */
function run(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(lodge, ['-q', ...args], { cwd: work, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (piece) => {
      stdout += piece;
    });
    child.stderr.on('data', (piece) => {
      stderr += piece;
    });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

async function mustRun(args) {
  const { code, stdout, stderr } = await run(args);
  if (code !== 0) throw new Error(`lodge ${args.join(' ')} ended with ${code}\n${stderr.slice(0, 4000)}`);
  return stdout;
}

/** CPU seconds that this machine has been busy since it was started. */
function busySeconds() {
  const [, user, nice, system] = readFileSync('/proc/stat', 'latin1').split('\n')[0].split(/ +/).map(Number);
  return (user + nice + system) / 100;
}

/** Wall and CPU seconds of something that this machine does alone. */
async function costOf(action) {
  const [cpu, wall] = [busySeconds(), performance.now()];
  const result = await action();
  return { result, wallSeconds: (performance.now() - wall) / 1000, cpuSeconds: busySeconds() - cpu };
}

/** While something goes on: how long a command that does nothing takes, again and again, in milliseconds. */
async function answeringWhile(action) {
  let isDone = false;
  const answers = [];
  const asking = (async () => {
    while (!isDone) {
      const begin = performance.now();
      await new Promise((resolve) => spawn('true', { stdio: 'ignore' }).once('close', resolve));
      answers.push(performance.now() - begin);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  const result = await action();
  isDone = true;
  await asking;
  return { result, answers };
}

/** Proportional set size of a process and all below it, in MB. */
function treeMegabytes(pid) {
  try {
    const pss = Number(
      /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1] ?? 0,
    );
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ');
    return children.filter(Boolean).reduce((sum, child) => sum + treeMegabytes(child), pss / 1000);
  } catch {
    return 0;
  }
}

async function memoryByKind() {
  const guests = JSON.parse(await mustRun(['--json', 'ps']));
  const kinds = new Map();
  for (const { accelerator, dir } of guests) {
    const keeper = readFileSync(join(dir, 'keeper'), 'latin1').split(' ')[0];
    const known = kinds.get(accelerator) ?? [];
    known.push(treeMegabytes(keeper));
    kinds.set(accelerator, known);
  }
  return kinds;
}

function agentPid() {
  return readdirSync('/proc').find((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const isOurs = readFileSync(`/proc/${pid}/environ`, 'latin1').includes(runtime);
      return (
        isOurs && / agent$/.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trim())
      );
    } catch {
      return false;
    }
  });
}

/** Processes, files and mounts that tell of this bench's runtime directory. */
function leftovers() {
  const agent = agentPid();
  const left = ['guests', 'making', 'clusters'].flatMap((name) => {
    try {
      return readdirSync(join(runtime, name)).map((file) => `${name}/${file}`);
    } catch {
      return [];
    }
  });
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    if (pid === agent || Number(pid) === process.pid) continue;
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
      if (line.includes(runtime)) left.push(`process ${pid}: ${line.slice(0, 120)}`);
    } catch {
      // It went meanwhile.
    }
  }
  if (readFileSync('/proc/mounts', 'latin1').includes(runtime)) left.push('a mount');
  return left;
}

function say(text) {
  process.stdout.write(`${text}\n`);
}

const seconds = (value) => `${value.toFixed(1)} s`;

/** Brings a cluster up and tells what that cost. */
async function up(file, guests) {
  const { result, wallSeconds, cpuSeconds } = await costOf(() => answeringWhile(() => mustRun(['up', file])));
  const answers = result.answers.sort((a, b) => a - b);
  const at = (share) => answers[Math.min(answers.length - 1, Math.floor(share * answers.length))].toFixed(0);
  say(
    `up: ${seconds(wallSeconds)}, ${seconds(cpuSeconds)} CPU; for each guest ${((1000 * cpuSeconds) / guests).toFixed(0)} ms CPU`,
  );
  say(
    `meanwhile \`true\` took ${at(0.5)} ms (median), ${at(0.99)} ms (99 %), ${at(1)} ms at most, of ${answers.length}`,
  );
  for (const [kind, values] of await memoryByKind()) {
    say(
      `memory of ${kind}: ${median(values).toFixed(1)} MB for each of ${values.length} (median PSS, keeper and all below)`,
    );
  }
  const status = readFileSync(`/proc/${agentPid()}/status`, 'latin1');
  say(
    `memory of the host agent with the fabric: ${(Number(/^VmRSS:\s+(\d+)/m.exec(status)[1]) / 1000).toFixed(0)} MB RSS`,
  );
}

async function down(what) {
  const { wallSeconds, cpuSeconds } = await costOf(() => mustRun(['down']));
  say(`down: ${seconds(wallSeconds)}, ${seconds(cpuSeconds)} CPU`);
  const left = leftovers();
  return judge(
    `${what}, after down`,
    `${left.length} things left ${left.slice(0, 3).join('; ')}`,
    left.length === 0,
    'none',
  );
}

/** Runs a command in many guests; its lines by guest. */
async function execIn(names, command, atOnce) {
  const most = atOnce === undefined ? [] : ['--at-once', String(atOnce)];
  const { stdout, stderr } = await run(['exec', ...most, names, '--', ...command]);
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => /^(\S+): (.*)$/.exec(line)?.slice(1) ?? ['?', line]);
  return { lines, stderr };
}

const pairsOf = async () => JSON.parse(await mustRun(['--json', 'fabric', 'matrix'])).pairs;

/** Each asks all others for their addresses, which all others hear: with more at once, emulated guests fall behind. */
const askingAtOnce = 3;

/** @returns whether the bars were met */
async function mixed(count) {
  const emulated = Math.max(1, Math.round(count * 0.04));
  const user = Math.max(1, Math.round(count * 0.26));
  const plain = count - emulated - user;
  const range = (letter, n) => `${letter}[001-${String(n).padStart(3, '0')}]`;
  writeFileSync(
    join(work, 'mixed.yaml'),
    `guests:
  ${range('q', emulated)}: {accelerator: tcg, memory: 256M}
  ${range('v', user)}: {accelerator: uml, memory: 128M}
  ${range('n', plain)}: {accelerator: netns}\n`,
  );
  say(`${count} guests: ${emulated} emulated, ${user} user-mode, ${plain} namespaces; ${cpus().length} CPUs`);
  await up('mixed.yaml', count);
  const names = [range('q', emulated), range('v', user), range('n', plain)].join(',');
  const { result, wallSeconds, cpuSeconds } = await costOf(() =>
    execIn(
      names,
      ['sh', '-c', `exec ./reach 10.1.0.1 ${count} $(hostname -i | tr ' ' '\\n' | grep -m1 ^10)`],
      askingAtOnce,
    ),
  );
  const all = `${count - 1} of ${count - 1}`;
  const whole = result.lines.filter(([, text]) => text === all).length;
  say(`everybody to everybody: ${seconds(wallSeconds)}, ${seconds(cpuSeconds)} CPU`);
  for (const [name, text] of result.lines.filter(([, one]) => one !== all).slice(0, 5))
    say(`  ${name}: ${text}`);
  if (result.stderr !== '') say(result.stderr.slice(0, 500));
  const pairs = new Set(
    (await pairsOf()).filter(({ to }) => to !== 'all').map(({ from, to }) => `${from} ${to}`),
  );
  const wanted = count * (count - 1);
  const isWhole = judge('guests that reach all others', `${whole} of ${count}`, whole === count, 'all');
  const isSeen = judge('pairs in the matrix', `${pairs.size} of ${wanted}`, pairs.size === wanted, 'all');
  return (await down('mixed')) && isWhole && isSeen;
}

const headerBytes = 14 + 20 + 8;
const arpBytes = 42;

/** Each sends to the next so many frames of a length of its own, so that the whole matrix is known. */
async function thousand(count) {
  const width = String(count).length;
  const name = (i) => `n${String(i).padStart(width, '0')}`;
  const names = `n[${name(1).slice(1)}-${name(count).slice(1)}]`;
  const dataOf = (i) => 8 + (i % 64) * 8;
  // With one guest that has a kernel, MPI's ranks are there, and no namespace needs a server for SSH.
  writeFileSync(
    join(work, 'thousand.yaml'),
    `defaults: {accelerator: netns}
guests: {'${names}': , head: {accelerator: uml, memory: 128M}}
fabric: {lan: {members: ['${names}', head]}}\n`,
  );
  say(`${count} namespaces in one network; ${cpus().length} CPUs`);
  await up('thousand.yaml', count);
  writeFileSync(
    join(work, 'next.sh'),
    `i=$(hostname | tr -d n | sed 's/^0*//'); next=$((i % ${count} + 1))
exec ./reach 10.1.$((next >> 8)).$((next & 255)) 1 0.0.0.0 3 $((8 + i % 64 * 8))\n`,
  );
  const { result, wallSeconds, cpuSeconds } = await costOf(() => execIn(names, ['sh', './next.sh'], 32));
  const whole = result.lines.filter(([, text]) => text === '3 of 3').length;
  say(`each to the next: ${seconds(wallSeconds)}, ${seconds(cpuSeconds)} CPU`);
  if (result.stderr !== '') say(result.stderr.slice(0, 500));
  const seen = new Map();
  for (const { from, to, frames, bytes } of await pairsOf()) {
    if (to !== 'all' && from.startsWith('lan/n')) seen.set(`${from} ${to}`, { frames, bytes });
  }
  let right = 0;
  const wrong = [];
  for (let i = 1; i <= count; i++) {
    const next = (i % count) + 1;
    for (const [from, to] of [
      [i, next],
      [next, i],
    ]) {
      const key = `lan/${name(from)} lan/${name(to)}`;
      const { frames, bytes } = seen.get(key) ?? { frames: 0, bytes: 0 };
      seen.delete(key);
      // Three requests or their answers; what else is there must be ARP, frame for frame.
      const arp = frames - 3;
      if (arp >= 0 && bytes === 3 * (headerBytes + dataOf(i)) + arp * arpBytes) right++;
      else wrong.push(`${key}: ${frames} frames, ${bytes} bytes`);
    }
  }
  for (const text of wrong.slice(0, 5)) say(`  ${text}`);
  const isWhole = judge('endpoints that reach the next', `${whole} of ${count}`, whole === count, 'all');
  const isRight = judge(
    'pairs with the right frames and bytes',
    `${right} of ${2 * count}, ${seen.size} that should not be`,
    right === 2 * count && seen.size === 0,
    'all, and no others',
  );
  return (await down('thousand')) && isWhole && isRight;
}

const [what = 'both', size] = process.argv.slice(2);
const parts = { mixed: [() => mixed(Number(size ?? 100))], thousand: [() => thousand(Number(size ?? 1000))] };
parts.both = [...parts.mixed, ...parts.thousand];
if (parts[what] === undefined || (size !== undefined && !(Number(size) >= 3))) {
  process.stderr.write('usage: node bench/cluster.mjs [mixed|thousand [N]]\n');
  process.exit(2);
}

let cleaned;

/** Once, also when a signal comes while it is done. */
function cleanUp() {
  cleaned ??= (async () => {
    await run(['down']);
    const agent = agentPid();
    if (agent !== undefined) process.kill(Number(agent));
    rmSync(base, { recursive: true, force: true, maxRetries: 5 });
  })();
  return cleaned;
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    process.stderr.write(`ended by ${signal}\n`);
    void cleanUp().finally(() => process.exit(1));
  });
}
let isMet = true;
try {
  for (const part of parts[what]) isMet = (await part()) && isMet;
} finally {
  await cleanUp();
}
process.exitCode = isMet ? 0 : 1;
