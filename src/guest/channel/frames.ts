/** The frames of the agent protocol as bytes; the format is docs/reference/agent-protocol.md. */

import { LodgeError } from '../../errors.ts';

export const protocolVersion = 2;
export const headerBytes = 12;
export const maxPayloadBytes = 262_144;
export const stdinCreditBytes = 1_048_576;

export const frameTypes = {
  SYNC: 1,
  HELLO: 2,
  CONFIGURE: 3,
  CONFIGURED: 4,
  EXEC: 5,
  STARTED: 6,
  REFUSED: 7,
  DATA: 8,
  EOF: 9,
  CREDIT: 10,
  SIGNAL: 11,
  RESIZE: 12,
  EXIT: 13,
  CLOSE: 14,
  READ: 15,
  CONTENT: 16,
  HALT: 17,
  HALTED: 18,
  PING: 20,
  PONG: 21,
} as const;

const firstByte = 0x4c;
const syncMagic = Buffer.from('lodge-sync-v1\0\0\0');

/** A frame's header; the payload follows it in the stream. */
export function encodeHeader(type: number, stream: number, session: number, payloadBytes: number): Buffer {
  const header = Buffer.allocUnsafe(headerBytes);
  header[0] = firstByte;
  header[1] = type;
  header.writeUInt16LE(stream, 2);
  header.writeUInt32LE(session, 4);
  header.writeUInt32LE(payloadBytes, 8);
  return header;
}

export function encodeFrame(
  type: number,
  session: number,
  payload: Buffer = Buffer.alloc(0),
  stream = 0,
): Buffer {
  return Buffer.concat([encodeHeader(type, stream, session, payload.length), payload]);
}

/** A SYNC frame. @param nonce 8 bytes that the HELLO will bring back */
export function encodeSync(nonce: Buffer): Buffer {
  return encodeFrame(frameTypes.SYNC, 0, Buffer.concat([syncMagic, nonce]));
}

export interface ExecRequest {
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd: string;
  uid: number;
  gid: number;
  groups: readonly number[];
  /** The file mode creation mask, as umask(2) takes it. */
  umask: number;
  /** Size of the terminal the process gets; without it, it gets pipes. */
  terminal?: { rows: number; columns: number };
}

/** The payload of an EXEC frame. @param creditBytes for each of standard output and error */
export function encodeExec(request: ExecRequest, creditBytes: number): Buffer {
  const env = Object.entries(request.env).map(([name, value]) => `${name}=${value}`);
  const numbers = Buffer.alloc(4 * 4 + 2 * 2 + 4 + 4 + 4 * request.groups.length + 2 * 4);
  let at = 0;
  const u32 = (value: number): void => {
    at = numbers.writeUInt32LE(value, at);
  };
  u32(request.terminal === undefined ? 0 : 1);
  u32(request.uid);
  u32(request.gid);
  u32(creditBytes);
  at = numbers.writeUInt16LE(request.terminal?.rows ?? 0, at);
  at = numbers.writeUInt16LE(request.terminal?.columns ?? 0, at);
  u32(request.umask);
  u32(request.groups.length);
  for (const group of request.groups) u32(group);
  u32(request.argv.length);
  u32(env.length);
  return Buffer.concat([numbers, encodeTexts([request.cwd, ...request.argv, ...env])]);
}

/** @throws LodgeError `command-not-executable` for a request that is too long for a frame */
export function requireFits(request: ExecRequest): void {
  const { length } = encodeExec(request, 0);
  if (length <= maxPayloadBytes) return;
  throw new LodgeError(
    'command-not-executable',
    `the command line and environment are ${length} bytes long, more than the ${maxPayloadBytes} that a guest takes`,
    {
      fix: 'pass less of the environment (--cleanenv, -e NAME=VALUE), and long lists through standard input',
    },
  );
}

