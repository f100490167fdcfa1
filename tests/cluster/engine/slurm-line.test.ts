import { expect, test } from 'vitest';
import { slurmArgv, splitSlurmLine } from '../../../src/cluster/engine/slurm-line.ts';
import { LodgeError } from '../../../src/errors.ts';

const options = new Map([
  ['--image', 'value'],
  ['--memory', 'value'],
  ['--no-share', 'nothing'],
  ['--pin', 'optional'],
] as const);

test('what lodge does not know goes to Slurm, as it stands', () => {
  const words = [
    '-N',
    '2',
    '--image',
    'x',
    '-c4',
    '--mem=4G',
    '--no-share',
    '--memory=1G',
    '--',
    'cmd',
    '--image',
    'y',
  ];
  const line = splitSlurmLine('srun', words, options);
  expect(line).toEqual({
    slurm: ['-N', '2', '-c4', '--mem=4G'],
    guest: ['--image', 'x', '--no-share', '--memory=1G'],
    command: ['cmd', '--image', 'y'],
  });
  expect(slurmArgv('srun', line, '/l/lodge')).toEqual([
    ...['srun', '-N', '2', '-c4', '--mem=4G', '--', '/l/lodge', 'run'],
    ...['--image', 'x', '--no-share', '--memory=1G', '--', 'cmd', '--image', 'y'],
  ]);
  expect(slurmArgv('salloc', line, '/l/lodge').slice(0, 8)).toEqual([
    ...['salloc', '-N', '2', '-c4', '--mem=4G', '--', 'srun', '/l/lodge'],
  ]);
});

test('a value that may be left out is taken where there is one', () => {
  const of = (...words: string[]) => splitSlurmLine('srun', [...words, '--', 'x'], options);
  expect(of('--pin', '0-3', '-N1')).toMatchObject({ guest: ['--pin', '0-3'], slurm: ['-N1'] });
  expect(of('--pin', '-N1')).toMatchObject({ guest: ['--pin'], slurm: ['-N1'] });
  expect(of('-N1', '--pin')).toMatchObject({ guest: ['--pin'], slurm: ['-N1'] });
});

test('a batch script has the words quoted for its shell', () => {
  const line = splitSlurmLine('sbatch', ['-n1', '--', 'sh', '-c', "echo 'a b' $HOME; x"], options);
  expect(slurmArgv('sbatch', line, '/l/lodge')).toEqual([
    'sbatch',
    '-n1',
    "--wrap=exec srun /l/lodge run -- sh -c 'echo '\\''a b'\\'' $HOME; x'",
  ]);
});

test.each([[['-N1', 'hostname']], [['-N1', '--']], [['--image', '--', 'x']]])('%j is refused', (words) => {
  expect(() => splitSlurmLine('srun', words, options)).toThrow(LodgeError);
});
