import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { siteSpecSchema } from '../src/cluster/engine/site/spec.ts';
import { clusterSpecSchema } from '../src/cluster/spec.ts';
import { parseYaml } from '../src/document.ts';
import { recipeSchema } from '../src/image/build/recipe-schema.ts';
import { networkSchema } from '../src/machine/network/network-spec.ts';
import { studySpecSchema } from '../src/study/spec.ts';
import { faultOf } from './cluster/sample.ts';

const schema = z.strictObject({
  count: z.int().min(2).max(9).optional(),
  share: z.number().positive().lt(1).multipleOf(0.1).optional(),
  word: z.string().min(1).max(4).optional(),
  long: z.string().min(2).optional(),
  list: z.array(z.string()).min(1).max(2).optional(),
  kind: z.enum(['red', 'green']).optional(),
  one: z.literal('x').optional(),
  is: z.boolean().optional(),
  either: z.union([z.boolean(), z.strictObject({ a: z.int() })]).optional(),
  map: z.record(z.string(), z.int()).optional(),
  url: z.url().optional(),
});

const told = (text: string): [message: string, fix: string | undefined] => {
  const { message, fix } = faultOf(() => parseYaml(text, schema, 'f'));
  return [message, fix];
};

describe('a value that cannot be', () => {
  it.each([
    ['count: 1', "'count': must be 2 or more, not 1", undefined],
    ['count: 10', "'count': must be 9 or less, not 10", undefined],
    ['count: 2.5', "'count': must be a whole number, not 2.5", undefined],
    ['count: "4"', "'count': must be a number, not '4'", 'write it without quotes'],
    ['count: .inf', "'count': must be a number, not Infinity", undefined],
    [
      'count:',
      "'count': must be a number, and nothing is there",
      'write a value after the colon, or leave the key out',
    ],
    ['count: [3]', "'count': must be a number, not a list", undefined],
    ['share: 0', "'share': must be more than 0, not 0", undefined],
    ['share: 1', "'share': must be less than 1, not 1", undefined],
    ['share: 0.15', "'share': must be a multiple of 0.1, not 0.15", undefined],
    ['word: ""', "'word': must not be empty", undefined],
    ['word: abcde', "'word': must have 4 characters or fewer, not 'abcde'", undefined],
    ['word: 4', "'word': must be a text, not 4", 'put it in quotes'],
    ['word: {a: 1}', "'word': must be a text, not a mapping", undefined],
    ['long: a', "'long': must have 2 characters or more, not 'a'", undefined],
    ['list: []', "'list': must not be empty", undefined],
    ['list: [a, b, c]', "'list': must have 2 entries or fewer, not a list", undefined],
    ['list: a', "'list': must be a list, not 'a'", "write a list: ['a']"],
    ['kind: gren', "'kind': must be one of red, green, not 'gren'", "did you mean 'green'?"],
    ['one: other', "'one': must be x, not 'other'", undefined],
    ['is: yes', "'is': must be true or false, not 'yes'", 'write true'],
    ['is: Off', "'is': must be true or false, not 'Off'", 'write false'],
    ['either: 3', "'either': must be true or false, or a mapping (keys and values), not 3", undefined],
    ['either: {a: x}', "'either.a': must be a number, not 'x'", undefined],
    ['either: {}', "'either.a': is missing", 'add it: a: …'],
    [
      'map: [a]',
      "'map': must be a mapping (keys and values), not a list",
      'write KEY: VALUE for each, without dashes and brackets',
    ],
    ['map: {a: 1.5}', "'map.a': must be a whole number, not 1.5", undefined],
    ['url: deb', "'url': must be a URL, such as https://deb.debian.org/debian, not 'deb'", undefined],
  ])('is told in plain words: %s', (text, message, fix) => {
    expect(told(text)).toEqual([message, fix]);
  });
  it('is told in plain words in every kind of document', () => {
    const guests = 'guests: {v1: }\n';
    const inFabric = (keys: string): string => `${guests}fabric: {lan: {members: [v1], ${keys}}}\n`;
    const cases: [z.ZodType, string, string][] = [
      [clusterSpecSchema, inFabric('mtu: 5'), "'fabric.lan.mtu': must be 576 or more, not 5"],
      [
        clusterSpecSchema,
        inFabric('capture: {files: 0}'),
        "'fabric.lan.capture.files': must be 1 or more, not 0",
      ],
      [clusterSpecSchema, `${guests}seed: -1\n`, "'seed': must be 0 or more, not -1"],
      [
        clusterSpecSchema,
        `${guests}fabric: {lan: {members: v1}}\n`,
        "'fabric.lan.members': must be a list of guests, or a mapping of guests to their links' keys, not 'v1'",
      ],
      [
        clusterSpecSchema,
        `${guests}fabric: {lan: {members: []}}\n`,
        "'fabric.lan.members': must not be empty",
      ],
      [
        clusterSpecSchema,
        `${guests}fabric: {lan: {}}\n`,
        "'fabric.lan.members': is missing; it must be a list of guests, or a mapping of guests to their links' keys",
      ],
      [
        clusterSpecSchema,
        'guests: {v1: {memory: }}\n',
        "'guests.v1.memory': must be a size such as 512M or 4G, and nothing is there",
      ],
      [
        siteSpecSchema,
        'networks: [10.0.0.0/8]\nimages: [host]\nnodes: {}\nfirst-port: 80\n',
        "'first-port': must be 1024 or more, not 80",
      ],
      [studySpecSchema, 'benchmarks: []\n', "'benchmarks': must not be empty"],
      [recipeSchema, 'name: a\nbase: {suite: bookworm}\ncommands: [""]\n', "'commands.0': must not be empty"],
      [
        networkSchema,
        'levels: numa:2\ncapacity: {guests: -1}\n',
        "'capacity.guests': must be 0 or more, not -1",
      ],
    ];
    for (const [document, text, message] of cases) {
      expect(faultOf(() => parseYaml(text, document, 'f')).message).toBe(message);
    }
  });
  it('is told with the others that are not known in its place', () => {
    const fault = faultOf(() => parseYaml('wrod: a\nlsit: [b]\nmap: {a: x}\n', schema, 'f'));
    expect([fault.fix, ...fault.detail!.split('\n')]).toEqual([
      "did you mean 'word'?",
      "also f:2:1: unknown key 'lsit'; did you mean 'list'?",
      "also f:3:10: 'map.a': must be a number, not 'x'",
    ]);
  });
  it('is told once', () => {
    const fault = faultOf(() =>
      parseYaml('guests: {v1: }\nseed: 99999999999999999999\n', clusterSpecSchema, 'f'),
    );
    expect([fault.message, fault.detail]).toEqual([
      expect.stringMatching(/^'seed': must be 9007199254740991 or less, not 1/),
      undefined,
    ]);
  });
  it('is not shown whole where it is long', () => {
    expect(told(`kind: ${'x'.repeat(5000)}`)[0]).toHaveLength(
      "'kind': must be one of red, green, not ''…".length + 60,
    );
  });
});
