/**
 * `lodge place` beside Scotch: the same graphs, the same networks, one core for each program, hop-bytes of both by the
 * same measure (`lodge place evaluate`).
 *
 *   node bench/mapping/mapping.mjs [small|all|large] [PATTERN]
 *
 * `small` leaves out 32,768 ranks; `large` has 262,144 and 1,048,576, on lodge alone. PATTERN picks instances by their
 * names.
 */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { judge, lodge, median, timed } from '../measure.mjs';
import { leastHops } from './bound.mjs';
import { instances, largeInstances } from './instances.mjs';

/**
 * Scotch's strategies; the best of them counts for each instance, with its own time. Scotch takes as many threads as it
 * takes by itself, all on one core: with one thread it often found worse mappings here.
 */
const strategies = [[], ['-b0.01'], ['-b0.05'], ['-cq']];

const [part = 'all', filter = ''] = process.argv.slice(2);
if (!['small', 'all', 'large'].includes(part)) {
  process.stderr.write('usage: node bench/mapping/mapping.mjs [small|all|large] [PATTERN]\n');
  process.exit(2);
}
const dir = mkdtempSync(join(tmpdir(), 'lodge-mapping-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));

function must(program, args) {
  const { status, stdout, stderr } = spawnSync(program, args, {
    cwd: dir,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${status}: ${stderr}`);
  return stdout;
}

/** Runs a program on one core. */
function onOneCore(program, args) {
  const options = { cwd: dir, stdio: ['ignore', 'ignore', 'ignore'] };
  return timed('taskset', ['-c', '0', program, ...args], options);
}

function evaluate(topology, map) {
  const args = [
    '--json',
    'place',
    'evaluate',
    '--traffic',
    't.grf',
    '--topology',
    topology,
    '--placement',
    map,
  ];
  const { hopsPerByte, overfull } = JSON.parse(must(lodge, args));
  return { hops: hopsPerByte, overfull: overfull.length };
}

async function scotch(topology) {
  const tries = [];
  for (const flags of strategies) {
    const { cpuSeconds, code } = await onOneCore('scotch_gmap', [
      ...flags,
      't.grf',
      'target.tgt',
      'scotch.map',
    ]);
    if (code !== 0) continue;
    tries.push({ flags: flags.join(' ') || 'default', cpuSeconds, ...evaluate(topology, 'scotch.map') });
  }
  return tries.sort((a, b) => a.hops - b.hops)[0];
}

async function ours(topology, flags = []) {
  const args = ['-q', 'place', '--traffic', 't.grf', '--topology', topology, '-o', 'lodge.map', ...flags];
  const { cpuSeconds, wallSeconds, code } = await onOneCore(lodge, args);
  if (code !== 0) throw new Error(`lodge ${args.join(' ')} ended with ${code}`);
  return { cpuSeconds, wallSeconds, ...evaluate(topology, 'lodge.map') };
}

const geometricMean = (values) =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
const row = (cells) => process.stdout.write(`| ${cells.join(' | ')} |\n`);

async function compare() {
  must('scotch_gmap', ['-V']);
  row([
    'traffic',
    'network',
    'Scotch: hops',
    'strategy',
    'too full',
    'CPU s',
    'lodge: hops',
    'CPU s',
    'ratio',
    'least possible ratio',
  ]);
  row(Array(10).fill('---'));
  const results = [];
  for (const instance of instances.filter(
    (one) => (part === 'all' || one.ranks < 32_768) && one.name.includes(filter),
  )) {
    must(lodge, ['place', 'generate', instance.traffic, '-o', 't.grf']);
    writeFileSync(join(dir, 'target.tgt'), `${instance.target}\n`);
    const peer = await scotch(instance.topology);
    const own = await ours(instance.topology);
    const ratio = own.hops / peer.hops;
    const least = leastHops(join(dir, 't.grf'), instance.topology) / peer.hops;
    results.push({ ...instance, peer, own, ratio });
    row([
      instance.traffic,
      instance.topology,
      peer.hops.toFixed(4),
      peer.flags,
      peer.overfull,
      peer.cpuSeconds.toFixed(2),
      own.hops.toFixed(4),
      own.cpuSeconds.toFixed(2),
      ratio.toFixed(3),
      least.toFixed(3),
    ]);
  }
  const bare = [];
  for (let i = 0; i < 7; i++) bare.push((await onOneCore(process.execPath, ['-e', '0'])).cpuSeconds);
  const ofNode = `of which Node.js alone takes ${median(bare).toFixed(2)} s`;
  const ratios = results.map(({ ratio }) => ratio);
  const worst = results.reduce((most, one) => (one.ratio > most.ratio ? one : most));
  const slowest = (ranks) =>
    Math.max(0, ...results.filter((one) => one.ranks === ranks).map(({ own }) => own.cpuSeconds));
  const slower = results.filter(
    ({ ranks, own, peer }) => ranks === 32_768 && own.cpuSeconds > peer.cpuSeconds,
  );
  const verdicts = [
    judge(
      'hop-bytes, geometric mean of the ratios',
      geometricMean(ratios).toFixed(3),
      geometricMean(ratios) <= 0.85,
      '<= 0.85',
    ),
    // Equal placements differ by rounding.
    judge(
      'hop-bytes, largest ratio',
      `${worst.ratio.toFixed(4)} (${worst.name})`,
      worst.ratio <= 1 + 1e-6,
      '<= 1.00',
    ),
    judge('CPU at 512 ranks', `${slowest(512).toFixed(2)} s, ${ofNode}`, slowest(512) <= 0.3, '<= 0.3 s'),
    judge('CPU at 4,096 ranks', `${slowest(4096).toFixed(2)} s`, slowest(4096) <= 2, '<= 2 s'),
  ];
  if (part === 'all') {
    const names = slower.map(
      ({ name, own, peer }) => `${name} ${own.cpuSeconds} against ${peer.cpuSeconds} s`,
    );
    verdicts.push(
      judge(
        'CPU at 32,768 ranks above that of the strategy that won',
        names.join(', ') || 'none',
        names.length === 0,
        'none',
      ),
    );
  }
  return verdicts.every(Boolean);
}

async function large() {
  row(['traffic', 'network', 'hops', 'CPU s', 'wall s', 'peak memory']);
  row(Array(6).fill('---'));
  const verdicts = [];
  for (const { name, traffic, topology, mostSeconds, flags } of largeInstances) {
    if (!name.includes(filter)) continue;
    must(lodge, ['place', 'generate', traffic, '-o', 't.grf']);
    const args = ['-q', 'place', '--traffic', 't.grf', '--topology', topology, '-o', 'lodge.map', ...flags];
    const startedMs = performance.now();
    const { status, stderr } = spawnSync('/usr/bin/env', ['time', '-f', '%U %S %M', lodge, ...args], {
      cwd: dir,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`lodge ended with ${status}: ${stderr}`);
    const [user, system, peakKiB] = stderr.trim().split('\n').at(-1).split(' ').map(Number);
    const wall = (performance.now() - startedMs) / 1000;
    const { hops } = evaluate(topology, 'lodge.map');
    row([
      traffic,
      topology,
      hops.toFixed(4),
      (user + system).toFixed(1),
      wall.toFixed(1),
      `${(peakKiB / 2 ** 20).toFixed(2)} GiB`,
    ]);
    verdicts.push(judge(name, `${wall.toFixed(1)} s`, wall <= mostSeconds, `<= ${mostSeconds} s`));
    verdicts.push(judge(name, `${(peakKiB / 2 ** 20).toFixed(2)} GiB`, peakKiB * 1024 <= 6e9, '<= 6 GB'));
  }
  return verdicts.every(Boolean);
}

process.exitCode = (await (part === 'large' ? large() : compare())) ? 0 : 1;
