/** What a guest costs a line of srun: `srun -w v01 true` beside `srun -w n01 true` in a Slurm of one's own, in turns. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lodge, mustRun, rounds, spread } from './measure.mjs';

const count = rounds(15);
const accelerator = process.argv[3] ?? 'auto';
const work = mkdtempSync(join(tmpdir(), 'lodge-bench-'));
const file = join(work, 'bench-slurm.yaml');
writeFileSync(file, `defaults: {accelerator: ${accelerator}, memory: 512M}\nguests: {v01: }\n`);

const startedAt = performance.now();
const { conf } = JSON.parse(execFileSync(lodge, ['--json', 'slurm', 'up', file], { encoding: 'utf8' }));
const upSeconds = (performance.now() - startedAt) / 1000;
try {
  const env = { ...process.env, SLURM_CONF: conf };
  const msOf = async (node) => 1000 * (await mustRun('srun', ['-w', node, 'true'], { env })).wallSeconds;
  const times = { n01: [], v01: [] };
  for (const node of ['n01', 'v01']) await msOf(node);
  for (let round = 0; round < count; round++) {
    // Whoever comes second in a round finds caches as warm as the first.
    const order = round % 2 === 0 ? ['n01', 'v01'] : ['v01', 'n01'];
    for (const node of order) times[node].push(await msOf(node));
  }
  const differences = times.v01.map((ms, i) => ms - times.n01[i]);
  const found = JSON.parse(execFileSync(lodge, ['--json', 'status', 'bench-slurm'], { encoding: 'utf8' }));
  process.stdout.write(`rounds: ${count}; the guest is ${found.guests[0].accelerator}\n`);
  process.stdout.write(`up, with the guest's boot  s   ${upSeconds.toFixed(1)}\n`);
  process.stdout.write(`srun -w n01 true           ms  ${spread(times.n01, 0)}\n`);
  process.stdout.write(`srun -w v01 true           ms  ${spread(times.v01, 0)}\n`);
  process.stdout.write(`difference                 ms  ${spread(differences, 0)}\n`);
} finally {
  execFileSync(lodge, ['slurm', 'down', 'bench-slurm']);
  rmSync(work, { recursive: true, force: true });
}
