import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { UplinkRule } from '../../../src/fabric/plan.ts';
import { UplinkFilter } from '../../../src/fabric/uplink/filter.ts';
import { mostFlows } from '../../../src/fabric/uplink/flows.ts';
import {
  addressBytes,
  arpRequest,
  checksum,
  ethernet,
  icmpEcho,
  ipv4,
  macBytes,
  tcp,
  tcpFlags,
  udp,
} from '../packets.ts';

const gateway = '10.1.255.254';
const gatewayMac = '02:4c:01:ff:ff:fe';
const guest = '10.1.0.1';
const guestMac = '02:4c:01:00:00:01';
const hostAddress = '198.51.100.1';

const allow: UplinkRule[] = [
  { protocol: 'tcp', destination: '192.0.2.0/24', ports: [443, 443] },
  { protocol: 'tcp', destination: '192.0.2.80/32', ports: [8000, 8100] },
  { protocol: 'udp', destination: '192.0.2.53/32', ports: [53, 53] },
  { protocol: 'icmp', destination: '192.0.2.1/32' },
];

function makeFilter(rules: UplinkRule[] = allow): UplinkFilter {
  return new UplinkFilter({
    end: { gateway, mac: gatewayMac, allow: rules },
    subnet: '10.1.0.0/16',
    mtuBytes: 1500,
    isHostAddress: (address) => address === addressBytes(hostAddress).readUInt32BE(),
  });
}

let filter: UplinkFilter;
beforeEach(() => {
  filter = makeFilter();
});

/** Judges a frame that lies in the middle of a buffer, which must stay as it is. */
function judge(direction: 'outgoing' | 'incoming', frame: Buffer, nowMs = 0) {
  const buffer = Buffer.concat([Buffer.alloc(7, 0xee), frame, Buffer.alloc(9, 0xee)]);
  const before = Buffer.from(buffer);
  const verdict = filter[direction](buffer, 7, frame.length, nowMs);
  expect(buffer.equals(before)).toBe(true);
  return verdict;
}

const out = (packet: Buffer, from = guestMac) => ethernet(gatewayMac, from, 0x0800, packet);
const back = (packet: Buffer) => ethernet('02:4c:ff:00:00:02', '02:4c:ff:00:00:01', 0x0800, packet);
const passed = () => Buffer.from(filter.packet.bytes.subarray(0, filter.packet.length));

/** What an IPv4 frame says, read without the code under test; checksums must be right. */
function read(frame: Buffer) {
  const packet = frame.subarray(14, 14 + frame.readUInt16BE(16));
  expect(checksum(packet.subarray(0, 20))).toBe(0);
  const [protocol, payload] = [packet[9]!, packet.subarray(20)];
  const from = [...packet.subarray(12, 16)].join('.');
  const to = [...packet.subarray(16, 20)].join('.');
  const pseudo = Buffer.concat([
    packet.subarray(12, 20),
    Buffer.from([0, protocol, payload.length >> 8, payload.length & 255]),
  ]);
  const hasChecksum = protocol !== 17 || payload.readUInt16BE(6) !== 0;
  if (hasChecksum) expect(checksum(protocol === 1 ? payload : Buffer.concat([pseudo, payload]))).toBe(0);
  const ports =
    protocol === 1 ? [payload.readUInt16BE(4), 0] : [payload.readUInt16BE(0), payload.readUInt16BE(2)];
  const macs = [frame.toString('hex', 0, 6), frame.toString('hex', 6, 12)];
  return { protocol, from, to, fromPort: ports[0]!, toPort: ports[1]!, macs, payload };
}

const syn = (to: string, toPort: number, more: Partial<Parameters<typeof tcp>[0]> = {}) =>
  tcp({ from: guest, to, fromPort: 40_000, toPort, ...more });

