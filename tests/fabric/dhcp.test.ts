import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openCapture } from '../../src/fabric/capture/capture.ts';
import { type DhcpOptions, dhcpResponder, isForDhcp, longestDhcpAnswerBytes } from '../../src/fabric/dhcp.ts';
import { hasProgram } from '../image/samples.ts';
import { temporaryDirectory, tshark } from './frames.ts';
import {
  addressBytes,
  checksum,
  type DhcpAsked,
  ethernet,
  ipv4,
  dhcpRequest as request,
  udp,
} from './packets.ts';

const root = temporaryDirectory();
const mac = '02:4c:01:00:00:01';
const options: DhcpOptions = {
  members: [
    { mac, address: '10.1.0.1/16', hostname: 'v01' },
    { mac: '02:4c:01:00:00:02', address: '10.1.0.2/16', hostname: 'v02' },
  ],
  subnet: '10.1.0.0/16',
  mtuBytes: 1400,
  server: { address: '10.1.255.254', mac: '02:4c:01:ff:ff:fe' },
};

/** The answer to a frame that lies in the middle of a buffer; undefined for none. Checksums must be right. */
function answer(frame: Buffer, given: DhcpOptions = options) {
  const buffer = Buffer.concat([Buffer.alloc(5, 0xee), frame, Buffer.alloc(5, 0xee)]);
  const into = Buffer.alloc(longestDhcpAnswerBytes, 0xcc);
  const length = dhcpResponder(given).answer(buffer, 5, frame.length, into);
  if (length === 0) return undefined;
  const reply = into.subarray(0, length);
  expect(checksum(reply.subarray(14, 34))).toBe(0);
  const pseudo = Buffer.concat([
    reply.subarray(26, 34),
    Buffer.from([0, 17, (length - 34) >> 8, (length - 34) & 255]),
  ]);
  expect(checksum(pseudo, reply.subarray(34))).toBe(0);
  expect(reply.readUInt16BE(16)).toBe(length - 14);
  const message = reply.subarray(42);
  const found = new Map<number, Buffer>();
  for (let at = 240; message[at] !== 255; at += 2 + message[at + 1]!) {
    found.set(message[at]!, message.subarray(at + 2, at + 2 + message[at + 1]!));
  }
  return {
    frame: Buffer.from(reply),
    to: reply.toString('hex', 0, 6),
    address: [...reply.subarray(30, 34)].join('.'),
    type: found.get(53)![0],
    yiaddr: [...message.subarray(16, 20)].join('.'),
    xid: message.readUInt32BE(4),
    options: found,
  };
}

const own = addressBytes('10.1.0.1');
const server = addressBytes('10.1.255.254');

