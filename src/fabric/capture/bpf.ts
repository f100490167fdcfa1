/**
 * Programs of the classic Berkeley Packet Filter: read as `tcpdump -ddd` prints them, checked, and run on frames.
 *
 * The machine has an accumulator A, an index register X and 16 words of scratch memory, all 32 bits. It returns how
 * many bytes of the frame to keep; 0 refuses the frame. Source: S. McCanne and V. Jacobson, "The BSD Packet Filter: A
 * New Architecture for User-level Packet Capture", USENIX Winter 1993; opcodes as in the manual page bpf(4) of BSD.
 *
 * Frames are a guest's and so untrusted: a load beyond the frame refuses it. Jumps go forward only, so every program
 * ends. Linux's ancillary loads (negative offsets) speak of sockets and devices, which a fabric has not: refused.
 */

import { LodgeError } from '../../errors.ts';

/** Instructions of one program, by column. */
export interface BpfProgram {
  readonly code: Uint8Array;
  readonly jumpTrue: Uint8Array;
  readonly jumpFalse: Uint8Array;
  readonly k: Uint32Array;
}

/** What Linux takes as well (BPF_MAXINSNS). */
const mostInstructions = 4096;
const scratchWords = 16;
/** Offsets from here up are the kernel's negative ones. */
const firstAncillary = 0x8000_0000;

// Instruction classes and their parts, as bits of the code.
const ld = 0x00;
const ldx = 0x01;
const st = 0x02;
const stx = 0x03;
const alu = 0x04;
const jmp = 0x05;
const ret = 0x06;
const misc = 0x07;
const fromX = 0x08;

/** Every instruction there is; any other code is refused. */
const knownCodes: ReadonlySet<number> = new Set([
  // Loads of A: word, half word and byte at k and at X + k; the frame's length, a constant, scratch memory.
  ...[0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0x00, 0x60],
  // Loads of X: a constant, scratch memory, the length, and four times the low half of a byte (an IPv4 header's size).
  ...[0x01, 0x61, 0x81, 0xb1],
  ...[st, stx],
  // Add, subtract, multiply, divide, or, and, shift left, shift right, modulo, exclusive or: with k and with X.
  ...[0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xa0].flatMap((op) => [
    alu | op,
    alu | op | fromX,
  ]),
  alu | 0x80,
  // Always; equal, greater, greater or equal, any bit set: with k and with X.
  jmp,
  ...[0x10, 0x20, 0x30, 0x40].flatMap((op) => [jmp | op, jmp | op | fromX]),
  // Return k or A.
  ...[ret, ret | 0x10],
  // X = A, A = X.
  ...[misc, misc | 0x80],
]);

/**
 * Reads a program in the form of `tcpdump -ddd`: the number of instructions, then one a line as `code jt jf k`.
 * @throws LodgeError `spec-value` when it is not one that {@link runBpf} can run safely
 */
export function parseBpf(text: string): BpfProgram {
  const [first = '', ...lines] = text.trim().split('\n');
  const count = Number(first);
  if (!/^\d+$/.test(first) || count < 1 || count > mostInstructions || lines.length !== count) {
    throw refused(`it does not have the number of instructions it says ('${first.slice(0, 40)}')`);
  }
  const program: BpfProgram = {
    code: new Uint8Array(count),
    jumpTrue: new Uint8Array(count),
    jumpFalse: new Uint8Array(count),
    k: new Uint32Array(count),
  };
  for (const [index, line] of lines.entries()) {
    const match = /^(\d{1,5}) (\d{1,3}) (\d{1,3}) (\d{1,10})$/.exec(line.trim());
    const [code, jumpTrue, jumpFalse, k] = (match ?? []).slice(1).map(Number);
    if (k === undefined || code! > 0xffff || jumpTrue! > 255 || jumpFalse! > 255 || k > 0xffff_ffff) {
      throw refused(`'${line.slice(0, 40)}' is not an instruction`);
    }
    if (!knownCodes.has(code!)) throw refused(`instruction ${index} has the unknown code ${code}`);
    program.code[index] = code!;
    program.jumpTrue[index] = jumpTrue!;
    program.jumpFalse[index] = jumpFalse!;
    program.k[index] = k;
  }
  checkBpf(program);
  return program;
}

