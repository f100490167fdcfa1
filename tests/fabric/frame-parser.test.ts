import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { largestFrameBytes } from '../../src/fabric/fabric.ts';
import { FrameParser } from '../../src/fabric/frame-parser.ts';
import { FramePool } from '../../src/fabric/frame-pool.ts';
import { stream } from './rig.ts';

const longest = 1518;
const reserved = 2 ** 20;

/** Feeds a stream in pieces, as `PortSink.frames` of the fabric takes it. */
function parse(bytes: Buffer, cuts: readonly number[]) {
  const pool = new FramePool(2 ** 20, reserved);
  const frames: string[] = [];
  const dropped: Record<string, number> = {};
  const parser = new FrameParser(
    pool,
    {
      frame: (buffer, offset, length) => frames.push(buffer.toString('hex', offset, offset + length)),
      frames: (buffer, offset, available) => {
        let at = offset;
        const end = offset + available;
        while (end - at >= 4) {
          const length = buffer.readUInt32BE(at);
          if (length > largestFrameBytes || length > end - at - 4) break;
          frames.push(buffer.toString('hex', at + 4, at + 4 + length));
          at += 4 + length;
        }
        return at - offset;
      },
      dropped: (reason, count) => {
        dropped[reason] = (dropped[reason] ?? 0) + count;
      },
    },
    longest,
  );
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let at = 0;
  let isWhole = true;
  for (const end of [...ends, bytes.length]) {
    bytes.copy(pool.bytes, 100, at, end);
    isWhole = parser.feed(100, end - at);
    // What the next piece overwrites must not matter.
    pool.bytes.fill(0xee, 100, 100 + end - at);
    at = end;
    if (!isWhole) break;
  }
  const heldBytes = pool.usedBytes;
  parser.reset();
  expect(pool.usedBytes).toBe(0);
  return { frames, dropped, isWhole, heldBytes };
}

const frame = fc.uint8Array({ minLength: 1, maxLength: 1600 }).map((bytes) => Buffer.from(bytes));

describe('the parser of streams', () => {
  it('finds the frames wherever the stream is cut', () => {
    const frames = fc.array(frame, { maxLength: 12 });
    fc.assert(
      fc.property(frames, fc.array(fc.nat(20_000), { maxLength: 40 }), (sent, cuts) => {
        const { frames: found, dropped, isWhole } = parse(stream(...sent), cuts);
        expect(isWhole).toBe(true);
        // Whole giants are for the fabric to drop, those that are cut are not collected.
        const isLong = (hex: string) => hex.length > longest * 2;
        const expected = sent.map((one) => one.toString('hex'));
        expect(found.filter((hex) => !isLong(hex))).toEqual(expected.filter((hex) => !isLong(hex)));
        expect(found.filter(isLong).length + (dropped.giant ?? 0)).toBe(expected.filter(isLong).length);
      }),
    );
  });

  it('finds them when every byte comes alone', () => {
    const sent = [Buffer.alloc(60, 1), Buffer.alloc(1600, 2), Buffer.alloc(0), Buffer.alloc(14, 3)];
    const bytes = stream(...sent);
    const { frames, dropped } = parse(bytes, [...bytes.keys()]);
    expect(frames).toEqual([sent[0]!.toString('hex'), sent[3]!.toString('hex')]);
    expect(dropped).toEqual({ giant: 1, runt: 1 });
  });

  it('takes any garbage without failing, and holds no more than one frame of it', () => {
    const garbage = fc.uint8Array({ maxLength: 5000 }).map((bytes) => Buffer.from(bytes));
    const lengths = fc.constantFrom(0, 1, 13, 14, 1518, 1519, 65_553, 65_554, 0x7fffffff, 0xffffffff);
    const piece = fc.tuple(lengths, garbage).map(([length, bytes]) => {
      const header = Buffer.alloc(4);
      header.writeUInt32BE(length);
      return Buffer.concat([header, bytes]);
    });
    fc.assert(
      fc.property(
        fc.array(fc.oneof(piece, garbage)),
        fc.array(fc.nat(20_000), { maxLength: 20 }),
        (pieces, cuts) => {
          const { heldBytes } = parse(Buffer.concat(pieces), cuts);
          expect(heldBytes).toBeLessThanOrEqual(2048);
        },
      ),
    );
  });

  it('says when the framing is lost, and not before', () => {
    const lost = Buffer.from('00010012', 'hex');
    expect(parse(Buffer.concat([stream(Buffer.alloc(20)), lost]), []).isWhole).toBe(false);
    expect(parse(Buffer.concat([stream(Buffer.alloc(20)), lost]), [24, 25, 26]).isWhole).toBe(false);
    const largest = parse(Buffer.from('00010011', 'hex'), []);
    expect([largest.isWhole, largest.dropped]).toEqual([true, { giant: 1 }]);
  });
});
