/**
 * What a guest costs a line of srun: `srun -w v01 true` beside `srun -w n01 true`, in turns. By default in a Slurm of
 * one's own; with `site NATIVE GUEST`, in the Slurm of this site, where the v-node is also booted cold for a job, beside
 * a bare boot on its host.
 */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { judge, lodge, median, mustRun, rounds, spread } from './measure.mjs';

const count = rounds(15);
const accelerator = process.argv[3] ?? 'auto';

/** Milliseconds of a line of srun. */
const msOf = async (env, ...words) => 1000 * (await mustRun('srun', ['-Q', ...words], { env })).wallSeconds;

/** The same line on a host and in a guest that is there, in turns. */
async function compareLines(env, native, guest, words) {
  const times = { [native]: [], [guest]: [] };
  for (const node of [native, guest]) await msOf(env, ...words, '-w', node, 'true');
  for (let round = 0; round < count; round++) {
    // Whoever comes second in a round finds caches as warm as the first.
    const order = round % 2 === 0 ? [native, guest] : [guest, native];
    for (const node of order) times[node].push(await msOf(env, ...words, '-w', node, 'true'));
  }
  const differences = times[guest].map((ms, i) => ms - times[native][i]);
  process.stdout.write(`srun -w ${native} true           ms  ${spread(times[native], 0)}\n`);
  process.stdout.write(`srun -w ${guest} true           ms  ${spread(times[guest], 0)}\n`);
  process.stdout.write(`difference                 ms  ${spread(differences, 0)}\n`);
}

async function inOwnSlurm() {
  const work = mkdtempSync(join(tmpdir(), 'lodge-bench-'));
  const file = join(work, 'bench-slurm.yaml');
  writeFileSync(file, `defaults: {accelerator: ${accelerator}, memory: 512M}\nguests: {v01: }\n`);
  try {
    const startedAt = performance.now();
    const { conf } = JSON.parse(execFileSync(lodge, ['--json', 'slurm', 'up', file], { encoding: 'utf8' }));
    const upSeconds = (performance.now() - startedAt) / 1000;
    try {
      const found = JSON.parse(
        execFileSync(lodge, ['--json', 'status', 'bench-slurm'], { encoding: 'utf8' }),
      );
      process.stdout.write(`rounds: ${count}; the guest is ${found.guests[0].accelerator}\n`);
      process.stdout.write(`up, with the guest's boot  s   ${upSeconds.toFixed(1)}\n`);
      await compareLines({ ...process.env, SLURM_CONF: conf }, 'n01', 'v01', []);
    } finally {
      execFileSync(lodge, ['slurm', 'down', 'bench-slurm']);
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const scontrol = (...words) => execFileSync('scontrol', words, { encoding: 'utf8' });
const stateOf = (node) => /State=(\S+)/.exec(scontrol('show', 'node', node, '--oneliner'))[1];

async function untilOff(guest) {
  if (!/POWERED_DOWN/.test(stateOf(guest))) scontrol('update', `nodename=${guest}`, 'state=power_down_force');
  while (!/POWERED_DOWN/.test(stateOf(guest))) await delay(500);
}

async function inSite(native, guest) {
  const partitions = /Partitions=(\S+)/;
  const of = (node) => partitions.exec(scontrol('show', 'node', node, '--oneliner'))[1];
  const words = ['-p', `${of(native)},${of(guest)}`];
  const memoryMiB = Math.ceil(
    Number(/RealMemory=(\d+)/.exec(scontrol('show', 'node', guest, '--oneliner'))[1]) / 0.8,
  );
  const env = process.env;
  // As the v-node: the root of the host, and no home.
  const bare = [lodge, 'run', '-a', accelerator, '-m', `${memoryMiB}M`, '--no-share', '--', 'true'];
  const cold = [];
  const boots = [];
  await msOf(env, ...words, '-w', native, ...bare);
  for (let round = 0; round < count; round++) {
    await untilOff(guest);
    boots.push(await msOf(env, ...words, '-w', native, ...bare));
    cold.push(await msOf(env, ...words, '-w', guest, 'true'));
  }
  process.stdout.write(`rounds: ${count}\n`);
  process.stdout.write(`bare boot on ${native}          ms  ${spread(boots, 0)}\n`);
  process.stdout.write(`cold srun -w ${guest} true      ms  ${spread(cold, 0)}\n`);
  const ratio = median(cold.map((ms, i) => ms / boots[i]));
  if (!judge('cold against bare boot', ratio.toFixed(2), ratio <= 1.5, '<= 1.5')) process.exitCode = 1;
  await compareLines(env, native, guest, words);
}

const [mode, native, guest] = process.argv.slice(4);
if (mode === 'site') await inSite(native, guest);
else await inOwnSlurm();
