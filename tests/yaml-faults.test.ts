import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { parseYaml } from '../src/document.ts';
import { faultOf } from './cluster/sample.ts';

const schema = z.record(z.string(), z.unknown());
const faultIn = (text: string) => faultOf(() => parseYaml(text, schema, 'f.yaml'));

describe('a text that is no YAML', () => {
  it.each([
    ['a: 1\n\tb: 2\n', '2:1', 'a tab is used to indent'],
    ['a:\n  b: 1\n c: 2\n', '3:1', 'this line is indented unlike others of its list or mapping'],
    ['a: b: c\n', '1:4', 'a second colon makes this a mapping in the same line'],
    ['cpus 4\nmemory: 2G\n', '1:1', 'a key goes over several lines'],
    ['a: [1,\nb: 2\n', '2:1', 'a list that begins with [ is not closed'],
    ['a: {b: 1\n', '2:1', 'a mapping that begins with { is not closed'],
    ['a: "x\n', '2:1', 'a text in quotes is not closed'],
    ['a: {b: "1"#x\n}\n', '1:11', 'a space is missing before #'],
    ['a: @x\n', '1:4', 'a text cannot begin with @ unless it is quoted'],
    ['a: "\\q"\n', '1:5', "'\\q' means nothing between double quotes"],
    ['a: 1\n---\nb: 2\n', '2:1', 'a second document begins here (---)'],
    ['[a, b]: 1\n', '1:1', 'a list or mapping stands where a name should'],
    ['a: "2" x\n', '1:8', "'x' cannot stand here"],
    ['a: !number 4\n', '1:4', "the tag '!number' is not known"],
    [
      '%LODGE 1\n---\na: 1\n',
      '1:1',
      'a line that begins with % tells how to read YAML, and this one is not known',
    ],
    ['a: *b\n', '1:4', 'there is no anchor &b before this'],
    ['a: &b [1, *b]\n', '1:11', '*b stands within what it stands for'],
    ['a: &b {c: 1}\nd:\n  <<: *b\n', '3:3', 'YAML 1.2 has no merge keys (<<)'],
    [`a: ${'['.repeat(3000)}\n`, /^1:/, 'lists and mappings lie too deep in one another'],
  ])('is refused where it ends to be one: %j', (text, place, message) => {
    const fault = faultIn(text);
    expect([fault.code, fault.message]).toEqual(['spec-syntax', message]);
    expect(fault.where!.replace('f.yaml:', '')).toMatch(place);
    expect(fault.fix).not.toBe('');
  });
  it('is told which key is there twice, and where it was first', () => {
    expect(faultIn('a: {b: 1,\r\n  "b": 2}\r\n')).toMatchObject({
      message: "'b' is written twice",
      where: 'f.yaml:2:3',
      detail: 'the first time: f.yaml:1:5',
    });
  });
  it('is told that names with ranges need quotes between brackets', () => {
    for (const text of ['a: {v[1-4]: 1}\n', 'a: [v[1-4], w]\n']) {
      expect(faultIn(text).message).toBe('a bracket begins a list within this text');
      expect(faultIn(text).fix).toContain('quote names with ranges between brackets or braces');
    }
  });
});

describe('a text in YAML', () => {
  it('may say a value once and name it again', () => {
    expect(parseYaml('a: &x {b: 1}\nc: *x\n', schema, 'f')).toEqual({ a: { b: 1 }, c: { b: 1 } });
  });
  it('has its keys as they are written, also those that look like numbers', () => {
    expect(Object.keys(parseYaml('01: a\n0x10: b\ntrue: c\n1.0: d\n', schema, 'f'))).toEqual([
      ...['01', '0x10', 'true', '1.0'],
    ]);
  });
  it('of many keys is read in the time that it takes to read them', () => {
    const text = Array.from({ length: 60_000 }, (_, i) => `k${i}: 1\n`).join('');
    expect(Object.keys(parseYaml(text, schema, 'f'))).toHaveLength(60_000);
  });
});
