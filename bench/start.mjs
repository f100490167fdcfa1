/** What it costs to start lodge: CPU time of `./lodge --help` against `node -e 0`, in turns. */

import { judge, lodge, median, mustRun, rounds, spread } from './measure.mjs';

const count = rounds(9);
/** Starts in one measurement, so that the kernel's ticks of 10 ms do not matter. */
const batch = 20;

async function cpuMsOf(program, args) {
  let seconds = 0;
  for (let i = 0; i < batch; i++) seconds += (await mustRun(program, args)).cpuSeconds;
  return (seconds / batch) * 1000;
}

// Certificates that Node.js would read at its start are kept from lodge by the launcher: no part of this comparison.
delete process.env.NODE_EXTRA_CA_CERTS;
// The first start may build.
await mustRun(lodge, ['--help']);
const ours = [];
const bare = [];
for (let round = 0; round < count; round++) {
  // Whoever comes second in a round finds caches as warm as the first.
  const pair = [
    async () => ours.push(await cpuMsOf(lodge, ['--help'])),
    async () => bare.push(await cpuMsOf(process.execPath, ['-e', '0'])),
  ];
  if (round % 2 === 1) pair.reverse();
  for (const measure of pair) await measure();
}
const ratios = ours.map((ms, i) => ms / bare[i]);
process.stdout.write(`rounds: ${count}, ${batch} starts of each in a round\n`);
process.stdout.write(`lodge --help  CPU ms  ${spread(ours, 1)}\n`);
process.stdout.write(`node -e 0     CPU ms  ${spread(bare, 1)}\n`);
const isMet = judge('CPU, lodge --help : node -e 0', spread(ratios), median(ratios) <= 1.6, '1.60');
process.exitCode = isMet ? 0 : 1;
