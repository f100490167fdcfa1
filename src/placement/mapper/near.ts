/** Places next to each other: where a swap or a move is worth looking for. Pure. */

import type { HostNetwork } from '../../machine/network/network.ts';

type Places = Pick<HostNetwork, 'axes' | 'places' | 'hierarchy'>;

/** Places that count as next to one on flat axes, from the innermost out. */
const nearOnFlat = [6, 6];
/** And in a hierarchy, by how far they are apart in its order. */
const nearInOrder = [1, -1, 2, -2, 3, -3, 5, -5];

/** What calls, with each place next to one, the same ones in the same order each time. */
export type EachNear = (place: number, visit: (near: number) => void) => void;

export function nearOf({ axes, places, hierarchy }: Places): EachNear {
  if (axes === undefined) {
    const { order } = hierarchy();
    const position = new Int32Array(places);
    for (let at = 0; at < order.length; at++) position[order[at]!] = at;
    return (place, visit) => {
      const at = position[place]!;
      for (const by of nearInOrder) {
        const other = order[at + by];
        if (other !== undefined) visit(other);
      }
    };
  }
  // Where all are as near, most are looked at in the innermost group, and fewer the further out.
  const inward = axes.map((_, d) => axes.slice(d + 1).filter(({ kind }) => kind === 'flat').length);
  const strides = axes.map((_, d) => axes.slice(d + 1).reduce((product, { size }) => product * size, 1));
  return (place, visit) => {
    for (let d = 0; d < axes.length; d++) {
      const { size, kind } = axes[d]!;
      const stride = strides[d]!;
      const at = Math.floor(place / stride) % size;
      const steps = Math.min(size - 1, kind === 'flat' ? (nearOnFlat[inward[d]!] ?? 1) : 2);
      for (let i = 0; i < steps; i++) {
        const by = kind === 'flat' || size === 2 ? i + 1 : i === 0 ? 1 : size - 1;
        const to = (at + by) % size;
        if (kind === 'line' && Math.abs(to - at) !== 1) continue;
        visit(place + (to - at) * stride);
      }
    }
  };
}

/** Places with room next to each place with room, as compressed rows. */
export function nearPlaces(network: Places, room: Int32Array): { nearStarts: Int32Array; near: Int32Array } {
  const { places } = network;
  const eachNear = nearOf(network);
  const nearStarts = new Int32Array(places + 1);
  let near = new Int32Array(8 * places);
  let count = 0;
  const add = (place: number): void => {
    if (room[place] === 0) return;
    if (count === near.length) {
      const larger = new Int32Array(2 * count);
      larger.set(near);
      near = larger;
    }
    near[count++] = place;
  };
  for (let place = 0; place < places; place++) {
    if (room[place] !== 0) eachNear(place, add);
    nearStarts[place + 1] = count;
  }
  return { nearStarts, near: near.slice(0, count) };
}
