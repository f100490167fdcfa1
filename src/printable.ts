/** Text that somebody else wrote, made fit to be shown. */

/** A text from elsewhere (a guest, an image) without what a terminal would act on: escape sequences and control characters. */
export function printable(text: string): string {
  return (
    text
      // One that sets a title and never ends loses its beginning alone: it must not hide all that comes after it.
      // biome-ignore lint/suspicious/noControlCharactersInRegex: taking them out is the point
      .replace(/\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0000-\u001f]*(?:\u0007|\u001b\\)|[ -/]*[0-~])/g, '')
      // biome-ignore lint/suspicious/noControlCharactersInRegex: taking them out is the point
      .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '')
  );
}

const longestQuoted = 60;

/** A text in quotes, cut where it is long. */
export function quoted(text: string): string {
  return `'${text.length > longestQuoted ? `${text.slice(0, longestQuoted)}…` : text}'`;
}