describe('a connection to what is allowed', () => {
  it('goes out with the one address that passt knows, and its answers come back', () => {
    expect(judge('outgoing', out(syn('192.0.2.7', 443)))).toBe('pass');
    const sent = read(passed());
    expect(sent).toMatchObject({ protocol: 6, from: gateway, to: '192.0.2.7', toPort: 443 });
    const answer = tcp({
      from: '192.0.2.7',
      to: gateway,
      fromPort: 443,
      toPort: sent.fromPort,
      flags: tcpFlags.syn | tcpFlags.ack,
    });
    expect(judge('incoming', back(answer))).toBe('pass');
    const got = read(passed());
    expect(got).toMatchObject({ from: '192.0.2.7', to: guest, fromPort: 443, toPort: 40_000 });
    expect(got.macs).toEqual([macBytes(guestMac).toString('hex'), macBytes(gatewayMac).toString('hex')]);
    const data = tcp({
      from: guest,
      to: '192.0.2.7',
      fromPort: 40_000,
      toPort: 443,
      flags: tcpFlags.ack,
      data: Buffer.from('hello!!'),
    });
    expect(judge('outgoing', out(data))).toBe('pass');
    expect(read(passed())).toMatchObject({ fromPort: sent.fromPort });
    expect(read(passed()).payload.toString('latin1', 20)).toBe('hello!!');
  });

  it('by UDP and ICMP works alike, also without a UDP checksum', () => {
    const query = udp({ from: guest, to: '192.0.2.53', fromPort: 5353, toPort: 53, data: Buffer.from('q') });
    query.writeUInt16BE(0, 26);
    expect(judge('outgoing', out(query))).toBe('pass');
    const { fromPort } = read(passed());
    expect(passed().readUInt16BE(40)).toBe(0);
    const reply = udp({
      from: '192.0.2.53',
      to: gateway,
      fromPort: 53,
      toPort: fromPort,
      data: Buffer.from('answer'),
    });
    expect(judge('incoming', back(reply))).toBe('pass');
    expect(read(passed())).toMatchObject({ to: guest, toPort: 5353 });

    expect(judge('outgoing', out(icmpEcho(guest, '192.0.2.1', 8, 77)))).toBe('pass');
    const echo = read(passed());
    expect(judge('incoming', back(icmpEcho('192.0.2.1', gateway, 0, echo.fromPort)))).toBe('pass');
    expect(read(passed())).toMatchObject({ to: guest, fromPort: 77 });
  });

  it('keeps guests apart that use the same port, or the same address', () => {
    const ports = ['10.1.0.1', '10.1.0.2'].map((from) => {
      expect(judge('outgoing', out(syn('192.0.2.7', 443, { from })))).toBe('pass');
      return read(passed()).fromPort;
    });
    // Another guest takes the first one's address: its packets make a flow of its own.
    expect(judge('outgoing', out(syn('192.0.2.7', 443), '02:4c:01:00:00:09'))).toBe('pass');
    expect(new Set([...ports, read(passed()).fromPort]).size).toBe(3);
    const answer = (toPort: number) =>
      tcp({ from: '192.0.2.7', to: gateway, fromPort: 443, toPort, flags: tcpFlags.ack });
    expect(judge('incoming', back(answer(ports[1]!)))).toBe('pass');
    expect(read(passed()).to).toBe('10.1.0.2');
    expect(judge('incoming', back(answer(ports[0]!)))).toBe('pass');
    expect(read(passed()).macs[0]).toBe(macBytes(guestMac).toString('hex'));
  });

  it('leaves out the padding of a short frame', () => {
    const padded = Buffer.concat([out(syn('192.0.2.7', 443)), Buffer.from('secret')]);
    expect(judge('outgoing', padded)).toBe('pass');
    expect(filter.packet.length).toBe(54);
  });

  // MSS 1460, no operation, window scale; end of options, by hand (RFC 9293, 7323).
  const scaled = (shift: number): Buffer => Buffer.from([2, 4, 0x05, 0xb4, 1, 3, 3, shift]);
  it.each([
    ['without a scale', Buffer.alloc(0), 65_535, 14_600],
    ['small enough', scaled(7), 100, 100],
    ['of megabytes', scaled(7), 60_000, 114],
    ['in units larger than that', scaled(14), 9, 1],
    ['with a scale that may not be', scaled(200), 9, 1],
    ['with options that end early', Buffer.from([0, 3, 3, 7]), 65_535, 14_600],
    ['with an option of no length', Buffer.from([8, 0, 3, 3, 7, 0, 0, 0]), 65_535, 14_600],
    ['with options that are cut off', Buffer.from([1, 1, 3, 3]), 65_535, 14_600],
  ])('tells passt of ten segments at first: %s', (_, extra, window, told) => {
    expect(judge('outgoing', out(syn('192.0.2.7', 443, { extra })))).toBe('pass');
    expect(read(passed()).payload.readUInt16BE(14)).toBe(65_535);
    const acknowledges = { flags: tcpFlags.ack, acknowledged: 1, window };
    expect(judge('outgoing', out(syn('192.0.2.7', 443, acknowledges)))).toBe('pass');
    expect(read(passed()).payload.readUInt16BE(14)).toBe(told);
    expect(judge('outgoing', out(syn('192.0.2.7', 443, { flags: tcpFlags.rst, window })))).toBe('pass');
    expect(read(passed()).payload.readUInt16BE(14)).toBe(window);
  });

  it('leaves a wrong checksum wrong', () => {
    const damaged = syn('192.0.2.7', 443);
    damaged.writeUInt16BE(damaged.readUInt16BE(36) ^ 0x0101, 36);
    expect(judge('outgoing', out(damaged))).toBe('pass');
    expect(() => read(passed())).toThrow();
  });
});

