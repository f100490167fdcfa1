/** What is said of one thing when a fabric's isolation is proved. */

export interface IsolationFinding {
  /** `pass`: shut, as it should be. `note`: open because it was asked for. `fail`: open. */
  verdict: 'pass' | 'note' | 'fail';
  /** The guest, or the network. */
  subject: string;
  /** One line: what was looked at, and what was found. */
  found: string;
}
