import { describe, expect, it } from 'vitest';
import { fullNameFor, fullNamesFor, shortNames } from '../../src/cluster/guest-names.ts';
import { faultOf } from './sample.ts';

const names = ['dev.v01', 'lab.v01', 'lab.v02', 'lab.v03', 'v02', 'web'];

describe('the name of a guest', () => {
  it.each([
    ['web', 'web'],
    ['lab.v01', 'lab.v01'],
    ['v03', 'lab.v03'],
    ['v02', 'v02'],
    ['nobody', 'nobody'],
    ['lab.nobody', 'lab.nobody'],
  ])('%s is %s', (text, full) => {
    expect(fullNameFor(text, names)).toBe(full);
  });
  it('that several clusters have must be told whole', () => {
    const fault = faultOf(() => fullNameFor('v01', names));
    expect([fault.code, fault.fix]).toEqual(['no-such-guest', 'name one of them: dev.v01, lab.v01']);
  });
  it('may stand for several, each once', () => {
    expect(fullNamesFor(['lab.v[01-02]', 'web', 'v03', 'lab.v01'], names)).toEqual([
      'lab.v01',
      'lab.v02',
      'web',
      'lab.v03',
    ]);
  });
  it('is its own where that tells it apart', () => {
    expect([...shortNames(['lab.v01', 'lab.v02', 'web']).values()]).toEqual(['v01', 'v02', 'web']);
    expect([...shortNames(['lab.v01', 'dev.v01', 'lab.v02']).values()]).toEqual([
      'lab.v01',
      'dev.v01',
      'v02',
    ]);
  });
});