describe('a member', () => {
  it('is offered its planned address, and is given it', () => {
    const offer = answer(request({ type: 1 }))!;
    expect(offer).toMatchObject({
      type: 2,
      yiaddr: '10.1.0.1',
      to: '024c01000001',
      address: '10.1.0.1',
      xid: 0xdeadbeef,
    });
    const text = (code: number) => offer.options.get(code)?.toString('hex');
    expect(text(54)).toBe('0a01fffe');
    expect(text(1)).toBe('ffff0000');
    expect(text(28)).toBe('0a01ffff');
    expect(text(26)).toBe('0578');
    expect(offer.options.get(12)!.toString()).toBe('v01');
    expect(offer.options.get(51)!.readUInt32BE()).toBe(31_536_000);
    // No way out that was not declared.
    expect(offer.options.has(3) || offer.options.has(6)).toBe(false);
    const ack = answer(
      request({
        type: 3,
        options: [
          [54, server],
          [50, own],
        ],
      }),
    )!;
    expect(ack).toMatchObject({ type: 5, yiaddr: '10.1.0.1' });
  });

  it('is told router and name servers where they are declared', () => {
    const offer = answer(request({ type: 1 }), {
      ...options,
      router: '10.1.255.254',
      nameservers: ['192.0.2.53', '192.0.2.54'],
    })!;
    expect(offer.options.get(3)!.toString('hex')).toBe('0a01fffe');
    expect(offer.options.get(6)!.toString('hex')).toBe('c0000235c0000236');
  });

  it('gets its address after a reboot and on renewal, and no to any other', () => {
    const kind = (asked: Omit<DhcpAsked, 'type'>) => answer(request({ type: 3, ...asked }))?.type;
    expect(kind({ options: [[50, own]] })).toBe(5);
    expect(kind({ options: [[50, addressBytes('10.1.0.2')]] })).toBe(6);
    expect(kind({ ciaddr: '10.1.0.1' })).toBe(5);
    expect(kind({ ciaddr: '10.9.0.1' })).toBe(6);
    expect(
      kind({
        options: [
          [54, server],
          [50, addressBytes('10.1.0.9')],
        ],
      }),
    ).toBe(6);
    expect(kind({})).toBe(6);
    // The offer of another server was taken.
    expect(
      kind({
        options: [
          [54, addressBytes('10.1.0.9')],
          [50, own],
        ],
      }),
    ).toBeUndefined();
  });

  it('is answered where it listens', () => {
    expect(answer(request({ type: 1, flags: 0x8000 }))).toMatchObject({
      to: 'ffffffffffff',
      address: '255.255.255.255',
    });
    const no = answer(request({ type: 3, ciaddr: '10.9.0.1' }))!;
    expect(no).toMatchObject({ to: 'ffffffffffff', yiaddr: '0.0.0.0' });
    expect([...no.options.keys()]).toEqual([53, 54]);
  });

  it('that has its address is told the rest', () => {
    const told = answer(request({ type: 8, ciaddr: '10.1.0.1' }))!;
    expect(told).toMatchObject({ type: 5, yiaddr: '0.0.0.0' });
    expect(told.options.has(51)).toBe(false);
    expect(answer(request({ type: 8, ciaddr: '10.1.0.7' }))).toBeUndefined();
  });

  it('gets its identifier back', () => {
    const id = Buffer.from([1, 2, 3]);
    expect(answer(request({ type: 1, options: [[61, id]] }))!.options.get(61)).toEqual(id);
    expect(
      answer(request({ type: 1, options: [[61, Buffer.alloc(128)]] }))!.frame.length,
    ).toBeLessThanOrEqual(590);
    expect(answer(request({ type: 1, options: [[61, Buffer.alloc(129)]] }))).toBeUndefined();
  });
});

describe('nothing is said', () => {
  it.each([
    ['to a stranger', request({ type: 1, from: '02:4c:01:00:00:99' })],
    ['to one who asks for another', request({ type: 1, chaddr: '02:4c:01:00:00:02' })],
    ['to a release', request({ type: 7, ciaddr: '10.1.0.1' })],
    ['to a decline', request({ type: 4 })],
    ['to a reply', request({ type: 1, op: 2 })],
    ['to a relay', request({ type: 1, giaddr: '10.1.0.2' })],
    ['without a type', request({ type: 0 })],
    ['to an option that is cut', request({ type: 1 }).subarray(0, -2)],
    [
      'to another port',
      ethernet(
        'ff:ff:ff:ff:ff:ff',
        mac,
        0x0800,
        udp({ from: '0.0.0.0', to: '255.255.255.255', fromPort: 68, toPort: 69, data: Buffer.alloc(300) }),
      ),
    ],
    [
      'to a fragment',
      ethernet(
        'ff:ff:ff:ff:ff:ff',
        mac,
        0x0800,
        ipv4({
          protocol: 17,
          from: '0.0.0.0',
          to: '255.255.255.255',
          payload: request({ type: 1 }).subarray(34),
          fragment: 0x2000,
        }),
      ),
    ],
  ])('%s', (_, frame) => {
    expect(answer(frame)).toBeUndefined();
  });

  it('to what is no request, whatever it is; and never to anybody else', () => {
    const whole = request({
      type: 1,
      options: [
        [50, own],
        [61, Buffer.alloc(20, 7)],
        [55, Buffer.of(1, 3, 6)],
      ],
    });
    const changed = fc
      .tuple(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 6 }),
        fc.nat(whole.length),
      )
      .map(([changes, cut]) => {
        const frame = Buffer.from(cut % 3 === 0 ? whole.subarray(0, cut) : whole);
        for (const [at, value] of changes) if (at < frame.length) frame[at] = value;
        return frame;
      });
    let answered = 0;
    fc.assert(
      fc.property(
        fc.oneof(
          changed,
          fc.uint8Array({ maxLength: 700 }).map((bytes) => Buffer.from(bytes)),
        ),
        (frame) => {
          isForDhcp(frame, 0, frame.length);
          const found = answer(frame);
          if (found === undefined) return;
          answered++;
          const member = { '024c01000001': '10.1.0.1', '024c01000002': '10.1.0.2' }[
            frame.toString('hex', 6, 12)
          ];
          expect(member).toBeDefined();
          expect([member, '0.0.0.0']).toContain(found.yiaddr);
        },
      ),
      { numRuns: 3000 },
    );
    expect(answered).toBeGreaterThan(100);
  });
});