describe('out does not go', () => {
  const fragment = (flags: number) =>
    ipv4({
      protocol: 6,
      from: guest,
      to: '192.0.2.7',
      payload: syn('192.0.2.7', 443).subarray(20),
      fragment: flags,
    });
  it.each([
    ['another port', 'not-allowed', () => out(syn('192.0.2.7', 80))],
    ['another address', 'not-allowed', () => out(syn('192.0.3.7', 443))],
    [
      'another protocol to an allowed port',
      'not-allowed',
      () => out(udp({ from: guest, to: '192.0.2.7', fromPort: 1, toPort: 443 })),
    ],
    ['an address of the network by the gateway', 'not-allowed', () => out(syn('10.1.0.7', 443))],
    ['the gateway itself', 'not-allowed', () => out(syn(gateway, 443))],
    ['a first fragment', 'fragment', () => out(fragment(0x2000))],
    ['a later fragment', 'fragment', () => out(fragment(3))],
    [
      'options',
      'malformed',
      () =>
        out(
          ipv4({
            protocol: 6,
            from: guest,
            to: '192.0.2.7',
            payload: syn('192.0.2.7', 443).subarray(20),
            options: Buffer.from([131, 3, 4, 0]),
          }),
        ),
    ],
    [
      'a wrong header checksum',
      'malformed',
      () =>
        out(
          Buffer.concat([
            syn('192.0.2.7', 443).subarray(0, 8),
            Buffer.from([9]),
            syn('192.0.2.7', 443).subarray(9),
          ]),
        ),
    ],
    [
      'a source outside of the network',
      'foreign-source',
      () => out(syn('192.0.2.7', 443, { from: '10.2.0.1' })),
    ],
    ['the gateway as source', 'foreign-source', () => out(syn('192.0.2.7', 443, { from: gateway }))],
    [
      'the broadcast address as source',
      'foreign-source',
      () => out(syn('192.0.2.7', 443, { from: '10.1.255.255' })),
    ],
    [
      'another protocol',
      'other-protocol',
      () => out(ipv4({ protocol: 47, from: guest, to: '192.0.2.7', payload: Buffer.alloc(20) })),
    ],
    [
      'an ICMP redirect',
      'other-protocol',
      () =>
        out(
          ipv4({ protocol: 1, from: guest, to: '192.0.2.1', payload: Buffer.from([5, 0, 0, 0, 0, 0, 0, 0]) }),
        ),
    ],
    ['an echo reply', 'other-protocol', () => out(icmpEcho(guest, '192.0.2.1', 0, 1))],
    ['an acknowledgement of nothing', 'no-flow', () => out(syn('192.0.2.7', 443, { flags: tcpFlags.ack }))],
    [
      'a TCP header that is cut',
      'malformed',
      () => out(ipv4({ protocol: 6, from: guest, to: '192.0.2.7', payload: Buffer.alloc(19) })),
    ],
    [
      'a UDP length that lies',
      'malformed',
      () =>
        out(
          ipv4({
            protocol: 17,
            from: guest,
            to: '192.0.2.53',
            payload: Buffer.from([0, 1, 0, 53, 0, 99, 0, 0, 1]),
          }),
        ),
    ],
    ['a broadcast', 'ignored', () => ethernet('ff:ff:ff:ff:ff:ff', guestMac, 0x0800, syn('192.0.2.7', 443))],
    ['IPv6', 'ignored', () => ethernet(gatewayMac, guestMac, 0x86dd, Buffer.alloc(60))],
    [
      'a tagged frame',
      'ignored',
      () =>
        ethernet(
          gatewayMac,
          guestMac,
          0x8100,
          Buffer.concat([Buffer.from([0, 1, 8, 0]), syn('192.0.2.7', 443)]),
        ),
    ],
    ['a runt', 'malformed', () => Buffer.alloc(13)],
  ] as const)('%s', (_, verdict, frame) => {
    expect(judge('outgoing', frame())).toBe(verdict);
    expect(filter.flows.count).toBe(0);
  });

  it('what no rule may open, even one for everything', () => {
    filter = makeFilter([{ protocol: 'tcp', destination: '0.0.0.0/0' }]);
    expect(judge('outgoing', out(syn('203.0.113.9', 1)))).toBe('pass');
    for (const to of [
      '0.0.0.0',
      '127.0.0.1',
      '127.9.9.9',
      '169.254.169.254',
      '224.0.0.1',
      '255.255.255.255',
      '10.1.0.2',
      hostAddress,
    ]) {
      expect(judge('outgoing', out(syn(to, 80))), to).toBe('not-allowed');
    }
  });

  it('opens an address of the host, or a link-local one, when a rule names it', () => {
    filter = makeFilter([
      { protocol: 'tcp', destination: `${hostAddress}/32` },
      { protocol: 'tcp', destination: '169.254.169.254/32' },
      { protocol: 'tcp', destination: '127.0.0.1/32' },
    ]);
    expect(judge('outgoing', out(syn(hostAddress, 80)))).toBe('pass');
    expect(judge('outgoing', out(syn('169.254.169.254', 80)))).toBe('pass');
    expect(judge('outgoing', out(syn('127.0.0.1', 80)))).toBe('not-allowed');
    filter = makeFilter([{ protocol: 'tcp', destination: '198.51.100.0/31' }]);
    expect(judge('outgoing', out(syn(hostAddress, 80)))).toBe('not-allowed');
  });
});

