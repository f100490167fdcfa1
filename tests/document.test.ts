import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseYaml, readDocument } from '../src/document.ts';
import { LodgeError } from '../src/errors.ts';
import { guestSpecSchema } from '../src/guest/spec.ts';

function faultOf(text: string): LodgeError {
  try {
    parseYaml(text, guestSpecSchema, 'guest.yaml');
  } catch (error) {
    if (error instanceof LodgeError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('a spec in YAML', () => {
  it('is completed with defaults, its sizes and times in bytes and milliseconds', () => {
    const spec = parseYaml(
      'memory: 4G\nboot-timeout: 30s\nvolumes: ["~/data:/data:ro"]\n',
      guestSpecSchema,
      'f',
    );
    expect(spec).toMatchObject({ image: 'host', cpus: 1, memory: 4 * 1024 ** 3, 'boot-timeout': 30_000 });
    expect(spec.pages).toEqual({ host: 'any', strict: true });
    expect(spec.volumes).toEqual([{ source: '~/data', target: '/data', readOnly: true }]);
  });
  it.each([
    ['cpus: 2\nmemroy: 4G\n', 'spec-unknown-key', 'guest.yaml:2:1', "did you mean 'memory'?"],
    ['image: {kernle: ./k}\n', 'spec-unknown-key', 'guest.yaml:1:9', "did you mean 'kernel'?"],
    ['cpus: 2\nmemory: 4\n', 'spec-value', 'guest.yaml:2:9', undefined],
    ['cpus: many\n', 'spec-value', 'guest.yaml:1:7', undefined],
    ['pages: 3M\n', 'spec-value', 'guest.yaml:1:8', undefined],
    ['a: [1,\n', 'spec-syntax', 'guest.yaml:2:1', undefined],
    ['pages: tph\n', 'spec-value', 'guest.yaml:1:8', "did you mean 'thp'?"],
    ['accelerator: kmv\n', 'spec-value', 'guest.yaml:1:14', "did you mean 'kvm'?"],
    ['- cpus\n', 'spec-value', 'guest.yaml:1:1', undefined],
    ['cpus: 1\ncpus: 2\n', 'spec-syntax', 'guest.yaml:2:1', 'keep one of them, with what both say'],
    ['{cpus:2}\n', 'spec-unknown-key', 'guest.yaml:1:2', 'write a space after the colon: cpus: 2'],
    ['{cpus 2}\n', 'spec-unknown-key', 'guest.yaml:1:2', 'write a colon after the key: cpus: 2'],
    ['cpus 2\nmemory 1G\n', 'spec-value', 'guest.yaml:1:1', 'write KEY: VALUE, with a space after the colon'],
  ])('with a fault is refused: %j', (text, code, where, fix) => {
    const fault = faultOf(text);
    expect([fault.code, fault.where]).toEqual([code, where]);
    if (fix !== undefined) expect(fault.fix).toBe(fix);
  });
  it('tells all its faults at once, in words of its own', () => {
    const fault = faultOf('append: [a]\ncpus: 0\nmemroy: 1G\nimage: {initrd: x}\n');
    expect([fault.where, ...fault.detail!.split('\n')].sort()).toEqual([
      "also guest.yaml:1:9: 'append': must be a text, not a list",
      "also guest.yaml:2:7: 'cpus': must be a whole number from 1 to 4096, not 0",
      "also guest.yaml:4:8: 'image.kernel': is missing; add it: kernel: …",
      'guest.yaml:3:1',
    ]);
  });
  it('that is empty asks for the defaults', () => {
    expect(parseYaml('# nothing\n', guestSpecSchema, 'f')).toMatchObject({ image: 'host', cpus: 1 });
  });
  it('cannot be made to grow without end', () => {
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${[...'bcdefgh'].map((name, i) => `${name}: &${name} [${Array(9).fill(`*${'abcdefg'[i]}`).join(',')}]`).join('\n')}\n`;
    expect(faultOf(bomb).code).toBe('spec-syntax');
  });
});

describe('a document', () => {
  it('that has no end is refused', () => {
    expect(() => readDocument('/dev/zero', '--spec /dev/zero')).toThrow(/it is a device/);
  });
  it.each([
    [Buffer.from([0x61, 0, 0x62]), 'it is no text in UTF-8'],
    [Buffer.from('name: Z\u00fcrich\n', 'latin1'), 'it is no text in UTF-8'],
    [Buffer.from('\ufeffcpus: 1\n', 'utf16le'), 'it is text in UTF-16'],
  ])('that is no text is refused: %j', (bytes, message) => {
    const directory = mkdtempSync(join(tmpdir(), 'lodge-test-'));
    const file = join(directory, 'f.yaml');
    try {
      writeFileSync(file, bytes);
      expect(() => readDocument(file, 'f')).toThrow(expect.objectContaining({ code: 'usage', message }));
      expect(() => readDocument(directory, 'd')).toThrow('it is a directory');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
  it('that is not there is told by its flag', () => {
    expect(() => readDocument('/nowhere/x', '--spec x')).toThrow(
      expect.objectContaining({ code: 'usage', where: '--spec x', message: 'there is no such file' }),
    );
  });
});
