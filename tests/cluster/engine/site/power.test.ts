/** Programs of power saving that were killed half-way, and what comes after them: with programs in the place of Slurm's. */

import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { failNodes, lookAtSite, resumeNodes } from '../../../../src/cluster/engine/site/power.ts';
import { recorded, sampleSite } from './sample.ts';

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'lodge-power-'));
  // Each tells what its file has, and notes how it was called.
  for (const name of ['scontrol', 'squeue', 'scancel', 'sbatch', 'strigger']) {
    // As slurmctld that ends with a job on its way to it, and one that is not there.
    const fault =
      name === 'sbatch'
        ? 'Batch job submission failed: Zero Bytes were transmitted or received'
        : 'Unable to contact slurm controller (connect failure)';
    const script = `#!/bin/sh
echo "${name} $*" >>${dir}/asked
! rm ${dir}/${name}.away 2>/dev/null || { echo '${name}: error: ${fault}' >&2; exit 1; }
case "$*" in
'show config') cat ${dir}/config ;;
'show node '*) cat ${dir}/node ;;
*) [ ! -e ${dir}/${name}.says ] || cat ${dir}/${name}.says ;;
esac
`;
    writeFileSync(join(dir, name), script);
    chmodSync(join(dir, name), 0o755);
  }
  says('config', recorded('config').replace(/^SlurmUser .*$/m, `SlurmUser = me(${process.getuid!()})`));
  vi.stubEnv('PATH', `${dir}:${process.env.PATH}`);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

function says(name: string, text: string): void {
  writeFileSync(join(dir, name), text);
}

/** How programs that change anything were called. */
function asked(): string[] {
  const lines = readFileSync(join(dir, 'asked'), 'utf8').trim().split('\n');
  return lines.filter((line) => /^(scancel|sbatch|strigger|scontrol update)/.test(line));
}

test('a v-node whose ResumeProgram was killed before it asked for a holder is given back, and says so', async () => {
  says('node', 'NodeName=v01 State=DOWN+CLOUD+POWERED_DOWN\n');
  await failNodes(sampleSite(), 'v01');
  expect(asked()).toEqual([
    'scontrol update nodename=v01 state=idle',
    expect.stringMatching(/^scontrol update nodename=v01 comment=lodge: .*was ResumeProgram killed\?$/),
  ]);
});

test('a holder that was asked for before it was killed is the one that the next one finds', async () => {
  says('squeue.says', '71|PENDING|Resources|lodge-v01\n');
  says('sbatch.says', '72\n');
  expect(await resumeNodes(() => sampleSite(), 'v[01-02]')).toEqual([]);
  const [batch, trigger, ...more] = asked();
  expect(batch).toContain('--job-name=lodge-v02');
  expect(trigger).toMatch(/^strigger --set --jobid=72 --fini --program=\/.*\/scripts\/slurm\/ended v02$/);
  expect(more).toEqual([]);
});

test('a holder that waits, of one that was killed, is cancelled when the time is over', async () => {
  says('squeue.says', '71|PENDING|Resources|lodge-v01\n');
  says('node', 'NodeName=v01 State=DOWN+CLOUD+POWERED_DOWN\n');
  await failNodes(sampleSite(), 'v01');
  // Its end is nothing that the node, which may be on its way up again by then, would be down for.
  expect(asked().slice(0, 3)).toEqual([
    'scancel --quiet 71',
    'strigger --clear --jobid=71',
    'scontrol update nodename=v01 state=idle',
  ]);
});

test('a controller that is started anew while it is asked is waited for: nothing is marked down', async () => {
  says('sbatch.says', '72\n');
  for (const name of ['scontrol', 'squeue', 'sbatch', 'strigger']) says(`${name}.away`, '');
  expect(await resumeNodes(() => sampleSite(), 'v02')).toEqual([]);
  expect(asked().map((line) => line.split(' ', 1)[0])).toEqual(['sbatch', 'sbatch', 'strigger', 'strigger']);
});

test('who only looks at a site waits for no controller', async () => {
  says('scontrol.away', '');
  await expect(lookAtSite({ waits: false })).rejects.toMatchObject({ code: 'slurm-unavailable' });
});
