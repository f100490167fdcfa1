/** HTML as text: only what was escaped, or made here, can become part of a page. Pure. */

import { escapeText } from './text.ts';

/** A piece of HTML that is safe to put into a page. */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type Content = Html | string | number | undefined | readonly Content[];

/**
 * A template for HTML: values are escaped, unless they are {@link Html} themselves; lists are joined.
 * Values may stand between tags and inside quoted attributes, nowhere else.
 */
export function html(parts: TemplateStringsArray, ...values: readonly Content[]): Html {
  return new Html(parts.map((part, i) => part + (i < values.length ? render(values[i]) : '')).join(''));
}

/** SVG that our own code made. */
export function ownMarkup(text: string): Html {
  return new Html(text);
}

function render(content: Content): string {
  if (content === undefined) return '';
  if (content instanceof Html) return content.text;
  if (Array.isArray(content)) return content.map(render).join('');
  return escapeText(String(content));
}

export interface Column {
  title: string;
  /** Numbers stand at the right, in digits of one width. */
  isNumber?: boolean;
}

/** Rows under one heading; without a title, rows by themselves. */
export interface RowGroup {
  title?: Content;
  rows: readonly (readonly Content[])[];
}

/**
 * A table that scrolls in a box of its own where it is wider than the page. The first cell of a row is its heading.
 * A row with fewer cells than columns has its last one reach to the end.
 */
export function table(caption: string, columns: readonly Column[], groups: readonly RowGroup[]): Html {
  const classOf = (i: number) => (columns[i]?.isNumber === true ? html` class="number"` : html``);
  const row = (cells: readonly Content[]) =>
    cells.map((cell, i) => {
      const rest = columns.length - cells.length + 1;
      if (i === 0) return html`<th scope="row"${classOf(i)}>${cell}</th>`;
      if (i === cells.length - 1 && rest > 1) return html`<td colspan="${rest}" class="wide">${cell}</td>`;
      return html`<td${classOf(i)}>${cell}</td>`;
    });
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table>
<caption>${caption}</caption>
<thead><tr>${columns.map(({ title }, i) => html`<th scope="col"${classOf(i)}>${title}</th>`)}</tr></thead>
${groups.map(
  ({ title, rows }) =>
    html`<tbody>${
      title === undefined
        ? undefined
        : html`<tr class="group"><th scope="rowgroup" colspan="${columns.length}">${title}</th></tr>`
    }${rows.map((cells) => html`<tr>${row(cells)}</tr>\n`)}</tbody>`,
)}
</table></div>`;
}

/** Names and values, one below the other. */
export function factTable(caption: string, facts: readonly (readonly [string, Content])[]): Html {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table class="facts">
<caption>${caption}</caption><tbody>
${facts.map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${value}</td></tr>\n`)}</tbody></table></div>`;
}

/** A command as a shell would take it. */
export function shellLine(argv: readonly string[]): string {
  return argv
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`))
    .join(' ');
}
