import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  aliveMessage,
  encodeHello,
  encodeMark,
  encodeRefused,
  parseControl,
  TrunkParser,
} from '../../../src/fabric/trunk/wire.ts';

const hello = { cluster: 'lab', host: 'n1', digest: 'a1b2', networks: ['lan', '', 'wän'] };

describe('control messages', () => {
  it('come back as they were', () => {
    expect(parseControl(encodeHello(hello).subarray(6))).toEqual({
      kind: 'hello',
      hello: { ...hello, version: 2 },
    });
    expect(parseControl(aliveMessage.subarray(6))).toEqual({ kind: 'alive' });
    expect(parseControl(encodeRefused('no').subarray(6))).toEqual({ kind: 'refused', reason: 'no' });
    expect(parseControl(encodeMark('a1').subarray(6))).toEqual({ kind: 'mark', mark: 'a1' });
  });

  it('of another version tell only that', () => {
    const other = Buffer.concat([encodeHello(hello, 7).subarray(6), Buffer.from('anything')]);
    expect(parseControl(other)).toEqual({ kind: 'other-version', version: 7 });
  });

  it('of any other form are none', () => {
    const whole = encodeHello(hello).subarray(6);
    for (let length = 0; length < whole.length; length++) {
      expect(parseControl(whole.subarray(0, length))).toBeUndefined();
    }
    expect(parseControl(Buffer.concat([whole, Buffer.alloc(1)]))).toBeUndefined();
    expect(parseControl(encodeHello({ ...hello, networks: ['lan', 'lan'] }).subarray(6))).toBeUndefined();
    expect(parseControl(Buffer.of(2, 0))).toBeUndefined();
    expect(parseControl(Buffer.of(4))).toBeUndefined();
    expect(parseControl(Buffer.concat([Buffer.of(4), Buffer.alloc(33, 97)]))).toBeUndefined();
    expect(parseControl(Buffer.concat([Buffer.of(3), Buffer.alloc(1000)]))).toBeUndefined();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        parseControl(Buffer.from(bytes));
        parseControl(Buffer.concat([whole.subarray(0, 7), Buffer.from(bytes)]));
      }),
    );
  });
});

interface Message {
  id: number;
  /** In hexadecimal: comparing large arrays element by element takes long. */
  payload: string;
}

/** Feeds a stream in pieces; gives what came out, and whether the stream was taken to its end. */
function parse(stream: Buffer, cuts: readonly number[]): { messages: Message[]; isWhole: boolean } {
  const messages: Message[] = [];
  const parser = new TrunkParser({
    frame: (id, buffer, offset, length) =>
      messages.push({ id, payload: buffer.toString('hex', offset, offset + length) }),
    control: (payload) => {
      messages.push({ id: 0xffff, payload: payload.toString('hex') });
      return true;
    },
  });
  const places = [0, ...cuts.map((cut) => cut % (stream.length + 1)), stream.length].sort((a, b) => a - b);
  for (let i = 1; i < places.length; i++) {
    // Pieces lie in the middle of a larger buffer, which is overwritten afterwards, as a read buffer is.
    const buffer = Buffer.alloc(stream.length + 20, 0xee);
    const length = stream.copy(buffer, 10, places[i - 1], places[i]);
    if (!parser.feed(buffer, 10, length)) return { messages, isWhole: false };
    buffer.fill(0xdd);
  }
  return { messages, isWhole: true };
}

const message = fc.record({
  id: fc.oneof(fc.nat(5), fc.constant(0xffff)),
  payload: fc.oneof(
    fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes).toString('hex')),
    fc.nat(65_553).map((length) => Buffer.alloc(length, length & 255).toString('hex')),
  ),
});

function encode({ id, payload }: Message): Buffer {
  const head = Buffer.alloc(6);
  head.writeUInt32BE(2 + payload.length / 2);
  head.writeUInt16BE(id, 4);
  return Buffer.concat([head, Buffer.from(payload, 'hex')]);
}

describe('the stream', () => {
  it('gives each message once, wherever it is cut', () => {
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 6 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        (messages, cuts) => {
          const { messages: found, isWhole } = parse(Buffer.concat(messages.map(encode)), cuts);
          expect(isWhole).toBe(true);
          expect(found).toEqual(messages);
        },
      ),
    );
  });

  it('gives each message once when it comes byte by byte', () => {
    const messages = [encode({ id: 1, payload: '616263' }), encodeHello(hello), aliveMessage];
    const stream = Buffer.concat(messages);
    const { messages: found } = parse(
      stream,
      Array.from({ length: stream.length }, (_, i) => i),
    );
    expect(found.map(({ id }) => id)).toEqual([1, 0xffff, 0xffff]);
  });

  it('ends where a length cannot be', () => {
    for (const length of [0, 1, 65_556, 0xffff_ffff]) {
      const bad = Buffer.alloc(20);
      bad.writeUInt32BE(length);
      const stream = Buffer.concat([encode({ id: 1, payload: '78' }), bad]);
      for (const cuts of [[], [8], [9], Array.from({ length: 30 }, (_, i) => i)]) {
        expect(parse(stream, cuts)).toMatchObject({ isWhole: false, messages: [{ id: 1 }] });
      }
    }
  });

  it('survives anything', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), fc.array(fc.nat(), { maxLength: 8 }), (bytes, cuts) => {
        const whole = parse(Buffer.from(bytes), []);
        expect(parse(Buffer.from(bytes), cuts)).toEqual(whole);
      }),
      { numRuns: 500 },
    );
  });
});
