import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clusterOfShell, linesInto, linesOutOf } from '../../../src/cluster/engine/slurm-shell.ts';

const conf = '/tmp/lodge-1-s7-lab/slurm.conf';
const job = { id: '7', hosts: 'n[01-02]' };

/** The environment of a shell after it was told these lines. */
function told(env: Record<string, string>, lines: string[]): Record<string, string> {
  const script = `${lines.join('\n')}\nexec env -0`;
  const text = execFileSync('/bin/sh', ['-c', script], { env, encoding: 'utf8' });
  const entries = text.split('\0').map((one) => [one.split('=', 1)[0]!, one.slice(one.indexOf('=') + 1)]);
  return Object.fromEntries(
    entries.filter(([name]) => name !== '' && !['PWD', '_', 'SHLVL', 'OLDPWD'].includes(name!)),
  );
}

describe('a shell that uses a Slurm of its own', () => {
  it('has nothing of the outer job, but which it is', () => {
    const inside = told({ PATH: '/bin:/usr/bin', SLURM_JOB_ID: '7', SALLOC_X: 'y', SLURM_CONF: '/etc/s' }, [
      ...linesInto({ SLURM_JOB_ID: '7', SALLOC_X: 'y', SLURM_CONF: '/etc/s' }, conf, job),
    ]);
    expect(inside).toMatchObject({ SLURM_CONF: conf, LODGE_JOB: '7:n[01-02]', LODGE_JOB_CONF: '/etc/s' });
    expect(Object.keys(inside).filter((name) => /^(SLURM_JOB|SALLOC)/.test(name))).toEqual([]);
  });

  it('knows of which cluster that is', () => {
    const inside = (path: string) => told({ PATH: '/bin:/usr/bin' }, linesInto({}, path));
    expect(clusterOfShell(inside(conf))).toBe('lab');
    expect(clusterOfShell(inside('/tmp/lodge-4001-s-my-lab/slurm.conf'))).toBe('my-lab');
    expect(clusterOfShell(inside('/tmp/lodge-4001-sr12ab34cd-my-lab/slurm.conf'))).toBe('my-lab');
    expect(clusterOfShell({ SLURM_CONF: conf })).toBeUndefined();
  });

  it('is afterwards as it was before, whatever that was and however often it came in', () => {
    const value = fc.stringMatching(/^[^\0]*$/);
    const name = fc.constantFrom(
      'SLURM_JOB_ID',
      'SLURM_CONF',
      'SALLOC_A',
      'SBATCH_B',
      'SLURM_NODELIST',
      'HOME',
    );
    fc.assert(
      fc.property(
        fc.dictionary(name, value),
        fc.boolean(),
        fc.integer({ min: 1, max: 3 }),
        (some, isIn, times) => {
          const before = { PATH: '/bin:/usr/bin', ...some };
          let env: Record<string, string> = before;
          for (let i = 0; i < times; i++)
            env = told(env, linesInto(env, `${conf}${i}`, isIn ? job : undefined));
          // What srun of the inner one has set is not to stay either.
          env = { ...env, SLURM_STEP_ID: '0' };
          expect(told(env, linesOutOf(env))).toEqual(before);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('takes nothing but variables of Slurm for what it had', () => {
    const odd = JSON.stringify({ 'SLURM_X;true': 'a', PATH: '/evil', SLURM_N: 3 });
    expect(linesOutOf({ LODGE_OUTER_SLURM: odd })).toEqual(['unset LODGE_OUTER_SLURM']);
    expect(linesOutOf({ LODGE_OUTER_SLURM: 'no json' })).toEqual(['unset LODGE_OUTER_SLURM']);
    expect(linesOutOf({ SLURM_JOB_ID: '7' })).toEqual([]);
  });
});