describe('in does not come', () => {
  it('what answers nothing', () => {
    judge('outgoing', out(syn('192.0.2.7', 443)));
    const { fromPort } = read(passed());
    const answer = { from: '192.0.2.7', to: gateway, fromPort: 443, toPort: fromPort, flags: tcpFlags.ack };
    const refused = (changes: Partial<Parameters<typeof tcp>[0]>) =>
      judge('incoming', back(tcp({ ...answer, ...changes })));
    expect(refused({ toPort: fromPort + 1 })).toBe('no-flow');
    expect(refused({ fromPort: 444 })).toBe('no-flow');
    expect(refused({ from: '192.0.2.8' })).toBe('no-flow');
    expect(refused({ to: guest })).toBe('no-flow');
    expect(refused({ toPort: 1 })).toBe('no-flow');
    expect(refused({ toPort: 65_535 })).toBe('no-flow');
    expect(judge('incoming', back(udp({ ...answer })))).toBe('no-flow');
    expect(
      judge(
        'incoming',
        back(
          ipv4({
            protocol: 1,
            from: '192.0.2.7',
            to: gateway,
            payload: Buffer.from([3, 4, 0, 0, 0, 0, 0, 0]),
          }),
        ),
      ),
    ).toBe('other-protocol');
    expect(judge('incoming', arpRequest(gatewayMac, gateway, guest))).toBe('ignored');
    expect(judge('incoming', Buffer.concat([back(tcp(answer)), Buffer.alloc(1500)]))).toBe('giant');
    expect(judge('incoming', back(tcp(answer)))).toBe('pass');
  });

  it('what comes after the flow was forgotten', () => {
    expect(judge('outgoing', out(icmpEcho(guest, '192.0.2.1', 8, 1)), 0)).toBe('pass');
    filter.flows.clear();
    expect(judge('incoming', back(icmpEcho('192.0.2.1', gateway, 0, read(passed()).fromPort)), 1)).toBe(
      'no-flow',
    );
  });
});

