/**
 * Memory for frames: one region, cut into slabs of 1 MiB, each of slots of one size. All bytes that the fabric moves lie
 * in this region, so that they are copied within it (`copyWithin`) without making a view for each frame.
 *
 * A slot is named by a number and counts its holders: a frame that is flooded is there once. Nothing is allocated per
 * frame. The region is reserved, not used: pages that no frame ever touched cost nothing.
 */

/** Sizes of slots. The smallest serve acknowledgements and ARP, the largest collect what goes to a socket. */
export const slotSizes = [256, 2048, 16384, 69632, 262144] as const;

export const largestSlotBytes = 262144;

const slabShift = 20;
const slabBytes = 1 << slabShift;
/** Slots are named by their place in units of the smallest size. */
const unitShift = 8;
const unitsPerSlab = slabBytes >> unitShift;

export class FramePool {
  /** The region. Its first `reservedBytes` are the fabric's own buffers, which are never slots. */
  readonly bytes: Buffer;
  readonly view: DataView;
  readonly limitBytes: number;

  #usedBytes = 0;
  readonly #firstSlab: number;
  /** By unit: holders of the slot that begins there, length of its frame, next free slot of the slab. */
  readonly #holders: Int32Array;
  readonly #lengths: Int32Array;
  readonly #nextFree: Int32Array;
  /** By slab. A slab of no class is free. */
  readonly #slabClass: Int8Array;
  readonly #slabFree: Int32Array;
  readonly #slabUsed: Int32Array;
  /** Slots from the start of the slab that were handed out at least once. */
  readonly #slabTouched: Int32Array;
  /** Slabs with free slots, a list for each class; and the free slabs, one after the other. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #open = new Int32Array(slotSizes.length).fill(-1);
  #freeSlab = -1;
  #freshSlab: number;
  readonly #slabs: number;

  /**
   * @param limitBytes for slots, a multiple of 1 MiB or rounded up to one
   * @param reservedBytes for buffers of the fabric itself, at the start of the region
   */
  constructor(limitBytes: number, reservedBytes = 0) {
    this.#firstSlab = Math.ceil(reservedBytes / slabBytes);
    this.#slabs = this.#firstSlab + Math.max(1, Math.ceil(limitBytes / slabBytes));
    this.limitBytes = (this.#slabs - this.#firstSlab) * slabBytes;
    const region = new ArrayBuffer(this.#slabs * slabBytes);
    this.bytes = Buffer.from(region);
    this.view = new DataView(region);
    const units = this.#slabs * unitsPerSlab;
    this.#holders = new Int32Array(units);
    this.#lengths = new Int32Array(units);
    this.#nextFree = new Int32Array(units);
    this.#slabClass = new Int8Array(this.#slabs).fill(-1);
    this.#slabFree = new Int32Array(this.#slabs).fill(-1);
    this.#slabUsed = new Int32Array(this.#slabs);
    this.#slabTouched = new Int32Array(this.#slabs);
    this.#next = new Int32Array(this.#slabs).fill(-1);
    this.#previous = new Int32Array(this.#slabs).fill(-1);
    this.#freshSlab = this.#firstSlab;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  get freeBytes(): number {
    return this.limitBytes - this.#usedBytes;
  }

  /** Bytes of the slot that a frame of this length takes; -1 when it is longer than any slot. */
  static slotBytesFor(length: number): number {
    const slotClass = classFor(length);
    return slotClass < 0 ? -1 : slotSizes[slotClass]!;
  }

  /**
   * A slot for a frame, with one holder.
   * @returns its number, or -1 when there is no memory or no slot is as large
   */
  allocate(length: number): number {
    const slotClass = classFor(length);
    if (slotClass < 0) return -1;
    let slab = this.#open[slotClass]!;
    if (slab < 0) {
      slab = this.#takeSlab(slotClass);
      if (slab < 0) return -1;
    }
    const size = slotSizes[slotClass]!;
    let slot = this.#slabFree[slab]!;
    if (slot >= 0) {
      this.#slabFree[slab] = this.#nextFree[slot]!;
    } else {
      const touched = this.#slabTouched[slab]!;
      this.#slabTouched[slab] = touched + 1;
      slot = (slab * slabBytes + touched * size) >>> unitShift;
    }
    const used = this.#slabUsed[slab]! + 1;
    this.#slabUsed[slab] = used;
    if (this.#slabFree[slab]! < 0 && (this.#slabTouched[slab]! + 1) * size > slabBytes) {
      this.#unlink(slab, slotClass);
    }
    this.#usedBytes += size;
    this.#holders[slot] = 1;
    this.#lengths[slot] = length;
    return slot;
  }

  /** One more holder of a slot. */
  hold(slot: number): void {
    this.#holders[slot] = this.#holders[slot]! + 1;
  }

  /** One holder less; without any the slot is free. */
  release(slot: number): void {
    const holders = this.#holders[slot]! - 1;
    if (holders < 0) throw new Error(`slot ${slot} of the frame pool is free already`);
    this.#holders[slot] = holders;
    if (holders > 0) return;
    const slab = slot >>> (slabShift - unitShift);
    const slotClass = this.#slabClass[slab]!;
    const size = slotSizes[slotClass]!;
    const wasFull = this.#slabFree[slab]! < 0 && (this.#slabTouched[slab]! + 1) * size > slabBytes;
    this.#nextFree[slot] = this.#slabFree[slab]!;
    this.#slabFree[slab] = slot;
    this.#usedBytes -= size;
    const used = this.#slabUsed[slab]! - 1;
    this.#slabUsed[slab] = used;
    if (wasFull) this.#link(slab, slotClass);
    if (used === 0) this.#giveSlab(slab, slotClass);
  }

  /** Where the slot begins in `bytes`. */
  offset(slot: number): number {
    return slot << unitShift;
  }

  length(slot: number): number {
    return this.#lengths[slot]!;
  }

  slotBytes(slot: number): number {
    return slotSizes[this.#slabClass[slot >>> (slabShift - unitShift)]!]!;
  }

  #takeSlab(slotClass: number): number {
    let slab = this.#freeSlab;
    if (slab >= 0) this.#freeSlab = this.#next[slab]!;
    else if (this.#freshSlab < this.#slabs) slab = this.#freshSlab++;
    else return -1;
    this.#slabClass[slab] = slotClass;
    this.#slabFree[slab] = -1;
    this.#slabTouched[slab] = 0;
    this.#slabUsed[slab] = 0;
    this.#link(slab, slotClass);
    return slab;
  }

  #giveSlab(slab: number, slotClass: number): void {
    this.#unlink(slab, slotClass);
    this.#slabClass[slab] = -1;
    this.#next[slab] = this.#freeSlab;
    this.#freeSlab = slab;
  }

  #link(slab: number, slotClass: number): void {
    const first = this.#open[slotClass]!;
    this.#next[slab] = first;
    this.#previous[slab] = -1;
    if (first >= 0) this.#previous[first] = slab;
    this.#open[slotClass] = slab;
  }

  #unlink(slab: number, slotClass: number): void {
    const next = this.#next[slab]!;
    const previous = this.#previous[slab]!;
    if (next >= 0) this.#previous[next] = previous;
    if (previous >= 0) this.#next[previous] = next;
    else this.#open[slotClass] = next;
  }
}

function classFor(length: number): number {
  if (length <= 256) return 0;
  if (length <= 2048) return 1;
  if (length <= 16384) return 2;
  if (length <= 69632) return 3;
  return length <= largestSlotBytes ? 4 : -1;
}
