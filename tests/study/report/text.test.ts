import fc from 'fast-check';
import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { describe, expect, it } from 'vitest';
import { escapeText, printable } from '../../../src/markup.ts';
import { fitText, textWidthPx, wrapText } from '../../../src/study/report/text.ts';

describe('escaped text', () => {
  it('is no markup and no end of an attribute', () => {
    expect(escapeText(`<a href="x" id='y'>&`)).toBe('&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;');
  });

  it('shows where control characters and turns of direction were', () => {
    expect(printable('a\u0000b\u001b[31mc\u202Ed\u009Be\uD800')).toBe(
      'a\uFFFDb\uFFFD[31mc\uFFFDd\uFFFDe\uFFFD',
    );
    expect(printable('tab\tline\nend\r')).toBe('tab\tline\nend\r');
  });

  it('is well-formed XML that reads back as what was written, whatever it was', () => {
    const parser = new XMLParser({
      htmlEntities: true,
      ignoreAttributes: false,
      trimValues: false,
      parseTagValue: false,
    });
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), (text) => {
        const xml = `<t a="${escapeText(text)}">${escapeText(text)}</t>`;
        expect(XMLValidator.validate(xml)).toBe(true);
        // Parsers turn line ends into one kind (XML 1.0, section 2.11), so these are left out of what is compared.
        const plain = printable(text).replace(/[\r\n\t]/g, '');
        if (plain === '' || plain !== printable(text)) return;
        expect(parser.parse(`<t>${escapeText(plain)}</t>`).t).toBe(plain);
      }),
      { examples: [["it's"], ['&#39;'], ['&amp;lt; "']] },
    );
  });
});

describe('text on lines', () => {
  it('is cut with an ellipsis to fit', () => {
    const cut = fitText('Guest (uml) 2M/4K, unpinned', 12, 80);
    expect(cut.endsWith('…')).toBe(true);
    expect(textWidthPx(cut, 12)).toBeLessThanOrEqual(80);
    expect(fitText('short', 12, 80)).toBe('short');
  });

  it('breaks at spaces, and every line fits', () => {
    const lines = wrapText(`some words and one ${'x'.repeat(200)} that is far too long`, 12, 120);
    expect(lines.length).toBeGreaterThan(2);
    for (const line of lines) expect(textWidthPx(line, 12)).toBeLessThanOrEqual(120);
    expect(wrapText('', 12, 100)).toEqual([]);
  });
});