describe('ARP', () => {
  it('for the gateway is answered, for others not', () => {
    expect(judge('outgoing', arpRequest(guestMac, guest, gateway))).toBe('answer');
    const reply = passed();
    expect(reply.toString('hex')).toBe(
      [
        guestMac,
        gatewayMac,
        '08060001080006040002',
        gatewayMac,
        addressBytes(gateway).toString('hex'),
        guestMac,
        addressBytes(guest).toString('hex'),
      ]
        .join('')
        .replaceAll(':', ''),
    );
    expect(judge('outgoing', arpRequest(guestMac, guest, '10.1.0.2'))).toBe('ignored');
    expect(judge('outgoing', arpRequest(guestMac, '0.0.0.0', gateway))).toBe('answer');
    expect(judge('outgoing', arpRequest(guestMac, '192.0.2.1', gateway))).toBe('foreign-source');
    expect(judge('outgoing', reply)).toBe('ignored');
    expect(judge('outgoing', arpRequest(guestMac, guest, gateway).subarray(0, 41))).toBe('ignored');
  });
});

describe('the table of flows', () => {
  const open = (from: string, fromPort: number, nowMs: number, mac = guestMac) =>
    judge('outgoing', out(syn('192.0.2.7', 443, { from, fromPort }), mac), nowMs);
  const other = '02:4c:01:00:00:02';

  it('gives no guest all of it, and takes back what is old', () => {
    let opened = 0;
    while (open(guest, 1 + opened, 0) === 'pass') opened++;
    expect(opened).toBe(4096);
    expect(open('10.1.0.2', 1, 0, other)).toBe('pass');
    // Nor with an address that is not its own.
    expect(open('10.1.0.3', 1, 0)).toBe('too-many-flows');
    expect(open(guest, 50_000, 30_000)).toBe('too-many-flows');
    expect(open(guest, 50_000, 61_001)).toBe('pass');
    expect(filter.flows.count).toBe(1);
  });

  it('is bounded, and its numbers come again late', () => {
    for (let i = 0; i < mostFlows; i++) {
      const mac = `02:4c:02:00:00:0${Math.floor(i / 4096)}`;
      if (open(guest, 1 + (i % 4096), 0, mac) !== 'pass') throw new Error(`flow ${i}`);
    }
    expect(open(guest, 1, 0, '02:4c:02:00:00:77')).toBe('too-many-flows');
    filter.flows.clear();
    expect(filter.flows.count).toBe(0);
    expect(open(guest, 1, 0)).toBe('pass');
    const first = read(passed()).fromPort;
    expect(open(guest, 2, 0)).toBe('pass');
    expect(read(passed()).fromPort).not.toBe(first);
  });

  it('keeps a connection that is used, and soon forgets one that ended', () => {
    const { flows } = filter;
    open(guest, 1, 0);
    const { fromPort } = read(passed());
    const packet = (flags: number) =>
      tcp({ from: '192.0.2.7', to: gateway, fromPort: 443, toPort: fromPort, flags });
    judge('incoming', back(packet(tcpFlags.syn | tcpFlags.ack)), 1000);
    expect(flows.state[fromPort - 16_384]).toBe(2);
    judge('incoming', back(packet(tcpFlags.fin | tcpFlags.ack)), 2000);
    expect(flows.state[fromPort - 16_384]).toBe(3);
    open(guest, 1, 3000);
    expect(flows.state[fromPort - 16_384]).toBe(1);
  });
});

