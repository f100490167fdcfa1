import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { outermost } from '../../src/guest/confinement.ts';

const path = fc
  .array(fc.constantFrom('a', 'b', 'a-', 'ab'), { minLength: 1, maxLength: 4 })
  .map((names) => `/${names.join('/')}`);

describe('the outermost of some paths', () => {
  it('hold all of them, and none holds another', () => {
    fc.assert(
      fc.property(fc.array(path), (paths) => {
        const outer = outermost(paths)!;
        const holds = (a: string, b: string): boolean => a === b || b.startsWith(`${a}/`);
        expect(paths.every((each) => outer.some((other) => holds(other, each)))).toBe(true);
        expect(outer.every((each) => outer.filter((other) => holds(other, each)).length === 1)).toBe(true);
        expect(outer.every((each) => paths.includes(each))).toBe(true);
      }),
    );
  });

  it('are none where the whole host is among them', () => {
    expect(outermost(['/a', '/'])).toBeUndefined();
  });
});
