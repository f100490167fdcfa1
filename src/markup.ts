/** Text from anywhere on its way into HTML and SVG, made harmless. Pure. */

/**
 * Control characters, lone surrogates and what XML 1.0 does not allow (section 2.2), and the characters that turn
 * the direction of the text around them. Tab and line ends stay.
 */
const unfit = /[\p{Cc}\p{Cs}\u202A-\u202E\u2066-\u2069\uFFFE\uFFFF]/gu;
const kept = new Set(['\t', '\n', '\r']);

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text from anywhere without the characters that no page may have; each becomes U+FFFD, so that it is seen. */
export function printable(text: string): string {
  return text.replace(unfit, (character) => (kept.has(character) ? character : '\uFFFD'));
}

/** Text that is safe both as content and inside a quoted attribute, in HTML and in XML. */
export function escapeText(text: string): string {
  return printable(text).replace(/[&<>"']/g, (character) => entities[character]!);
}