describe('whatever comes', () => {
  /** Whether a rule names it, said in the plainest way. */
  function isAllowed(protocol: number, to: string, port: number): boolean {
    const [a, b, c, d] = to.split('.').map(Number);
    const is192 = a === 192 && b === 0 && c === 2;
    if (protocol === 6) return is192 && (port === 443 || (d === 80 && port >= 8000 && port <= 8100));
    if (protocol === 17) return is192 && d === 53 && port === 53;
    return protocol === 1 && is192 && d === 1;
  }

  const octets = fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 2, 10, 53, 80, 127, 192, 255));
  const anyAddress = fc.oneof(
    fc.tuple(octets, octets, octets, octets).map((parts) => parts.join('.')),
    fc.constantFrom(
      '192.0.2.1',
      '192.0.2.53',
      '192.0.2.80',
      '192.0.2.7',
      '192.0.3.1',
      gateway,
      guest,
      '127.0.0.1',
    ),
  );
  const anyPort = fc.oneof(fc.nat(65_535), fc.constantFrom(53, 443, 8000, 8100, 8101, 7999, 16_384, 16_385));
  const parts = fc.record({
    from: fc.oneof(fc.constant(guest), anyAddress),
    to: anyAddress,
    fromPort: anyPort,
    toPort: anyPort,
  });
  const anyPacket = fc.oneof(
    fc.tuple(parts, fc.oneof(fc.constant(2), fc.nat(63))).map(([given, flags]) => tcp({ ...given, flags })),
    parts.map(udp),
    parts.map(({ from, to, fromPort }) => icmpEcho(from, to, 8, fromPort)),
    parts.map(({ from, to, fromPort }) => icmpEcho(from, to, 0, fromPort)),
    fc
      .record({ protocol: fc.nat(255), from: anyAddress, to: anyAddress, fragment: fc.nat(0xffff) })
      .map((given) => ipv4({ ...given, payload: Buffer.alloc(24) })),
  );
  const allowedPacket = fc.oneof(
    fc.nat(65_535).map((fromPort) => syn('192.0.2.7', 443, { fromPort })),
    fc.nat(65_535).map((fromPort) => udp({ from: guest, to: '192.0.2.53', fromPort, toPort: 53 })),
    fc.nat(65_535).map((id) => icmpEcho(guest, '192.0.2.1', 8, id)),
  );
  const anyFrame = fc
    .tuple(
      fc.oneof(
        allowedPacket.map((packet) => out(packet)),
        allowedPacket.map((packet) => out(packet)),
        anyPacket.map((packet) => out(packet)),
        anyPacket.map((packet) => back(packet)),
        fc.uint8Array({ maxLength: 90 }).map((bytes) => Buffer.from(bytes)),
        fc.uint8Array({ maxLength: 90 }).map((bytes) => out(Buffer.from(bytes))),
      ),
      fc.oneof(fc.constant([]), fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 2 })),
      fc.oneof({ arbitrary: fc.constant(2000), weight: 4 }, { arbitrary: fc.nat(80), weight: 1 }),
    )
    .map(([frame, changes, length]) => {
      const changed = Buffer.from(frame.subarray(0, length));
      for (const [at, value] of changes) if (at < changed.length) changed[at] = value;
      return changed;
    });

  it('nothing else goes out, nothing but answers comes in, and nothing throws', () => {
    let passedOut = 0;
    let passedIn = 0;
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), anyFrame), { minLength: 8, maxLength: 20 }), (frames) => {
        filter = makeFilter();
        const flows = new Map<string, { guest: string; port: number }>();
        const answer = (key: string) => key.split(' ');
        for (const [isOut, given] of frames) {
          let frame: Buffer = given;
          const known = [...flows.keys()].at(-1);
          if (!isOut && known !== undefined) {
            // Half of what comes in answers what went out, but for one change.
            const [protocol, address, port, outside] = answer(known);
            const reply = { from: address!, to: gateway, fromPort: Number(port), toPort: Number(outside) };
            const packet =
              protocol === '6'
                ? tcp({ ...reply, flags: 16 })
                : protocol === '17'
                  ? udp(reply)
                  : icmpEcho(address!, gateway, 0, Number(outside));
            frame = back(packet);
            const at = given.length % frame.length;
            if (given.length % 2 === 0) frame[at] = frame[at]! ^ (1 << (given.length % 8));
          }
          const verdict = judge(isOut ? 'outgoing' : 'incoming', frame);
          if (verdict !== 'pass') continue;
          const passedFrame = passed();
          expect(passedFrame.readUInt16BE(20) & 0x3fff).toBe(0);
          const packet = passedFrame.subarray(14);
          const [from, to] = [[...packet.subarray(12, 16)].join('.'), [...packet.subarray(16, 20)].join('.')];
          const protocol = packet[9]!;
          const isIcmp = protocol === 1;
          if (isOut) {
            passedOut++;
            const port = isIcmp ? 0 : packet.readUInt16BE(22);
            expect(isAllowed(protocol, to, port), `${protocol} ${to}:${port}`).toBe(true);
            expect(from).toBe(gateway);
            const outside = packet.readUInt16BE(isIcmp ? 24 : 20);
            const inside = {
              guest: [...frame.subarray(26, 30)].join('.'),
              port: frame.readUInt16BE(isIcmp ? 38 : 34),
            };
            const key = `${protocol} ${to} ${port} ${outside}`;
            expect(flows.get(key) ?? inside).toEqual(inside);
            flows.set(key, inside);
          } else {
            passedIn++;
            const original = frame.subarray(14);
            const outside = original.readUInt16BE(isIcmp ? 24 : 22);
            const port = isIcmp ? 0 : original.readUInt16BE(20);
            const flow = flows.get(`${protocol} ${from} ${port} ${outside}`);
            expect(flow).toBeDefined();
            expect(to).toBe(flow!.guest);
            expect(packet.readUInt16BE(isIcmp ? 24 : 22)).toBe(flow!.port);
          }
        }
      }),
      { numRuns: 300 },
    );
    // Else nothing of this was tried.
    expect(passedOut).toBeGreaterThan(100);
    expect(passedIn).toBeGreaterThan(20);
  });
});

