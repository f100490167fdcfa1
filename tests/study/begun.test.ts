import { describe, expect, it } from 'vitest';
import { checkSame, type Surroundings } from '../../src/study/begun.ts';
import { type StudySpec, studySpecSchema } from '../../src/study/spec.ts';
import { study } from './studies.ts';

const spec = (input: object = {}): StudySpec => studySpecSchema.parse(input);
const head = { ...study([], []).head, spec: spec({ size: 'quick' }), packages: { hpcc: '1.5', qemu: '7' } };
const now: Surroundings = { host: head.host, lodgeVersion: head.lodgeVersion, packages: head.packages };
const check = (changes: Partial<Surroundings>, asked = spec({ size: 'quick' })): void =>
  checkSame(head, asked, { ...now, ...changes }, '/s');

describe('a study that was begun', () => {
  it('goes on where nothing has changed that bears on the numbers', () => {
    expect(() => check({})).not.toThrow();
    expect(() => check({ host: { ...head.host, memoryBytes: head.host.memoryBytes - 4096 } })).not.toThrow();
    expect(() => check({ lodgeVersion: `${head.lodgeVersion}+12` })).not.toThrow();
    // A seed is chosen where none is asked for.
    expect(() =>
      checkSame({ ...head, spec: spec({ size: 'quick', seed: 7 }) }, spec({ size: 'quick' }), now, '/s'),
    ).not.toThrow();
  });

  it.each([
    ['host.kernel was 6.1, and is 6.2', { host: { ...head.host, kernel: '6.2' } }],
    ['host.cpuModel was c, and is d', { host: { ...head.host, cpuModel: 'd' } }],
    ['host.virtualization was not there, and is v', { host: { ...head.host, virtualization: 'v' } }],
    ['lodge was 0.0.0, and is 0.0.1', { lodgeVersion: '0.0.1+3' }],
    ['hpcc was 1.5, and is not there\nqemu was 7, and is 8', { packages: { qemu: '8' } }],
  ])('is not gone on with where %s', (detail, changes) => {
    expect(() => check(changes)).toThrow(expect.objectContaining({ code: 'study-directory', detail }));
  });

  it('is not gone on with by another spec, or on another host', () => {
    expect(() => check({}, spec({ size: 'quick', repeats: 7 }))).toThrow('begun with another repeats');
    expect(() => check({ host: { ...head.host, hostname: 'g' } })).toThrow('is of the host h');
  });
});
