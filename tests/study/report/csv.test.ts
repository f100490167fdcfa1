import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { csvField, renderCsv } from '../../../src/study/report/csv.ts';
import { sampleStudy } from '../sample-study.ts';
import { hostileStudy, hostileText } from './hostile.ts';

/** Reads RFC 4180 as it stands, and refuses what it does not allow. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let at = 0;
  while (at < text.length) {
    let field = '';
    if (text[at] === '"') {
      for (at++; ; at++) {
        if (at >= text.length) throw new Error('a quoted field does not end');
        if (text[at] === '"' && text[at + 1] === '"') field += text[at++];
        else if (text[at] === '"') break;
        else field += text[at];
      }
      at++;
    } else {
      while (at < text.length && !/[",\r\n]/.test(text[at]!)) field += text[at++];
    }
    row.push(field);
    if (text[at] === ',') at++;
    else if (text.startsWith('\r\n', at)) {
      at += 2;
      rows.push(row);
      row = [];
    } else throw new Error(`neither a comma nor a line end at ${at}`);
  }
  return rows;
}

function records(csv: string): Record<string, string>[] {
  const [head, ...rows] = parseCsv(csv);
  return rows.map((row) => {
    expect(row).toHaveLength(head!.length);
    return Object.fromEntries(head!.map((name, i) => [name, row[i]!]));
  });
}

describe('CSV', () => {
  it('gives any texts back as they were', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { minLength: 1 }), (fields) => {
        expect(parseCsv(`${fields.map(csvField).join(',')}\r\n`)).toEqual([fields]);
      }),
    );
    expect(csvField('a "b", c\nd')).toBe('"a ""b"", c\nd"');
  });

  it('has one row for each sample and metric, two for each point of a sweep', () => {
    const study = sampleStudy({ machine: 'uml', repeats: 3 });
    const rows = records(renderCsv(study));
    const expected = study.samples.reduce((sum, { measured }) => {
      const own = Object.values(measured).reduce<number>(
        (count, value) => count + (typeof value === 'number' ? 1 : 2 * value.length),
        0,
      );
      return sum + Math.max(1, own);
    }, 0);
    expect(rows).toHaveLength(expected);
    const hpl = rows.find(({ metric, outcome }) => metric === 'hpl-gflops' && outcome === 'ok')!;
    const sample = study.samples[0]!;
    expect(Number(hpl.value)).toBe(sample.measured['hpl-gflops']);
    expect(hpl).toMatchObject({
      unit: 'GFLOPS',
      own_pages: '2M',
      host_pages: '',
      warm_up: 'true',
      cores: '1',
    });
    const sweep = rows.filter(
      ({ metric, message_bytes }) => metric === 'pingpong-sweep.latency' && message_bytes === '4096',
    );
    expect(sweep.length).toBeGreaterThan(0);
    expect(sweep[0]!.unit).toBe('us');
  });

  it('keeps failed runs, with why', () => {
    const failed = records(renderCsv(hostileStudy())).filter(({ outcome }) => outcome === 'failed');
    expect(failed).toHaveLength(1);
    expect(failed[0]).toMatchObject({ metric: '', value: '', error: hostileText, flags: hostileText });
  });

  it('is a heading alone for a study without samples', () => {
    expect(parseCsv(renderCsv({ ...sampleStudy({ machine: 'native' }), samples: [] }))).toHaveLength(1);
  });
});
