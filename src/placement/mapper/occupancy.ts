/** Who is where: slots of each place, and the rank in each. Kept as ranks move and swap. */

import type { Placement, Problem } from './problem.ts';

export interface Occupancy {
  placement: Placement;
  /** Slots of place p: from `slotStarts[p]` up to, and without, `slotStarts[p + 1]`. */
  slotStarts: Int32Array;
  /** Rank in each slot, or -1. */
  occupants: Int32Array;
  slotOf: Int32Array;
}

/** @param placement kept up to date by what is done to the occupancy */
export function occupancyOf(
  { ranks, room }: Pick<Problem, 'ranks' | 'room'>,
  placement: Placement,
): Occupancy {
  const slotStarts = new Int32Array(room.length + 1);
  for (let place = 0; place < room.length; place++) slotStarts[place + 1] = slotStarts[place]! + room[place]!;
  const occupants = new Int32Array(slotStarts[room.length]!).fill(-1);
  const slotOf = new Int32Array(ranks);
  const next = slotStarts.slice(0, room.length);
  for (let rank = 0; rank < ranks; rank++) {
    const slot = next[placement[rank]!]!++;
    occupants[slot] = rank;
    slotOf[rank] = slot;
  }
  return { placement, slotStarts, occupants, slotOf };
}

/** Moves a rank to a slot, and who is there, if anybody, to where it was. */
export function exchange(occupancy: Occupancy, rank: number, place: number, slot: number): void {
  const { placement, occupants, slotOf } = occupancy;
  const [oldPlace, oldSlot] = [placement[rank]!, slotOf[rank]!];
  const other = occupants[slot]!;
  occupants[slot] = rank;
  slotOf[rank] = slot;
  placement[rank] = place;
  occupants[oldSlot] = other;
  if (other >= 0) {
    slotOf[other] = oldSlot;
    placement[other] = oldPlace;
  }
}
