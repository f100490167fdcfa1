import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatAddress,
  formatPrefix,
  macOf,
  parseAddress,
  parseMac,
  parsePrefix,
  parseSubnet,
  prefixesOverlap,
} from '../../src/cluster/address.ts';
import { parseUplinkRule } from '../../src/cluster/uplink-rule.ts';
import { faultOf } from './sample.ts';

describe('an address', () => {
  it('is read as it is written', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (address) => {
        expect(parseAddress(formatAddress(address))).toBe(address);
      }),
    );
  });
  it.each(['10.1.2', '10.1.2.256', '10.01.2.3', 'a.b.c.d', '10.1.2.3.4', '::1', ''])('is not %j', (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });
});

describe('a prefix', () => {
  it.each(['10.1.0.0', '10.1.0.0/33', '10.1.0.1/16', 'x/8'])('is not %j', (text) => {
    expect(faultOf(() => parsePrefix(text)).code).toBe('spec-value');
  });
  it('says which one was meant', () => {
    expect(faultOf(() => parsePrefix('10.1.2.3/16')).fix).toBe('did you mean 10.1.0.0/16?');
  });
  it.each(['10.0.0.0/31', '0.0.0.0/0', '127.0.0.0/16', '224.1.0.0/16', '169.254.0.0/24', '160.0.0.0/4'])(
    'is no subnet: %s',
    (text) => {
      expect(faultOf(() => parseSubnet(text)).code).toBe('spec-value');
    },
  );
  it('overlaps what is in it', () => {
    const [a, b, c] = ['10.1.0.0/16', '10.1.128.0/17', '10.2.0.0/16'].map((text) => parseSubnet(text));
    expect([prefixesOverlap(a!, b!), prefixesOverlap(b!, a!), prefixesOverlap(a!, c!)]).toEqual([
      true,
      true,
      false,
    ]);
    expect(formatPrefix(b!)).toBe('10.1.128.0/17');
  });
});

describe('a MAC address', () => {
  it('that is given is local and of one station', () => {
    expect(macOf(0, 1)).toBe('02:4c:01:00:00:01');
    expect(macOf(253, 0xfffffe)).toBe('02:4c:fe:ff:ff:fe');
    expect(parseMac('02:4C:01:00:00:0a')).toBe('02:4c:01:00:00:0a');
  });
  it.each(['01:00:5e:00:00:01', 'ff:ff:ff:ff:ff:ff', '00:00:00:00:00:00', '02:4c', 'x'])(
    'is not %s',
    (text) => {
      expect(faultOf(() => parseMac(text)).code).toBe('spec-value');
    },
  );
});

describe('a rule of an uplink', () => {
  it.each([
    ['tcp 192.0.2.0/24:443', { protocol: 'tcp', destination: '192.0.2.0/24', ports: [443, 443] }],
    ['udp 192.0.2.53:53-54', { protocol: 'udp', destination: '192.0.2.53/32', ports: [53, 54] }],
    ['icmp 192.0.2.1', { protocol: 'icmp', destination: '192.0.2.1/32' }],
  ])('%s', (text, rule) => {
    expect(parseUplinkRule(text)).toEqual(rule);
  });
  it.each([
    'tcp',
    'sctp 192.0.2.1',
    'tcp 192.0.2.1/24:1',
    'icmp 192.0.2.1:1',
    'tcp 192.0.2.1:0',
    'tcp 192.0.2.1:9-3',
    'tcp example.org:443',
  ])('is not %j', (text) => {
    expect(faultOf(() => parseUplinkRule(text)).code).toBe('spec-value');
  });
});
