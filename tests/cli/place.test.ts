import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { PlaceFlags } from '../../src/cli/place.ts';
import { placeVerb } from '../../src/cli/place-actions.ts';
import { requireOneOutput, timeLimitMs } from '../../src/cli/place-files.ts';
import type { GlobalOptions } from '../../src/cli/program.ts';

const here = mkdtempSync(join(tmpdir(), 'lodge-test-place-'));
afterAll(() => {
  rmSync(here, { recursive: true });
});
const file = (name: string, text?: string): string => {
  const path = join(here, name);
  if (text !== undefined) writeFileSync(path, text);
  return path;
};

const globals = { json: false, quiet: true } as GlobalOptions;
const moving: PlaceFlags = {
  traffic: file('t.csv', '0,1,1e9\n'),
  topology: file('m.conf', 'SwitchName=a Nodes=n[1-2]\nSwitchName=b Nodes=n[3-4]\n'),
  current: file('now.csv', '0,n1\n1,n4\n'),
  routing: 'dimension-order',
  objective: 'hop-bytes',
  effort: 'normal',
  horizon: '10m',
  window: '1s',
  timeLimit: '30s',
  seed: '1',
};

test('what moves lead to is written in the form that the name tells, and drawn', async () => {
  const [output, plot] = [file('after.hosts'), file('after.html')];
  await placeVerb({ ...moving, output, plot }, globals);
  expect(readFileSync(output, 'utf8').split('\n').sort()).toEqual(['', 'n3', 'n4']);
  const page = readFileSync(plot, 'utf8');
  expect(page).toContain('<td>before</td><td>4.0000</td>');
  expect(page).toContain('<td>after</td><td>2.0000</td>');
});

test('bytes that were counted in no time are no rate', async () => {
  await expect(placeVerb({ ...moving, window: '0s' }, globals)).rejects.toThrow('counted in no time');
});

test('standard output is for one thing, and a search needs time', () => {
  requireOneOutput({ output: '-', plot: 'p.svg' }, globals);
  expect(() => requireOneOutput({ output: '-' }, { ...globals, json: true })).toThrow('--json and -o -');
  expect(() => requireOneOutput({ output: '-', plot: '-' }, globals)).toThrow('-o - and --plot -');
  expect(() => timeLimitMs('0s')).toThrow('needs some time');
});
