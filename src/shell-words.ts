/** Words as a shell reads them. Pure. */

/** A word for sh(1): as it is where nothing in it means anything to a shell, else in quotes. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** A command for sh(1), on one line. */
export function shellLine(argv: readonly string[]): string {
  return argv.map(shellWord).join(' ');
}
