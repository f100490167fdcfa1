import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson } from '../../src/cluster/canonical.ts';
import { type ActualCluster, diffCluster, isNothing, type Step } from '../../src/cluster/diff.ts';
import { planGuestFiles } from '../../src/cluster/guest-files.ts';
import type { ClusterPlan } from '../../src/cluster/plan.ts';
import { cluster } from './sample.ts';

const digests = (plan: ClusterPlan): Map<string, string> =>
  new Map([...planGuestFiles(plan)].map(([name, { digest }]) => [name, digest]));

/** A cluster that is as its plan says. */
function asPlanned(plan: ClusterPlan): ActualCluster {
  return {
    fabric: plan.fabric,
    guests: plan.guests.map(({ fullName, digest }) => ({
      fullName,
      digest,
      status: 'running',
      filesDigest: digests(plan).get(fullName)!,
    })),
  };
}

function diff(before: ActualCluster, text: string): Step[] {
  const plan = cluster(text);
  return diffCluster(plan, before, digests(plan));
}

const kinds = (steps: readonly Step[]): string[] =>
  steps.map((step) => ('guest' in step ? `${step.kind} ${step.guest}` : step.kind));

const three = 'guests: {"v[1-3]": }\nfabric: {lan: {members: [v1, v2, v3]}}\n';

describe('the way from what is to what should be', () => {
  it('of a cluster that is not there starts it', () => {
    expect(kinds(diff({ guests: [] }, three))).toEqual([
      'fabric',
      'start lab.v1',
      'start lab.v2',
      'start lab.v3',
      'set-up lab.v1',
      'set-up lab.v2',
      'set-up lab.v3',
    ]);
  });
  it('of a cluster that is as it should be is nothing', () => {
    const steps = diff(asPlanned(cluster(three)), three);
    expect(isNothing(steps)).toBe(true);
    expect(kinds(steps)).toEqual(['keep lab.v1', 'keep lab.v2', 'keep lab.v3']);
  });
  it('removes first, and tells the others', () => {
    const two = 'guests: {"v[1-2]": }\nfabric: {lan: {members: [v1, v2]}}\n';
    const steps = diff(asPlanned(cluster(three)), two);
    expect(kinds(steps)).toEqual([
      'remove lab.v3',
      'fabric',
      'keep lab.v1',
      'keep lab.v2',
      'set-up lab.v1',
      'set-up lab.v2',
    ]);
    expect(steps[1]).toMatchObject({ isNew: false, added: [], removed: ['lan/v3'], changed: [] });
  });
  it('names the links whose shape changes, and leaves the guests alone', () => {
    const shaped = 'guests: {"v[1-3]": }\nfabric: {lan: {members: {v1: , v2: {delay: 1ms}, v3: }}}\n';
    const steps = diff(asPlanned(cluster(three)), shaped);
    expect(steps[0]).toEqual({
      ...{ kind: 'fabric', isNew: false, added: [], removed: [], changed: ['lan/v2'] },
      how: { 'lan/v2': 'out - → 1ms' },
    });
    expect(kinds(steps.slice(1))).toEqual(['keep lab.v1', 'keep lab.v2', 'keep lab.v3']);
  });
  it('replaces a guest that changes or has ended, and waits for one that starts', () => {
    const before = asPlanned(cluster(three));
    const guests = before.guests.map((guest, i) => ({
      ...guest,
      status: (['exited', 'starting', 'running'] as const)[i]!,
    }));
    const steps = diff(
      { ...before, guests },
      'guests: {"v[1-2]": , v3: {cpus: 2}}\nfabric: {lan: {members: [v1, v2, v3]}}\n',
    );
    expect(steps.slice(0, 3)).toEqual([
      { kind: 'replace', guest: 'lab.v1', why: 'ended' },
      { kind: 'await', guest: 'lab.v2' },
      { kind: 'replace', guest: 'lab.v3', why: 'changed' },
    ]);
  });
  it('takes back what was changed while the fabric ran', () => {
    const before = asPlanned(cluster(three));
    const fabric = structuredClone(before.fabric!);
    fabric.networks[0]!.ports[1]!.link.isCut = true;
    expect(diff({ ...before, fabric }, three)[0]).toMatchObject({ kind: 'fabric', changed: ['lan/v2'] });
  });
  it('leads there from anywhere, and then there is nothing to do', () => {
    const status = fc.constantFrom('starting', 'running', 'stopping', 'exited' as const);
    const guest = fc.record({
      n: fc.integer({ min: 1, max: 6 }),
      status,
      same: fc.boolean(),
      files: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.uniqueArray(guest, { selector: ({ n }) => n }), fc.boolean(), (found, hasFabric) => {
        const plan = cluster(three);
        const guests = new Map(
          found.map(({ n, status: now, same, files }) => {
            const fullName = `lab.v${n}`;
            const digest = same ? plan.guests.find((one) => one.fullName === fullName)?.digest : undefined;
            const filesDigest = files ? digests(plan).get(fullName) : undefined;
            const seen = {
              ...(digest === undefined ? {} : { digest }),
              ...(filesDigest === undefined ? {} : { filesDigest }),
            };
            return [fullName, { fullName, status: now, ...seen }];
          }),
        );
        let fabric = hasFabric ? plan.fabric : undefined;
        for (const step of diffCluster(
          plan,
          { guests: [...guests.values()], ...(fabric && { fabric }) },
          digests(plan),
        )) {
          if (step.kind === 'fabric') fabric = plan.fabric;
          else if (step.kind === 'remove') guests.delete(step.guest);
          else if (step.kind !== 'keep') {
            const { digest } = plan.guests.find((one) => one.fullName === step.guest)!;
            const filesDigest = step.kind === 'set-up' ? digests(plan).get(step.guest) : undefined;
            const now = { fullName: step.guest, status: 'running' as const, digest };
            guests.set(step.guest, filesDigest === undefined ? now : { ...now, filesDigest });
          }
        }
        const after = { guests: [...guests.values()], ...(fabric && { fabric }) };
        expect(isNothing(diffCluster(plan, after, digests(plan)))).toBe(true);
      }),
    );
  });
});

describe('canonical JSON', () => {
  it('is the same whatever the order of keys', () => {
    expect(canonicalJson({ b: 1, a: [{ d: 2, c: undefined }] })).toBe('{"a":[{"d":2}],"b":1}');
  });
});