/** Refuses what would leave the program, its memory or the frame's own bytes. */
function checkBpf({ code, jumpTrue, jumpFalse, k }: BpfProgram): void {
  const count = code.length;
  for (let i = 0; i < count; i++) {
    const instruction = code[i]!;
    const operand = k[i]!;
    const left = count - 1 - i;
    const kind = instruction & 0x07;
    const isPacketLoad = kind === ld ? [0x20, 0x40].includes(instruction & 0xe0) : instruction === 0xb1;
    if (isPacketLoad && operand >= firstAncillary) {
      throw refused(`instruction ${i} asks for what only a socket of the kernel has`);
    }
    const isScratch =
      kind === st || kind === stx || ((kind === ld || kind === ldx) && (instruction & 0xe0) === 0x60);
    if (isScratch && operand >= scratchWords) throw refused(`instruction ${i} is outside the scratch memory`);
    if (
      instruction === jmp ? operand >= left : kind === jmp && Math.max(jumpTrue[i]!, jumpFalse[i]!) >= left
    ) {
      throw refused(`instruction ${i} jumps out of the program`);
    }
    const op = instruction & 0xf0;
    if (kind === alu && (instruction & fromX) === 0) {
      if ((op === 0x30 || op === 0x90) && operand === 0) throw refused(`instruction ${i} divides by zero`);
      if ((op === 0x60 || op === 0x70) && operand > 31)
        throw refused(`instruction ${i} shifts by ${operand} bits`);
    }
  }
  if ((code[count - 1]! & 0x07) !== ret) throw refused('it does not end with a return');
}

function refused(why: string): LodgeError {
  return new LodgeError('spec-value', `lodge does not run this packet filter: ${why}`, {
    fix: 'use an expression of pcap-filter(7) that looks at the frame alone',
  });
}

const scratch = new Uint32Array(scratchWords);

/**
 * Runs a checked program on the frame `bytes[start … start + length)`.
 * @param wireLength length that the program is told the frame has
 * @returns bytes of the frame to keep (may be more than there are); 0 when the filter refuses it
 */
export function runBpf(
  program: BpfProgram,
  bytes: Uint8Array,
  start: number,
  length: number,
  wireLength = length,
): number {
  const { code, jumpTrue, jumpFalse, k } = program;
  const count = code.length;
  let a = 0;
  let x = 0;
  scratch.fill(0);
  for (let pc = 0; pc < count; pc++) {
    const instruction = code[pc]!;
    const operand = k[pc]!;
    switch (instruction & 0x07) {
      case ld: {
        if (instruction === 0x00) {
          a = operand;
          break;
        }
        if (instruction === 0x60) {
          a = scratch[operand]!;
          break;
        }
        if (instruction === 0x80) {
          a = wireLength >>> 0;
          break;
        }
        const offset = (instruction & 0xe0) === 0x40 ? x + operand : operand;
        const width = instruction & 0x18;
        const size = width === 0x00 ? 4 : width === 0x08 ? 2 : 1;
        if (offset + size > length) return 0;
        const at = start + offset;
        if (size === 1) a = bytes[at]!;
        else if (size === 2) a = (bytes[at]! << 8) | bytes[at + 1]!;
        else a = ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
        break;
      }
      case ldx:
        if (instruction === 0x01) x = operand;
        else if (instruction === 0x61) x = scratch[operand]!;
        else if (instruction === 0x81) x = wireLength >>> 0;
        else {
          if (operand >= length) return 0;
          x = (bytes[start + operand]! & 0x0f) << 2;
        }
        break;
      case st:
        scratch[operand] = a;
        break;
      case stx:
        scratch[operand] = x;
        break;
      case alu: {
        const by = (instruction & fromX) === 0 ? operand : x;
        const op = instruction & 0xf0;
        if ((op === 0x30 || op === 0x90) && by === 0) return 0;
        a = calculate(op, a, by);
        break;
      }
      case jmp: {
        const op = instruction & 0xf0;
        if (op === 0x00) {
          pc += operand;
          break;
        }
        const by = (instruction & fromX) === 0 ? operand : x;
        const holds = op === 0x10 ? a === by : op === 0x20 ? a > by : op === 0x30 ? a >= by : (a & by) !== 0;
        pc += holds ? jumpTrue[pc]! : jumpFalse[pc]!;
        break;
      }
      case ret:
        return instruction === ret ? operand : a;
      default:
        if (instruction === misc) x = a;
        else a = x;
    }
  }
  return 0;
}

/** 32-bit unsigned arithmetic; a division has been kept from zero by the caller. */
function calculate(op: number, a: number, by: number): number {
  switch (op) {
    case 0x00:
      return (a + by) >>> 0;
    case 0x10:
      return (a - by) >>> 0;
    case 0x20:
      return Math.imul(a, by) >>> 0;
    case 0x30:
      return Math.floor(a / by);
    case 0x40:
      return (a | by) >>> 0;
    case 0x50:
      return (a & by) >>> 0;
    case 0x60:
      return by > 31 ? 0 : (a << by) >>> 0;
    case 0x70:
      return by > 31 ? 0 : a >>> by;
    case 0x80:
      return -a >>> 0;
    case 0x90:
      return a % by;
    default:
      return (a ^ by) >>> 0;
  }
}