describe('a published port', () => {
  const port = 10_007;
  const caller = { address: '198.51.100.9', port: 50_000 };
  const published = () =>
    new UplinkFilter({
      end: { gateway, mac: gatewayMac, allow, publish: [{ port, address: guest, mac: guestMac }] },
      subnet: '10.1.0.0/16',
      mtuBytes: 1500,
      isHostAddress: () => false,
    });
  const call = (flags: number, from = caller, to = port) =>
    back(tcp({ from: from.address, to: gateway, fromPort: from.port, toPort: to, flags }));
  const answer = (flags: number, from = guestMac, to = caller, fromPort = port) =>
    out(tcp({ from: guest, to: to.address, fromPort, toPort: to.port, flags }), from);

  beforeEach(() => {
    filter = published();
  });

  it('is reached by whoever calls, who keeps the address it comes from', () => {
    expect(judge('incoming', call(tcpFlags.syn))).toBe('pass');
    const got = read(passed());
    expect(got).toMatchObject({ from: caller.address, to: guest, fromPort: caller.port, toPort: port });
    expect(got.macs).toEqual([macBytes(guestMac).toString('hex'), macBytes(gatewayMac).toString('hex')]);
    expect(judge('outgoing', answer(tcpFlags.syn | tcpFlags.ack))).toBe('pass');
    expect(read(passed())).toMatchObject({
      from: gateway,
      to: caller.address,
      fromPort: port,
      toPort: caller.port,
    });
    expect(judge('incoming', call(tcpFlags.ack))).toBe('pass');
    expect(judge('incoming', call(tcpFlags.fin | tcpFlags.ack))).toBe('pass');
  });

  it('is no way out: a guest answers only who has called', () => {
    for (const flags of [tcpFlags.syn, tcpFlags.syn | tcpFlags.ack, tcpFlags.ack, tcpFlags.rst]) {
      expect(judge('outgoing', answer(flags))).toBe('not-allowed');
    }
    expect(judge('incoming', call(tcpFlags.syn))).toBe('pass');
    expect(judge('outgoing', answer(tcpFlags.ack, guestMac, { ...caller, port: 50_001 }))).toBe(
      'not-allowed',
    );
    // Another guest does not speak for it, nor another port of it.
    expect(judge('outgoing', answer(tcpFlags.ack, '02:4c:01:00:00:02'))).toBe('not-allowed');
    expect(judge('outgoing', answer(tcpFlags.ack, guestMac, caller, port + 1))).toBe('not-allowed');
  });

  it('is the only one, and what belongs to no call does not come in', () => {
    expect(judge('incoming', call(tcpFlags.syn, caller, port + 1))).toBe('no-flow');
    expect(judge('incoming', call(tcpFlags.ack))).toBe('no-flow');
    expect(
      judge('incoming', back(udp({ from: caller.address, to: gateway, fromPort: 1, toPort: port }))),
    ).toBe('no-flow');
  });
});
