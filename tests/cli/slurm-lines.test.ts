import { expect, it } from 'vitest';
import { buildProgram } from '../../src/cli/program.ts';
import { guestOptions } from '../../src/cli/slurm-lines.ts';

it('guests of tasks may have what lodge run has, but for what is Slurm’s or of one guest alone', async () => {
  const options = guestOptions(await buildProgram('0'));
  expect(options.get('--image')).toBe('value');
  expect(options.get('--pci')).toBe('value');
  expect(options.get('--pin')).toBe('optional');
  expect(options.get('--no-share')).toBe('nothing');
  for (const name of ['--prefer', '--name', '--detach', '--help']) expect(options.has(name)).toBe(false);
});
