/** The interpreter of a script, as the kernel and env(1) find it. Format: execve(2), "Interpreter scripts". */

/**
 * The programs that the first line of a script names: a path, and for `/usr/bin/env NAME` also the bare name.
 * @param head the first bytes of the file; the kernel looks at 256
 */
export function interpretersOf(head: Buffer): string[] {
  if (head.length < 3 || head[0] !== 0x23 || head[1] !== 0x21) return [];
  const end = head.indexOf(0x0a);
  const line = head.toString('utf8', 2, end === -1 ? Math.min(head.length, 256) : end);
  if (line.includes('\0')) return [];
  const [interpreter, ...words] = line.trim().split(/[ \t]+/);
  if (interpreter === undefined || !interpreter.startsWith('/')) return [];
  if (!/\/env$/.test(interpreter)) return [interpreter];
  // env takes options (`-S` among them) and assignments before the program's name.
  const name = words.find((word) => !word.startsWith('-') && !/^\w+=/.test(word));
  return name === undefined ? [interpreter] : [interpreter, name];
}
