import { describe, expect, it } from 'vitest';
import { specSchema } from '../../src/cli/manual.ts';

interface Part {
  type?: string;
  pattern?: string;
  anyOf?: unknown;
  properties?: Record<string, Part>;
  additionalProperties?: Part;
}

describe('the JSON Schema for editors', () => {
  const network = (specSchema('cluster') as Part).properties!.fabric!.additionalProperties!.properties!;
  it.each([
    ['bandwidth', ['10Gbit', '1.5 mbit'], ['10', '10G']],
    ['queue', ['64K', '1.5MiB', '100 B'], ['64', '64X']],
    ['delay', ['50us', '1.5 ms'], ['10', '1m']],
    ['loss', ['0.1%', '5 %'], ['0.1', '%']],
  ])('holds %s to a number with its unit, as lodge does', (key, right, wrong) => {
    const { type, pattern, anyOf } = network[key]!;
    expect({ type, anyOf }).toEqual({ type: 'string', anyOf: undefined });
    for (const text of right) expect(text).toMatch(new RegExp(pattern!, 'u'));
    for (const text of wrong) expect(text).not.toMatch(new RegExp(pattern!, 'u'));
  });
});
