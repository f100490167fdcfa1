import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { renderCsv } from '../../../src/study/report/csv.ts';
import { renderHtml } from '../../../src/study/report/html.ts';
import { writeReport } from '../../../src/study/report/write.ts';
import { sampleStudy } from '../sample-study.ts';

const study = sampleStudy({ machine: 'uml', repeats: 3 });
const path = process.env.PATH;
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'lodge-report-'));
});

afterEach(() => {
  process.env.PATH = path;
  rmSync(directory, { recursive: true, force: true });
});

/** Leaves only these programs to be found. */
function onlyPrograms(programs: Record<string, string>): void {
  const bin = join(directory, 'bin');
  mkdirSync(bin);
  for (const [name, text] of Object.entries(programs)) {
    writeFileSync(join(bin, name), text);
    chmodSync(join(bin, name), 0o755);
  }
  process.env.PATH = bin;
}

const all = () => readdirSync(directory, { recursive: true }).map(String).sort();

describe('writing a report', () => {
  it('leaves the page, the figures and the samples, says which, and nothing aside', async () => {
    onlyPrograms({});
    const { files, notes } = await writeReport(study, directory);
    expect(readFileSync(join(directory, 'report.html'), 'utf8')).toBe(renderHtml(study));
    expect(readFileSync(join(directory, 'results.csv'), 'utf8')).toBe(renderCsv(study));
    const names = files.map((file) => relative(directory, file));
    expect(names[0]).toBe('report.html');
    expect(names).toContain('figures/figure-2-hpl.svg');
    expect(names).toContain('figures/overhead.svg');
    expect(all()).toEqual([...names, 'bin', 'figures'].sort());
    expect(notes).toHaveLength(1);
    expect(notes[0]).toContain('rsvg-convert');
  });

  it('makes PNG with what is there', async () => {
    onlyPrograms({
      'rsvg-convert':
        // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the shell's
        '#!/bin/sh\nfor a; do case $a in --output=*) printf png > "${a#--output=}";; esac; done\n',
    });
    const { files, notes } = await writeReport(study, directory);
    const count = (ending: string) => files.filter((file) => file.endsWith(ending)).length;
    expect(count('.png')).toBe(count('.svg'));
    expect(notes).toEqual([]);
    expect(readFileSync(join(directory, 'figures/figure-2-hpl.png'), 'utf8')).toBe('png');
  });

  it('goes on without PNG when the program fails, and takes stale ones away', async () => {
    onlyPrograms({ 'rsvg-convert': '#!/bin/sh\necho no fonts >&2; exit 1\n' });
    mkdirSync(join(directory, 'figures'));
    writeFileSync(join(directory, 'figures/figure-2-hpl.png'), 'of an earlier report');
    writeFileSync(join(directory, 'figures/mine.png'), 'not ours');
    const { files, notes } = await writeReport(study, directory);
    expect(files.some((file) => file.endsWith('.png'))).toBe(false);
    expect(notes[0]).toMatch(/could not be made by rsvg-convert: no fonts/);
    expect(readdirSync(join(directory, 'figures')).filter((name) => name.endsWith('.png'))).toEqual([
      'mine.png',
    ]);
  });

  it('replaces an earlier report, and clears what a killed one left', async () => {
    onlyPrograms({});
    writeFileSync(join(directory, 'report.html'), 'old');
    writeFileSync(join(directory, 'results.jsonl'), 'the samples');
    const [forgotten, running] = ['.report-0123456789abcdef', '.report-fedcba9876543210'];
    for (const name of [forgotten, running]) mkdirSync(join(directory, name));
    utimesSync(join(directory, forgotten), 0, 0);
    await writeReport(study, directory);
    expect(readFileSync(join(directory, 'report.html'), 'utf8')).not.toBe('old');
    expect(readFileSync(join(directory, 'results.jsonl'), 'utf8')).toBe('the samples');
    expect(readdirSync(directory).filter((name) => name.startsWith('.report-'))).toEqual([running]);
  });

  it('leaves whole files when two write at once', async () => {
    onlyPrograms({});
    await Promise.all([writeReport(study, directory), writeReport(study, directory)]);
    expect(readFileSync(join(directory, 'report.html'), 'utf8')).toBe(renderHtml(study));
    expect(readdirSync(directory).filter((name) => name.startsWith('.report-'))).toEqual([]);
  });

  it('says where it could not write', async () => {
    const file = join(directory, 'file');
    writeFileSync(file, '');
    await expect(writeReport(study, file)).rejects.toMatchObject({ code: 'host-io', where: file });
  });
});
