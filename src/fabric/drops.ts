/** Why frames are dropped. The order is that of the counters; checkpoints name reasons, so it may change. */

export const dropReasons = [
  /** By the link's loss. */
  'loss',
  /** The queue for the link's bandwidth was full. */
  'queue',
  /** The fabric's memory for frames, or this direction's share of it, was full. */
  'memory',
  /** The link is cut. */
  'cut',
  /** Nothing leads to the destination's switch. */
  'unreachable',
  /** The destination is on the port that the frame came from. */
  'own-port',
  /** Nothing is connected to the port. */
  'detached',
  /** What is connected to the port does not read fast enough. */
  'overflow',
  /** Shorter than an Ethernet header. */
  'runt',
  /** Longer than the network's MTU and 18 bytes. */
  'giant',
  /** Not a frame that anybody may send: no source, or a group's address as source; framing was lost. */
  'malformed',
  /** The source address is not one of the port's. */
  'spoofed',
  /** The port has used all the source addresses it may. */
  'mac-limit',
  /** More broadcasts, multicasts and frames to unknown addresses than the port may send. */
  'storm',
  /** The end did not allow it. */
  'denied',
] as const;

export type DropReason = (typeof dropReasons)[number];

/** Indices of the reasons in counters. */
export const drop = Object.fromEntries(dropReasons.map((reason, index) => [reason, index])) as Record<
  DropReason,
  number
>;