/** NUL-terminated texts, one after the other. A text must not hold a NUL itself. */
export function encodeTexts(texts: readonly string[]): Buffer {
  return Buffer.from(texts.map((text) => `${text}\0`).join(''));
}

export function encodeU32(...values: number[]): Buffer {
  const payload = Buffer.allocUnsafe(4 * values.length);
  values.forEach((value, i) => {
    payload.writeUInt32LE(value >>> 0, 4 * i);
  });
  return payload;
}

export interface Frame {
  type: number;
  stream: number;
  session: number;
  payload: Buffer;
}

/**
 * Cuts a byte stream into frames, however it was split. A DATA frame may be handed on in several parts as its
 * bytes come, so that nothing is copied; all other frames are whole.
 *
 * What breaks the rules is told once, by `onBroken`; after that the parser takes nothing.
 */
export class FrameParser {
  /** While true, what is no frame is passed over, byte by byte, instead of breaking the rules. */
  passesOverGarbage = false;
  readonly #onFrame: (frame: Frame) => void;
  readonly #onBroken: (reason: string) => void;
  /** Bytes of a frame that is not whole yet, and how many are needed before it is worth looking again. */
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  #neededBytes = headerBytes;
  /** The DATA frame under way, and how much of it is still to come. */
  #data = { stream: 0, session: 0, leftBytes: 0 };
  #isBroken = false;

  constructor(onFrame: (frame: Frame) => void, onBroken: (reason: string) => void) {
    this.#onFrame = onFrame;
    this.#onBroken = onBroken;
  }

  push(piece: Buffer): void {
    if (this.#isBroken) return;
    let bytes = piece;
    if (this.#pieceBytes > 0) {
      this.#pieces.push(piece);
      this.#pieceBytes += piece.length;
      if (this.#pieceBytes < this.#neededBytes) return;
      bytes = Buffer.concat(this.#pieces);
    }
    let at = 0;
    let neededBytes = headerBytes;
    while (at < bytes.length && !this.#isBroken) {
      if (this.#data.leftBytes > 0) {
        const end = Math.min(bytes.length, at + this.#data.leftBytes);
        this.#data.leftBytes -= end - at;
        this.#onFrame({ type: frameTypes.DATA, ...this.#data, payload: bytes.subarray(at, end) });
        at = end;
        continue;
      }
      if (bytes[at] === 0) {
        at++;
        continue;
      }
      if (bytes[at] !== firstByte) {
        if (this.#isEndedBy(`a frame starts with byte ${bytes[at]}`)) break;
        at++;
        continue;
      }
      if (bytes.length - at < headerBytes) break;
      const type = bytes[at + 1]!;
      const payloadBytes = bytes.readUInt32LE(at + 8);
      if (payloadBytes > maxPayloadBytes) {
        if (this.#isEndedBy(`a frame of ${payloadBytes} bytes`)) break;
        at++;
        continue;
      }
      const stream = bytes.readUInt16LE(at + 2);
      const session = bytes.readUInt32LE(at + 4);
      if (type === frameTypes.DATA) {
        this.#data = { stream, session, leftBytes: payloadBytes };
        at += headerBytes;
        continue;
      }
      neededBytes = headerBytes + payloadBytes;
      if (bytes.length - at < neededBytes) break;
      const payload = bytes.subarray(at + headerBytes, at + neededBytes);
      at += neededBytes;
      neededBytes = headerBytes;
      this.#onFrame({ type, stream, session, payload });
    }
    this.#keep(bytes.subarray(at), neededBytes);
  }

  #keep(rest: Buffer, neededBytes: number): void {
    this.#pieces = rest.length === 0 ? [] : [rest];
    this.#pieceBytes = rest.length;
    this.#neededBytes = neededBytes;
  }

  #isEndedBy(reason: string): boolean {
    if (this.passesOverGarbage) return false;
    this.#isBroken = true;
    this.#onBroken(reason);
    return true;
  }
}
