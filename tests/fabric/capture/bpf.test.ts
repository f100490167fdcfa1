import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseBpf, runBpf } from '../../../src/fabric/capture/bpf.ts';
import { compileFilter } from '../../../src/fabric/capture/filter.ts';
import { hasProgram } from '../../image/samples.ts';
import { temporaryDirectory } from '../frames.ts';
import { arpRequest, ethernet, icmpEcho, ipv4, tcp, udp } from '../packets.ts';

const program = (...instructions: string[]) => `${instructions.length}\n${instructions.join('\n')}\n`;
const keepAll = '6 0 0 262144';

describe('programs', () => {
  it('returns what the program says, and 0 for a load beyond the frame', () => {
    const frame = Buffer.from([1, 2, 3, 4, 5, 6]);
    const run = (text: string) => runBpf(parseBpf(text), frame, 0, frame.length);
    expect(run(program(keepAll))).toBe(262_144);
    // ld [k]; ret a
    expect(run(program('32 0 0 1', '22 0 0 0'))).toBe(0x02030405);
    expect(run(program('32 0 0 3', '22 0 0 0'))).toBe(0);
    expect(run(program('40 0 0 4', '22 0 0 0'))).toBe(0x0506);
    expect(run(program('48 0 0 6', '22 0 0 0'))).toBe(0);
    // ldx 4 * ([k] & 15); ldb [x + k]
    expect(run(program('177 0 0 0', '80 0 0 0', '22 0 0 0'))).toBe(5);
    expect(run(program('128 0 0 0', '22 0 0 0'))).toBe(6);
  });

  it('looks at its own frame alone', () => {
    const bytes = Buffer.from([9, 9, 1, 2, 9, 9]);
    expect(runBpf(parseBpf(program('40 0 0 0', '22 0 0 0')), bytes, 2, 2)).toBe(0x0102);
    expect(runBpf(parseBpf(program('40 0 0 1', '22 0 0 0')), bytes, 2, 2)).toBe(0);
    // A huge X must not wrap around: ldx #0xffffffff; ldb [x + 1]
    expect(runBpf(parseBpf(program('1 0 0 4294967295', '80 0 0 1', '22 0 0 0')), bytes, 2, 2)).toBe(0);
  });

  it('calculates in 32 bits without sign', () => {
    const calculated = (code: number, a: number, k: number) =>
      runBpf(parseBpf(program(`0 0 0 ${a}`, `${code} 0 0 ${k}`, '22 0 0 0')), Buffer.alloc(0), 0, 0);
    expect(calculated(0x04, 0xffff_ffff, 2)).toBe(1);
    expect(calculated(0x14, 0, 1)).toBe(0xffff_ffff);
    expect(calculated(0x24, 0xffff_ffff, 0xffff_ffff)).toBe(1);
    expect(calculated(0x34, 0xffff_fffe, 2)).toBe(0x7fff_ffff);
    expect(calculated(0x64, 1, 31)).toBe(0x8000_0000);
    expect(calculated(0x74, 0x8000_0000, 31)).toBe(1);
    expect(calculated(0x84, 1, 0)).toBe(0xffff_ffff);
    expect(calculated(0x94, 7, 4)).toBe(3);
    expect(calculated(0xa4, 5, 3)).toBe(6);
    // A division by an X of zero refuses the frame.
    expect(runBpf(parseBpf(program('0 0 0 1', '60 0 0 0', keepAll)), Buffer.alloc(0), 0, 0)).toBe(0);
  });

  it.each([
    ['no text', ''],
    ['a wrong count', '2\n6 0 0 1\n'],
    ['no number', '1\n6 0 x 1\n'],
    ['an unknown code', program('255 0 0 0', keepAll)],
    ['a code of more than a byte', program('262 0 0 0', keepAll)],
    ['a load of what only the kernel has', program('48 0 0 4294963200', keepAll)],
    ['an indirect load of the same', program('80 0 0 4294963200', keepAll)],
    ['scratch memory that is not there', program('96 0 0 16', keepAll)],
    ['a store outside', program('2 0 0 16', keepAll)],
    ['a jump out', program('5 0 0 1', keepAll)],
    ['a far jump', program('5 0 0 4294967295', keepAll)],
    ['a conditional jump out', program('21 1 0 0', keepAll)],
    ['a division by zero', program('52 0 0 0', keepAll)],
    ['a shift by 32 bits', program('100 0 0 32', keepAll)],
    ['no return at the end', program(keepAll, '0 0 0 0')],
    ['too many instructions', program(...Array.from({ length: 4097 }, () => keepAll))],
  ])('refuses %s', (_, text) => {
    expect(() => parseBpf(text)).toThrow(expect.objectContaining({ code: 'spec-value' }));
  });

  it('ends and stays in its frame whatever it is made of', () => {
    const codes = [
      0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0, 0x60, 1, 0x61, 0x81, 0xb1, 2, 3, 4, 0x0c, 0x3c, 0x9c,
    ];
    const more = [0x24, 0x6c, 0x7c, 0x84, 5, 0x15, 0x1d, 0x25, 0x35, 0x45, 0x4d, 7, 0x87, 6, 0x16];
    const instruction = fc.tuple(
      fc.constantFrom(...codes, ...more),
      fc.nat(6),
      fc.nat(6),
      fc.oneof(fc.nat(40), fc.nat()),
    );
    const outside = 0xee;
    fc.assert(
      fc.property(
        fc.array(instruction, { maxLength: 30 }),
        fc.uint8Array({ maxLength: 60 }),
        (instructions, bytes) => {
          let parsed: ReturnType<typeof parseBpf>;
          try {
            parsed = parseBpf(program(...instructions.map((parts) => parts.join(' ')), '22 0 0 0'));
          } catch {
            return;
          }
          // What lies around the frame has no influence.
          const inside = [0, outside].map((fill) => {
            const buffer = Buffer.alloc(bytes.length + 80, fill);
            buffer.set(bytes, 40);
            return runBpf(parsed, buffer, 40, bytes.length);
          });
          expect(inside[0]).toBe(inside[1]);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

/** A file of the old pcap format whose frames have their index as time, so that those let through can be told. */
function pcapFile(path: string, frames: readonly Buffer[]): void {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(262_144, 16);
  header.writeUInt32LE(1, 20);
  const records = frames.flatMap((frame, index) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(index, 0);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    return [record, frame];
  });
  writeFileSync(path, Buffer.concat([header, ...records]));
}

function pcapIndices(path: string): number[] {
  const bytes = readFileSync(path);
  const indices: number[] = [];
  for (let at = 24; at < bytes.length; at += 16 + bytes.readUInt32LE(at + 8))
    indices.push(bytes.readUInt32LE(at));
  return indices;
}

const expressions = [
  'tcp',
  'udp port 53',
  'tcp port 80 and host 10.1.0.2',
  'arp or icmp',
  'ether broadcast',
  'ether src 02:4c:00:00:00:01',
  'net 10.1.0.0/16 and not port 22',
  'ip[6:2] & 0x1fff != 0',
  'tcp[tcpflags] & (tcp-syn|tcp-fin) != 0 and not src net 10.2.0.0/16',
  'len > 60',
  'less 60',
  'vlan 7',
  'ip6 or portrange 1000-2000',
  'ip proto 47 or (ip[0] & 0xf != 5)',
  'udp[8:4] % 3 = 1',
];

const addresses = fc.constantFrom('10.1.0.1', '10.1.0.2', '10.2.0.9', '192.0.2.7');
const ports = fc.oneof(fc.constantFrom(22, 53, 80, 1500), fc.nat(65_535));
const macs = fc.constantFrom('02:4c:00:00:00:01', '02:4c:00:00:00:02', 'ff:ff:ff:ff:ff:ff');
const datagram = fc
  .record({
    from: addresses,
    to: addresses,
    fromPort: ports,
    toPort: ports,
    data: fc.uint8Array({ maxLength: 90 }),
  })
  .map((parts) => ({ ...parts, data: Buffer.from(parts.data) }));
const packet = fc.oneof(
  datagram.map((parts) => [0x0800, udp(parts)] as const),
  fc.tuple(datagram, fc.nat(63)).map(([parts, flags]) => [0x0800, tcp({ ...parts, flags })] as const),
  fc.tuple(addresses, addresses).map(([from, to]) => [0x0800, icmpEcho(from, to, 8, 1)] as const),
  fc
    .record({
      protocol: fc.constantFrom(6, 17, 47),
      from: addresses,
      to: addresses,
      fragment: fc.nat(0x3fff),
    })
    .map(
      (parts) => [0x0800, ipv4({ ...parts, payload: Buffer.alloc(30), options: Buffer.alloc(4) })] as const,
    ),
  datagram.map((parts) => [0x8100, Buffer.concat([Buffer.from([0, 7, 8, 0]), tcp(parts)])] as const),
  fc.uint8Array({ maxLength: 80 }).map((bytes) => [0x86dd, Buffer.from(bytes)] as const),
  fc.uint8Array({ maxLength: 80 }).map((bytes) => [0x0800, Buffer.from(bytes)] as const),
);
const anyFrame = fc.oneof(
  fc.tuple(macs, macs, packet).map(([to, from, [type, payload]]) => ethernet(to, from, type, payload)),
  fc.tuple(macs, addresses, addresses).map(([mac, from, to]) => arpRequest(mac, from, to)),
);

describe.skipIf(!hasProgram('tcpdump'))('expressions', () => {
  const root = temporaryDirectory();

  it.each(expressions)('%s lets through what tcpdump lets through', async (expression) => {
    const compiled = await compileFilter(expression, 262_144);
    const frames = fc.sample(anyFrame, { numRuns: 400, seed: 4 });
    pcapFile(join(root, 'all.pcap'), frames);
    execFileSync('tcpdump', ['-r', join(root, 'all.pcap'), '-w', join(root, 'some.pcap'), '--', expression], {
      stdio: 'ignore',
    });
    const ours = frames.flatMap((frame, index) =>
      runBpf(compiled, frame, 0, frame.length) > 0 ? [index] : [],
    );
    expect(ours).toEqual(pcapIndices(join(root, 'some.pcap')));
    // A filter that lets nothing through, or all, would agree without having been tried.
    expect(ours.length).toBeGreaterThan(0);
    expect(ours.length).toBeLessThan(frames.length);
  });

  it('keeps as many bytes as the snap length says', async () => {
    const frame = arpRequest('02:4c:00:00:00:01', '10.1.0.1', '10.1.0.2');
    expect(runBpf(await compileFilter('arp', 96), frame, 0, frame.length)).toBe(96);
  });

  it('refuses what is no expression, with the words of tcpdump', async () => {
    await expect(compileFilter('tcp prot 80', 96, 'cluster.yaml:3')).rejects.toMatchObject({
      code: 'spec-value',
      where: 'cluster.yaml:3',
      message: expect.stringMatching(/tcp prot 80.*syntax error/),
    });
  });

  it('takes an expression as nothing else', async () => {
    const stolen = join(root, 'stolen');
    await expect(compileFilter(`-w${stolen}`, 96)).rejects.toMatchObject({ code: 'spec-value' });
    await expect(compileFilter('inbound', 96)).rejects.toMatchObject({ code: 'spec-value' });
  });
});

it('names the package where tcpdump is missing', async () => {
  const path = process.env.PATH;
  process.env.PATH = '/nonexistent';
  try {
    await expect(compileFilter('tcp', 96)).rejects.toMatchObject({
      code: 'missing-program',
      fix: 'apt-get install tcpdump',
    });
  } finally {
    process.env.PATH = path;
  }
});
