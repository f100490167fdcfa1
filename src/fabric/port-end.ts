/**
 * What is on the far side of a port: a guest's socket, a trunk to another host, an uplink. The fabric knows ends by
 * this interface alone.
 *
 * Bytes are lent, never given: whoever gets a frame (`PortSink.frame`, `PortEnd.send`) copies what it keeps before it
 * returns, and writes nothing to it.
 */

import type { PortPlan } from './plan.ts';

/** The fabric's side of a port; an end calls it. */
export interface PortSink {
  /**
   * A frame came from the end: `buffer[offset]` to `buffer[offset + length - 1]`, without frame check sequence.
   * Nothing of it is trusted: any length and any content may be given, and what breaks the rules is dropped and
   * counted. Never throws.
   */
  frame(buffer: Buffer, offset: number, length: number): void;
  /**
   * As `frame`, for many frames at once, each after its length as 4 bytes, big-endian. Takes what is whole from the
   * start; stops at a frame of which the end is missing, and at a length that no frame can have (over 65,553).
   *
   * @returns number of bytes taken
   */
  frames(buffer: Buffer, offset: number, bytes: number): number;
  /** The end can take frames from now on. Until then, and after `disconnected`, what is sent to it is dropped. */
  connected(): void;
  /** @param reason for people, as in `the socket was closed` */
  disconnected(reason: string): void;
  /** Counts frames that the end itself had to drop on their way in, because they were not whole or not allowed. */
  dropped(reason: 'malformed' | 'giant' | 'runt' | 'denied' | 'memory', frames: number): void;
  /** Tells people of a peer that broke the framing, and was therefore disconnected. */
  framingLost(detail: string): void;
}

export interface PortEnd {
  /** Begins to connect, and connects again whenever the other side was away. Called once. */
  start(sink: PortSink): void;
  /**
   * Takes a frame that leaves the fabric. The end writes what it collected at the end of the event loop's turn, not
   * frame by frame. Bounded: an end whose other side does not read must drop.
   *
   * @returns false when the frame was dropped; the fabric counts it
   */
  send(buffer: Buffer, offset: number, length: number): boolean;
  /**
   * As `send`, for many frames at once, each after its length as 4 bytes, big-endian; whole frames only. An end that
   * speaks this form anyway can copy them in one go. Where it is missing, the fabric calls `send` for each.
   *
   * @returns number of bytes taken from the start: whole frames; the rest was dropped
   */
  sendRun?(buffer: Buffer, offset: number, bytes: number): number;
  /** Takes nothing in from now on, while the fabric is frozen. What was sent before may still go out. */
  pause(): void;
  resume(): void;
  /**
   * Frames that were taken by `send` and have not begun to go out, in order, as in `sendRun`: for a checkpoint.
   * They stay where they are. An end that cannot tell gives none.
   */
  waiting?(): Buffer;
  /** Whoever waits before trying to connect again tries now. */
  retry?(): void;
  /** Closes for good; the sink is not called again. */
  stop(): void;
}

/** What an end may know of the port that it is for. */
export interface PortContext {
  /** Name of the network. */
  network: string;
  /** IPv4 prefix of the network. */
  subnet: string;
  /** Largest payload of a frame: frames of up to `mtuBytes + 18` bytes are let in. */
  mtuBytes: number;
  port: PortPlan;
}

/**
 * Makes the end of a port; connects nothing before `start`.
 * @throws LodgeError when what the plan says cannot be done here
 */
export type OpenPortEnd<End> = (end: End, context: PortContext) => PortEnd;
