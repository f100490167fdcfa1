import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MacTable, macText, parseMac } from '../../src/fabric/mac-table.ts';

describe('the table of addresses', () => {
  it('does what a map does', () => {
    const key = fc.record({
      network: fc.integer({ min: 0, max: 2 }),
      hi: fc.constantFrom(0x024c, 0xfffe, 0),
      lo: fc.integer({ min: 0, max: 40 }).map((lo) => (lo * 0x8000001) >>> 0),
    });
    const step = fc.record({
      key,
      port: fc.integer({ min: 0, max: 3 }),
      action: fc.constantFrom('put', 'remove'),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const table = new MacTable();
        const model = new Map<string, { port: number; entry: number }>();
        for (const [time, { key: at, port, action }] of steps.entries()) {
          const name = JSON.stringify(at);
          const known = model.get(name);
          const entry = table.find(at.network, at.hi, at.lo);
          expect(entry).toBe(known?.entry ?? -1);
          if (action === 'remove') {
            if (entry >= 0) table.remove(entry);
            model.delete(name);
          } else if (entry >= 0) {
            table.move(entry, port, port * 2, false);
            model.set(name, { port, entry });
          } else {
            const added = table.add(at.network, at.hi, at.lo, port, port * 2, false, time);
            model.set(name, { port, entry: added });
          }
          expect(table.count).toBe(model.size);
        }
        for (const port of [0, 1, 2, 3]) {
          const entries = [...model.values()].filter((one) => one.port === port).map(({ entry }) => entry);
          expect([...table.ofPort(port)].sort()).toEqual(entries.sort());
          for (const entry of entries)
            expect([table.port(entry), table.endpoint(entry)]).toEqual([port, port * 2]);
        }
      }),
    );
  });

  it('finds each of a hundred thousand', () => {
    const table = new MacTable();
    for (let i = 0; i < 100_000; i++) table.add(1, i & 0xfeff, i, i % 1000, i, false, 0);
    for (let i = 0; i < 100_000; i++) expect(table.endpoint(table.find(1, i & 0xfeff, i))).toBe(i);
    expect(table.find(2, 1, 1)).toBe(-1);
    expect([...table.ofPort(7)]).toHaveLength(100);
  });
});

describe('the text of an address', () => {
  it('is read and written', () => {
    expect(parseMac('02:4C:00:ff:00:09')).toEqual({ hi: 0x024c, lo: 0x00ff0009 });
    expect(macText(0x024c, 0xff0009)).toBe('02:4c:00:ff:00:09');
    for (const text of ['', '02:4c:00:00:01', '02:4c:00:00:00:0g', '024c00000001', '02:4c:00:00:00:01:02']) {
      expect(parseMac(text)).toBeUndefined();
    }
  });
});
