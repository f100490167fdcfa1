/** Text on its way into HTML and SVG: measured, cut and broken into lines. Pure. */

/**
 * How wide a text is in a common sans-serif face, in pixels. Nobody knows the reader's font, so this errs a little
 * to the wide side, by kinds of letters.
 */
export function textWidthPx(text: string, sizePx: number): number {
  let thousandths = 0;
  for (const character of text) thousandths += widthOf(character);
  return (thousandths * sizePx) / 1000;
}

/** In thousandths of an em. */
function widthOf(character: string): number {
  if (/[ijl.,:;'|!·]/.test(character)) return 320;
  if (/[frtI()[\]/ \u2009\u202F-]/.test(character)) return 395;
  if (/[mwMW%@…]/.test(character)) return 950;
  if (/[A-Z−–+<>=±×]/.test(character)) return 720;
  return character > '\u2E7F' ? 1050 : 620;
}

/** The text, or as much of it as fits with an ellipsis. */
export function fitText(text: string, sizePx: number, widthPx: number): string {
  if (textWidthPx(text, sizePx) <= widthPx) return text;
  let fitting = '';
  let left = (widthPx * 1000) / sizePx - widthOf('…');
  for (const character of text) {
    left -= widthOf(character);
    // Where not even the first fits, it alone shows that there is something.
    if (left < 0 && fitting !== '') break;
    fitting += character;
  }
  return `${fitting.trimEnd()}…`;
}

/** Breaks a text at spaces into lines that fit; a word that is wider than a line is cut. */
export function wrapText(text: string, sizePx: number, widthPx: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/).filter((part) => part !== '')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (line !== '' && textWidthPx(longer, sizePx) > widthPx) {
      lines.push(fitText(line, sizePx, widthPx));
      line = word;
    } else {
      line = longer;
    }
  }
  if (line !== '') lines.push(fitText(line, sizePx, widthPx));
  return lines;
}

export function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
