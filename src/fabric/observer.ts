/** How a link is looked at: what a capture implements. */

import type { BpfProgram } from './capture/bpf.ts';
import type { CapturePlan } from './plan.ts';

/**
 * Sees the frames of one direction of a link. A link is seen from the guest's end, or from switch `a`: frames of
 * `out` when they come onto the link, before anything is done to them; frames of `in` when they leave it. So what is
 * seen is what a capture in the guest itself would show, stamped by the fabric's clock.
 */
export interface Observer {
  /**
   * Called for each frame, in order of time; must neither throw nor wait. The bytes are valid during the call only
   * and must not be written to.
   *
   * @param seconds whole seconds since the Unix epoch: wall-clock time at the last start or thaw of the fabric, plus
   *   monotonic time since. Time in which the fabric was frozen shows as a gap.
   * @param nanoseconds 0 to 999,999,999 within that second
   * @param buffer the frame is `buffer[offset]` to `buffer[offset + length - 1]`: from the destination address to
   *   the end of the payload, without frame check sequence
   */
  observe(seconds: number, nanoseconds: number, buffer: Buffer, offset: number, length: number): void;
}

/** A capture that runs on one link. */
export interface Capture {
  readonly out: Observer;
  readonly in: Observer;
  /** Writes what waits and closes the files. Nothing is observed after this was called. */
  close(): Promise<void>;
}

/**
 * Starts a capture; `src/fabric/capture/` has it.
 *
 * @param link name of the link, as in the plan
 * @param onFailure is called once when the capture cannot go on (a full disk); the fabric then takes it off the link
 * @param filter the plan's, compiled; without it a filter that cannot be understood is told by `onFailure`
 * @throws LodgeError when the files cannot be made
 */
export type OpenCapture = (
  plan: CapturePlan,
  link: string,
  onFailure: (error: Error) => void,
  filter?: BpfProgram,
) => Capture;
