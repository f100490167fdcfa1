// The form of `dist/lodge.pack` and `dist/lodge.cache`: an index, and pieces of bytes behind it. The file begins with
// the length of the index in digits; the index is JSON, and has the place of each piece, counted from the index's end.
const { readSync } = require('node:fs');

const lengthDigits = 8;
/** Enough for the index in one read. */
const usualIndexBytes = 32_768;

/** @param head {Record<string, unknown>} put into the index  @param data {Map<string, Uint8Array>} the pieces */
exports.packed = (head, data) => {
  let offset = 0;
  const pieces = {};
  for (const [name, { length }] of data) {
    pieces[name] = [offset, length];
    offset += length;
  }
  const index = Buffer.from(JSON.stringify({ ...head, pieces }));
  return Buffer.concat([
    Buffer.from(String(index.length).padStart(lengthDigits, '0')),
    index,
    ...data.values(),
  ]);
};

/** @returns the index of an open file, and what reads a piece: `undefined` for one that it does not have */
exports.unpack = (fd) => {
  const head = bytesAt(fd, 0, usualIndexBytes);
  const start = lengthDigits + Number(head.latin1Slice(0, lengthDigits));
  const whole = start <= head.length ? head : bytesAt(fd, 0, start);
  const index = JSON.parse(whole.latin1Slice(lengthDigits, start));
  const piece = (name) => {
    const place = index.pieces[name];
    return place === undefined ? undefined : bytesAt(fd, start + place[0], place[1]);
  };
  return { index, piece };
};

function bytesAt(fd, position, length) {
  const bytes = Buffer.allocUnsafe(length);
  return bytes.subarray(0, readSync(fd, bytes, 0, length, position));
}
