import { describe, expect, it } from 'vitest';
import { diffCluster, type Step } from '../../src/cluster/diff.ts';
import { describeChanges, guestChanges } from '../../src/cluster/guest-changes.ts';
import type { ClusterPlan } from '../../src/cluster/plan.ts';
import { cluster } from './sample.ts';

function told(before: string, after: string): string {
  const [was, is] = [cluster(before), cluster(after)];
  return describeChanges(guestChanges(was.guests[0]!, is.guests[0]!));
}

describe('what a guest is started again for', () => {
  it.each([
    ['{cpus: 1}', '{cpus: 2, memory: 2G}', 'cpus 1 → 2, memory 1G → 2G'],
    [
      '{pages: 2M, pin: 0-3}',
      '{pages: {host: 2M, strict: false}, pin: true}',
      'pages 2M → 2M, not strict, pin 0-3 → true',
    ],
    ['', '{boot-timeout: 90s}', 'boot-timeout 1m30s'],
    ['{kernel: ./k}', '', 'kernel no longer ./k'],
    ['{append: a}', '', 'append a → none'],
    ['', '{volumes: ["/a:/b:ro"]}', 'volumes none → /a:/b:ro'],
    ['', `{append: ${'x'.repeat(50)}}`, 'append no longer none'],
    ['{image: {kernel: /k}}', '{image: a}', 'image {"kernel":"/k"} → a'],
    [
      '',
      '{forward: true, routes: [10.9.0.0/16 via v2]}',
      'forward false → true, routes none → 10.9.0.0/16 via 10.1.0.2',
    ],
  ])('%s to %s', (before, after, words) => {
    const spec = (keys: string): string => `guests: {v1: ${keys}, v2: }\n`;
    expect(told(spec(before), spec(after))).toBe(words);
  });
  it('its networks, and what it has in those that it stays in', () => {
    const spec = (fabric: string): string => `guests: {v1: , v2: }\nfabric: {${fabric}}\n`;
    const lan = 'lan: {members: [v1, v2]}';
    expect(told(spec(lan), spec(`${lan}, wan: {members: [v1]}`))).toBe('networks lan → lan, wan');
    expect(told(spec(lan), spec('lan: {members: [v2, v1], mtu: 9000}'))).toBe(
      'address in lan 10.1.0.1/16 → 10.1.0.2/16, mac in lan 02:4c:01:00:00:01 → 02:4c:01:00:00:02, mtu of lan 1500 → 9000',
    );
  });
  it('keys of the cluster, which cannot be taken back from a guest that had them', () => {
    expect(told('guests: {v1: }\n', 'guests: {v1: }\nssh: false\n')).toBe('ssh true → false');
    const steps = (before: string, after: string): string[] => {
      const guests = cluster(before).guests.map((guest) => ({ ...guest, status: 'running' as const }));
      return diffCluster(cluster(after), { guests }, new Map()).map(({ kind }) => kind);
    };
    const [on, off] = ['guests: {v1: }\n', 'guests: {v1: }\nssh: false\n'];
    expect([steps(on, off), steps(off, on), steps(off, off)]).toEqual([
      ['fabric', 'replace'],
      ['fabric', 'replace'],
      ['fabric', 'keep'],
    ]);
  });
  it('an image of the same name with another content', () => {
    const [guest] = cluster('guests: {v1: }\n').guests;
    expect(describeChanges(guestChanges(guest!, { ...guest!, imageId: 'other' }))).toBe(
      'content of its image',
    );
  });
});

describe('steps of an apply', () => {
  const there = cluster(
    'guests: {v1: {cpus: 1}, v2: {cpus: 1}}\nfabric: {lan: {members: [v1, v2], delay: 10ms}}\n',
  );
  const changedTo = (fabric: string): ClusterPlan =>
    cluster(`guests: {v1: {cpus: 2}, v2: {cpus: 1}}\nfabric: {lan: {members: [v1, v2], ${fabric}}}\n`);
  const steps = (to: ClusterPlan, planned: ClusterPlan): Step[] =>
    diffCluster(
      to,
      {
        fabric: there.fabric,
        planned: planned.guests,
        guests: there.guests.map(({ fullName, digest }) => ({ fullName, digest, status: 'running' })),
      },
      new Map(),
    );

  it('say what changes of a guest, where what it was started from is known', () => {
    const to = changedTo('delay: 10ms');
    expect(steps(to, there)).toContainEqual({
      kind: 'replace',
      guest: 'lab.v1',
      why: 'changed',
      changes: [{ key: 'cpus', before: '1', after: '2' }],
    });
    expect(steps(to, to)).toContainEqual({ kind: 'replace', guest: 'lab.v1', why: 'changed' });
  });
  it('say what changes of an uplink, and of switches whose numbers alone are others', () => {
    const changes = (before: string, after: string): unknown => {
      const [was, is] = [before, after].map((keys) =>
        cluster(`guests: {v1: , v2: }\nfabric: {lan: {members: [v1, v2], ${keys}}}\n`),
      );
      const found = diffCluster(is!, { fabric: was!.fabric, guests: [] }, new Map());
      const step = found.find(({ kind }) => kind === 'fabric');
      return step?.kind === 'fabric' ? step.how : undefined;
    };
    const rules = (...allow: string[]): string => `uplink: {allow: ['${allow.join("', '")}']}`;
    expect(changes(rules('icmp 192.0.2.1'), rules('icmp 192.0.2.1', 'tcp 192.0.2.2:80'))).toEqual({
      'lan/uplink': 'allow icmp 192.0.2.1/32 → icmp 192.0.2.1/32; tcp 192.0.2.2/32:80',
    });
    // A larger tree has other switches before those of the smaller one.
    const how = changes('topology: "fat-tree:k=2"', 'topology: "fat-tree:k=4"');
    expect(Object.keys(how as object)).toEqual(['lan/v2']);
  });
  it('say what changes of a link', () => {
    const how = (fabric: string): unknown => {
      const step = steps(changedTo(fabric), there).find(({ kind }) => kind === 'fabric');
      return step?.kind === 'fabric' ? step.how['lan/v1'] : undefined;
    };
    expect(how('delay: 20ms, loss: 1%')).toBe('out 10ms → 20ms, loss 1%');
    expect(how('delay: 10ms, capture: true')).toBe('capture');
    expect(how('delay: 10ms, limits: {macs: 3}')).toBe('limits');
    expect(how('delay: 10ms, subnet: 10.7.0.0/16')).toBe(
      'subnet 10.1.0.0/16 → 10.7.0.0/16, address 10.1.0.1/16 → 10.7.0.1/16',
    );
    expect(how('delay: 10ms, bandwidth: 1Mbit')).toBe('out 10ms → 1Mbit, 10ms, in - → 1Mbit');
    expect(how('delay: 10ms, bandwidth: 1Mbit, queue: 100K')).toBe(
      'out 10ms → 1Mbit, queue 100K, 10ms, in - → 1Mbit, queue 100K',
    );
    expect(how('delay: 10ms')).toBeUndefined();
    const cut = structuredClone(there);
    cut.fabric.networks[0]!.ports[0]!.link.isCut = true;
    const [step] = diffCluster(there, { fabric: cut.fabric, guests: [] }, new Map());
    expect(step).toMatchObject({ changed: ['lan/v1'], how: { 'lan/v1': 'healed' } });
  });
});
