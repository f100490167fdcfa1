/** Prints a verb's result for programs: one JSON value. docs/reference/json.md says which each verb prints. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}
