import { describe, expect, it } from 'vitest';
import { type BridgeHost, features, requireBridges } from '../../../src/fabric/bridge/requirements.ts';
import { faultOf, outline } from '../../cluster/sample.ts';

const all: BridgeHost = { features: new Set(features), mayChangeHost: true, bridges: ['br0', 'br1'] };
const without = (...lacking: string[]): BridgeHost => ({
  ...all,
  features: new Set(features.filter((feature) => !lacking.includes(feature))),
});
const check = (lan: string, host: BridgeHost): void => {
  const { fabric } = outline(
    `name: lab\nguests: {v1: {accelerator: tcg}}\nfabric: {lan: {members: {v1: }, ${lan}}}\n`,
  );
  requireBridges(fabric, host, (network) => `at ${network}`);
};

describe('what bridges need', () => {
  it.each([
    ['bridge: true', 'namespace', 'max_user_namespaces'],
    ['bridge: true', 'bridge', 'modprobe bridge'],
    ['bridge: true', 'locked', '5.18'],
    ['bridge: true, bandwidth: 1Mbit', 'veth', 'modprobe veth'],
    ['bridge: true, bandwidth: 1Mbit', 'tbf', 'modprobe sch_tbf'],
    ['bridge: true, delay: 1ms', 'netem', 'modprobe sch_netem'],
    ['bridge: true, loss: 1%', 'netem', 'modprobe sch_netem'],
    ['bridge: br0', 'veth', 'modprobe veth'],
  ])('%s: %s', (lan, feature, fix) => {
    expect(() => check(lan, all)).not.toThrow();
    const fault = faultOf(() => check(lan, without(feature)));
    expect(fault).toMatchObject({ code: 'bridge-unmet', where: 'at lan', fix: expect.stringContaining(fix) });
    expect(fault.message).toContain("network 'lan'");
  });

  it('is not asked for by what does without', () => {
    expect(() => check('bridge: true', without('veth', 'tbf', 'netem'))).not.toThrow();
    expect(() => check('bridge: true, bandwidth: 1Mbit', without('netem'))).not.toThrow();
    expect(() => check('bridge: false, delay: 1ms', without(...features))).not.toThrow();
  });

  it('is a bridge that is there, and the right to join it', () => {
    const absent = faultOf(() => check('bridge: br7', all));
    expect(absent).toMatchObject({ code: 'bridge-unmet', fix: expect.stringContaining('br0, br1') });
    const fault = faultOf(() => check('bridge: br0', { ...all, mayChangeHost: false }));
    expect(fault).toMatchObject({ code: 'bridge-unmet', message: expect.stringContaining('CAP_NET_ADMIN') });
    expect(() => check('bridge: true', { ...all, mayChangeHost: false })).not.toThrow();
  });
});
