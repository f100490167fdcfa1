/** HTML as text: only what was escaped, or made here, can become part of a page. Pure. */

import { escapeText } from '../../markup.ts';

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
  /** Stays in sight while the others scroll; only for short first columns. */
  isSticky?: boolean;
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
  const classOf = (i: number) => {
    const { isNumber, isSticky } = columns[i] ?? {};
    const names = [isNumber === true ? 'number' : '', isSticky === true ? 'sticky' : ''].join(' ').trim();
    return names === '' ? html`` : html` class="${names}"`;
  };
  const row = (cells: readonly Content[]) =>
    cells.map((cell, i) => {
      const rest = columns.length - cells.length + 1;
      if (i === 0) return html`<th scope="row"${classOf(i)}>${cell}</th>`;
      if (i === cells.length - 1 && rest > 1) return html`<td colspan="${rest}" class="wide">${cell}</td>`;
      return html`<td${classOf(i)}>${cell}</td>`;
    });
  return box(
    caption,
    html`<table aria-label="${caption}">
<thead><tr>${columns.map(({ title }, i) => html`<th scope="col"${classOf(i)}>${title}</th>`)}</tr></thead>
${groups.map(
  ({ title, rows }) =>
    html`<tbody>${
      title === undefined
        ? undefined
        : html`<tr class="group"><th scope="rowgroup" colspan="${columns.length}">${title}</th></tr>`
    }${rows.map((cells) => html`<tr>${row(cells)}</tr>\n`)}</tbody>`,
)}
</table>`,
    columns.length,
  );
}

/** The caption stays where it is while the table under it scrolls. */
function box(caption: string, content: Html, columns: number): Html {
  return html`<div class="${columns <= 2 ? 'box small-box' : 'box'}"><p class="caption">${caption}</p>
<div class="scroll" tabindex="0" role="region" aria-label="${caption}">${content}</div></div>`;
}

/** Names and values, one below the other. */
export function factTable(caption: string, facts: readonly (readonly [string, Content])[]): Html {
  const rows = facts.map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${value}</td></tr>\n`);
  return box(caption, html`<table class="facts" aria-label="${caption}"><tbody>${rows}</tbody></table>`, 2);
}