describe.skipIf(!hasProgram('tshark'))('tshark', () => {
  it('finds nothing wrong with the answers', async () => {
    const capture = openCapture(
      { directory: root, snapLengthBytes: 2000, files: 1, fileBytes: 1 << 20 },
      'dhcp',
      () => {},
    );
    const given = { ...options, router: '10.1.255.254', nameservers: ['192.0.2.53'] };
    for (const asked of [{ type: 1 }, { type: 3, options: [[50, own]] }, { type: 3 }] as DhcpAsked[]) {
      const { frame } = answer(request(asked), given)!;
      capture.out.observe(1, 1, frame, 0, frame.length);
    }
    await capture.close();
    const fields = [
      'dhcp.option.dhcp',
      'dhcp.ip.your',
      'dhcp.option.interface_mtu',
      'dhcp.option.hostname',
      'dhcp.option.router',
      '_ws.expert.message',
    ];
    expect(tshark(join(root, 'dhcp.pcapng'), fields)).toEqual([
      ['2', '10.1.0.1', '1400', 'v01', '10.1.255.254', ''],
      ['5', '10.1.0.1', '1400', 'v01', '10.1.255.254', ''],
      ['6', '0.0.0.0', '', '', '', ''],
    ]);
  });
});

const canNamespace = spawnSync('unshare', ['-rn', 'true']).status === 0;
const canRun = canNamespace && hasProgram('busybox') && hasProgram('gcc');

describe.skipIf(!canRun)('a client', () => {
  it('takes what it is given: busybox udhcpc on a TAP', { timeout: 60_000 }, async () => {
    const tap = join(root, 'tap');
    execFileSync('gcc', ['-Wall', '-Werror', '-o', tap, new URL('tap.c', import.meta.url).pathname]);
    const script = join(root, 'bound');
    const result = join(root, 'result');
    writeFileSync(script, `#!/bin/sh\n[ "$1" = bound ] && env >${result}\nexit 0\n`);
    chmodSync(script, 0o755);
    const client = ['busybox', 'udhcpc', '-f', '-q', '-n', '-t', '10', '-T', '1', '-i', 'tap0', '-s', script];
    const wanted = ['mtu', 'hostname', 'router', 'dns', 'subnet', 'broadcast', 'lease'].flatMap((name) => [
      '-O',
      name,
    ]);
    const child = spawn('unshare', ['-rn', tap, 'tap0', mac, ...client, ...wanted], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const responder = dhcpResponder({ ...options, router: '10.1.255.254', nameservers: ['192.0.2.53'] });
    const into = Buffer.alloc(4 + longestDhcpAnswerBytes);
    let pending = Buffer.alloc(0);
    child.stdin.on('error', () => {});
    child.stdout.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 4 && pending.length >= 4 + pending.readUInt32BE(0)) {
        const end = 4 + pending.readUInt32BE(0);
        const bytes = responder.answer(pending, 4, end - 4, into.subarray(4));
        into.writeUInt32BE(bytes, 0);
        if (bytes > 0) child.stdin.write(Buffer.from(into.subarray(0, 4 + bytes)));
        pending = pending.subarray(end);
      }
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(code).toBe(0);
    const environment = Object.fromEntries(
      readFileSync(result, 'utf8')
        .split('\n')
        .map((line) => line.split('=', 2)),
    );
    expect(environment).toMatchObject({
      ip: '10.1.0.1',
      subnet: '255.255.0.0',
      broadcast: '10.1.255.255',
      mtu: '1400',
      hostname: 'v01',
      router: '10.1.255.254',
      dns: '192.0.2.53',
      serverid: '10.1.255.254',
      lease: '31536000',
    });
  });
});
