import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  encodeFrame,
  encodeU32,
  type Frame,
  FrameParser,
  frameTypes,
  maxPayloadBytes,
} from '../../../src/guest/channel/frames.ts';

interface Parsed {
  frames: Frame[];
  broken: string[];
}

function parse(pieces: readonly Uint8Array[], passesOverGarbage = false): Parsed {
  const parsed: Parsed = { frames: [], broken: [] };
  const parser = new FrameParser(
    (frame) => parsed.frames.push({ ...frame, payload: Buffer.from(frame.payload) }),
    (reason) => parsed.broken.push(reason),
  );
  parser.passesOverGarbage = passesOverGarbage;
  for (const piece of pieces) parser.push(Buffer.from(piece));
  return parsed;
}

/** DATA frames may come in parts: joined again here. */
function joined(frames: readonly Frame[]): { key: string; payload: string }[] {
  const result: { key: string; payload: string }[] = [];
  for (const { type, stream, session, payload } of frames) {
    const key = `${type} ${stream} ${session}`;
    const last = result.at(-1);
    if (type === frameTypes.DATA && last?.key === key) last.payload += payload.toString('hex');
    else result.push({ key, payload: payload.toString('hex') });
  }
  return result;
}

const anyFrame = fc.record({
  type: fc.constantFrom(...Object.values(frameTypes)),
  stream: fc.integer({ min: 0, max: 2 }),
  session: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  payload: fc.uint8Array({ minLength: 1, maxLength: 300 }),
});

describe('frames', () => {
  it('come out as they went in, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(anyFrame, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 97 }), { minLength: 1 }),
        (frames, cuts) => {
          const bytes = Buffer.concat(
            frames.map((f) => encodeFrame(f.type, f.session, Buffer.from(f.payload), f.stream)),
          );
          const pieces: Buffer[] = [];
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const end = at + cuts[i % cuts.length]!;
            pieces.push(bytes.subarray(at, end));
            at = end;
          }
          const { frames: got, broken } = parse(pieces);
          expect(broken).toEqual([]);
          expect(joined(got)).toEqual(joined(frames.map((f) => ({ ...f, payload: Buffer.from(f.payload) }))));
        },
      ),
    );
  });
  it('may have zeros between them', () => {
    const frame = encodeFrame(frameTypes.PONG, 0, Buffer.from('x'));
    expect(parse([Buffer.alloc(7), frame, Buffer.alloc(3), frame]).frames).toHaveLength(2);
  });
  it.each([
    ['a wrong first byte', Buffer.from([0x4d])],
    [
      'a length over the limit',
      Buffer.concat([encodeFrame(9, 1).subarray(0, 8), encodeU32(maxPayloadBytes + 1)]),
    ],
  ])('with %s break the channel, once', (_, bytes) => {
    const { frames, broken } = parse([bytes, encodeFrame(frameTypes.PONG, 0)]);
    expect(frames).toEqual([]);
    expect(broken).toHaveLength(1);
  });
  it('are found behind garbage where that is passed over', () => {
    const frame = encodeFrame(frameTypes.HELLO, 0, Buffer.from('x'));
    const tooLong = Buffer.concat([encodeFrame(9, 1).subarray(0, 8), encodeU32(maxPayloadBytes + 1)]);
    const noByteOfFrames = fc
      .uint8Array({ maxLength: 40 })
      .map((bytes) => bytes.filter((byte) => byte !== 0x4c));
    fc.assert(
      fc.property(fc.array(fc.oneof(noByteOfFrames, fc.constant(tooLong))), (garbage) => {
        const { frames, broken } = parse([...garbage, frame, ...garbage, frame], true);
        expect(frames.map(({ type }) => type)).toEqual([frameTypes.HELLO, frameTypes.HELLO]);
        expect(broken).toEqual([]);
      }),
      { examples: [[[Buffer.from('^A^A')]]] },
    );
  });
  it('never make the parser throw, whatever comes', () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), (pieces) => void parse(pieces)));
  });
  it('of the largest size pass', () => {
    const { frames, broken } = parse([encodeFrame(frameTypes.CONTENT, 0, Buffer.alloc(maxPayloadBytes, 7))]);
    expect(broken).toEqual([]);
    expect(frames[0]!.payload).toHaveLength(maxPayloadBytes);
  });
});
