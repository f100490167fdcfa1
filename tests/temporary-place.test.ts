import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { temporaryPlace } from '../src/temporary-place.ts';

let work: string;
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'lodge-temporary-place-'));
  for (const name of ['TMPDIR', 'TMP', 'TEMP']) vi.stubEnv(name, undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(work, { recursive: true });
});

it('is where the environment says, and nowhere when it says nothing', () => {
  expect(temporaryPlace()).toEqual({ notes: [] });
  vi.stubEnv('TMP', work);
  expect(temporaryPlace()).toEqual({ path: work, notes: [] });
});

it.each(['nowhere', 'file', 'file/below'])(
  'is left out, with a note, when it names what can hold no files: %s',
  (name) => {
    writeFileSync(join(work, 'file'), '');
    vi.stubEnv('TMPDIR', join(work, name));
    expect(temporaryPlace()).toEqual({
      notes: [expect.stringContaining(`TMPDIR names ${join(work, name)}, which is no`)],
    });
  },
);
