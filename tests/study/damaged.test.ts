import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LodgeError } from '../../src/errors.ts';
import { compareStudies } from '../../src/study/compare.ts';
import { readStudy } from '../../src/study/directory.ts';
import { renderHtml } from '../../src/study/report/html.ts';
import { renderVerdicts } from '../../src/study/report/terminal.ts';
import { renderValues } from '../../src/study/report/terminal-values.ts';
import { verdictsOf } from '../../src/study/verdicts.ts';
import { sampleStudy } from './sample-study.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'lodge-damaged-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Paths to everything in a value. */
function pathsIn(value: Json, path: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, inner]) => pathsIn(inner as Json, [...path, key]))];
}

function replaced(value: Json, path: readonly (string | number)[], by: Json | undefined): Json | undefined {
  const [key, ...rest] = path;
  if (key === undefined) return by;
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string, Json>;
  const inner = replaced(copy[key]!, rest, by);
  if (inner === undefined) delete copy[key];
  else copy[key] = inner;
  return copy as unknown as Json;
}

const whole = sampleStudy({ machine: 'uml' });
const head = JSON.parse(JSON.stringify(whole.head)) as Json;
const samples = whole.samples.slice(0, 40).map((sample) => JSON.parse(JSON.stringify(sample)) as Json);
const anything = fc.oneof(
  fc.constantFrom<(Json | undefined)[]>(
    undefined,
    null,
    -1,
    0,
    1e308,
    1.5,
    '',
    'x',
    '__proto__',
    true,
    [],
    {},
    [null],
    { x: 1 },
    [[]],
  ),
  fc.jsonValue() as fc.Arbitrary<Json>,
);

it('a study with anything in the place of anything is refused, or told without it', () => {
  const places = [
    ...pathsIn(head).map((path) => ({ of: -1, path })),
    ...samples.flatMap((sample, of) => pathsIn(sample).map((path) => ({ of, path }))),
  ];
  fc.assert(
    fc.property(fc.constantFrom(...places), anything, ({ of, path }, by) => {
      const damagedHead = of < 0 ? replaced(head, path, by) : head;
      const damaged = samples.map((sample, i) => (i === of ? replaced(sample, path, by) : sample));
      writeFileSync(join(dir, 'study.json'), JSON.stringify(damagedHead) ?? '');
      writeFileSync(
        join(dir, 'results.jsonl'),
        damaged.map((sample) => `${JSON.stringify(sample) ?? ''}\n`).join(''),
      );
      let study: ReturnType<typeof readStudy>;
      try {
        study = readStudy(dir);
      } catch (error) {
        expect(error).toBeInstanceOf(LodgeError);
        return;
      }
      const look = { width: 80, colour: false };
      const texts = [
        renderHtml(study),
        renderValues(study, look),
        renderVerdicts(study, verdictsOf(study), look),
        JSON.stringify(compareStudies(study, whole, { resamples: 20 })),
      ];
      for (const text of texts) expect(text).not.toMatch(/NaN|Infinity|\[object |>undefined</);
    }),
    { numRuns: 150, seed: 1 },
  );
});
