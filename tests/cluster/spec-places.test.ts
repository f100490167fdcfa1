import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readAsGraphs } from '../../src/cluster/look.ts';
import { guestAt, placedFault, placesOf } from '../../src/cluster/placed-fault.ts';
import { readClusterSpec } from '../../src/cluster/plan.ts';
import { LodgeError } from '../../src/errors.ts';
import { planLayout } from '../../src/guest/layout.ts';
import { refusal } from '../../src/guest/planner.ts';
import { machineOf } from '../guest/layout-machines.ts';
import { faultOf, outline } from './sample.ts';

/** What is wrong, where, and the line and column of the words in the text that are meant. */
function expectAt(text: string, words: string, message: string | RegExp): LodgeError {
  const fault = faultOf(() => outline(text));
  const before = text.slice(0, text.indexOf(words)).split('\n');
  expect(fault.where).toBe(`lab.yaml:${before.length}:${before.at(-1)!.length + 1}`);
  expect(fault.message).toMatch(message);
  return fault;
}

describe('shapes that contradict themselves', () => {
  const lan = (keys: string, member = ''): string =>
    `guests: {v1: , v2: }\nfabric:\n  lan:\n    members: {v1: , v2: {${member}}}\n${keys}`;

  it.each([
    [
      'a network',
      lan('    delay: 1ms\n    jitter: 2ms\n'),
      '2ms\n',
      'the jitter (2ms) is more than the delay (1ms)',
    ],
    [
      'a network, no delay',
      lan('    jitter: 3ms\n'),
      '3ms',
      'jitter (3ms) needs a delay that is as long at least',
    ],
    ['a network', lan('    queue: 1M\n'), '1M', 'a queue without a bandwidth is never used'],
    ['a queue', lan('    bandwidth: 1Mbit\n    queue: 0B\n'), '0B', 'a queue of 0 bytes holds no frame'],
    ['a network', lan('    reorder: 1%\n'), '1%', 'reorder without a delay does nothing'],
    ['a member', lan('    delay: 1ms\n', 'jitter: 2ms'), '2ms', 'the jitter (2ms) is more'],
    ['a member', lan('', 'mac: "02:00:00:00:00:01", queue: 2M'), '2M', 'a queue without'],
    [
      'one direction',
      lan('    delay: 5ms\n', 'in: {loss: 1%, jitter: 2ms}'),
      '2ms',
      'jitter (2ms) needs a delay',
    ],
    ['one direction', lan('    bandwidth: 1Mbit\n', 'out: {reorder: 7%}'), '7%', 'reorder without'],
    ['links of switches', lan('    topology: "ring:3"\n    jitter: 4us\n'), '4us', 'jitter (4us) needs'],
  ])('are told at the key of %s that does', (_, text, words, message) => {
    expectAt(text, words, message);
  });
  it('are told at what was said of fewer links, and where the other is', () => {
    const text = lan('    delay: 5ms\n    jitter: 2ms\n', 'delay: 1ms');
    expect(expectAt(text, '1ms', 'the jitter').detail).toBe('the jitter: lab.yaml:6:13');
  });
});

describe('captures that cannot be', () => {
  it('are told at their keys', () => {
    const captured = (keys: string): string =>
      `guests: {v1: }\nfabric:\n  lan: {members: {v1: {capture: {${keys}}}}}\n`;
    expectAt(captured('files: 1001'), '1001', /must be 1000 or less/);
    expectAt(captured('file-size: 255K'), '255K', /is too small for a file of a capture/);
    expect(() => outline(captured('files: 1000, file-size: 256K'))).not.toThrow();
  });
});

describe('what a network says of a member', () => {
  it('has its own place where it cannot be', () => {
    const bridged = (member: string): string =>
      `guests: {v1: {accelerator: tcg}}\nfabric: {a: {bridge: true, members: {v1: {${member}}}}}\n`;
    expectAt(bridged('limits: {macs: 2}'), '{macs', /has no limits/);
    expectAt(bridged('capture: true'), 'true}}}}', /has no capture/);
    expectAt(bridged('switch: s1'), 's1', /no switches to choose from/);
    expectAt(
      'guests: {v1: {accelerator: uml}}\nfabric: {a: {bridge: true, members: [v1]}}\n',
      'uml',
      /uml cannot/,
    );
  });
});

describe('a rule of an uplink for the network itself', () => {
  const ruled = (rule: string): string =>
    `guests: {v1: }\nfabric: {a: {members: [v1], uplink: {allow: ['udp 192.0.2.1:53', '${rule}']}}}\n`;

  it('is told that it lets nothing out', () => {
    for (const rule of ['tcp 10.1.2.3:80', 'icmp 10.1.0.0/16'])
      expectAt(
        ruled(rule),
        `'${rule}`,
        `'${rule.startsWith('tcp') ? 'tcp 10.1.2.3/32:80' : rule}' lets nothing out`,
      );
    expect(() => outline(ruled('tcp 10.0.0.0/8:80'))).not.toThrow();
  });
});

describe('a fabric with nothing in it', () => {
  it('is told for what it is', () => {
    expectAt('guests: {v1: }\nfabric: {}\n', '{}', /no network in fabric/);
    expectAt('guests: {v1: }\nfabric: {a: {members: {}}}\n', '{}', /'fabric.a.members': must not be empty/);
  });
});

describe('a guest in more networks than it can have interfaces', () => {
  it('is refused before anything is started', () => {
    const networks = Array.from({ length: 33 }, (_, i) => `n${i}: {members: [v1]}`).join(', ');
    expectAt(`guests: {v1: }\nfabric: {${networks}}\n`, 'v1', /'v1' is in 33 networks/);
  });
});

describe('routes', () => {
  it('have their places, also where they are inherited', () => {
    const text =
      'defaults:\n  routes:\n    - default via 10.1.0.2\n    - 10.9.0.0/16 via nobody\nguests: {v1: , v2: }\n';
    expectAt(text, '10.9.0.0', /no such guest/);
  });
});

describe('what cannot be had for a guest', () => {
  const text = [
    'image: nonesuch',
    'defaults: {accelerator: uml}',
    'roles:',
    '  big: {cpus: 4}',
    'guests:',
    '  v[1-2]: {role: big}',
    '  w: {memory: 32M}',
    '',
  ].join('\n');
  const guest = (name: string) => outline(text).guests.find((one) => one.name === name)!;
  const asked = (code: 'image-not-found' | 'driver-cannot', key: string | undefined, details: object = {}) =>
    new LodgeError(code, 'no', { ...details, asked: key === undefined ? [] : [key] });

  it('is told at the key that asked for it, wherever the guest has it from', () => {
    const places = (['image', 'accelerator', 'cpus', 'kernel'] as const).map(
      (key) => (placedFault(asked('driver-cannot', key), guest('v2')) as LodgeError).where,
    );
    expect(places).toEqual(['lab.yaml:1:8', 'lab.yaml:2:25', 'lab.yaml:4:15', 'lab.yaml:6:3']);
    expect(placedFault(asked('driver-cannot', 'memory'), guest('w'))).toMatchObject({
      where: 'lab.yaml:7:15',
    });
    expect(placedFault(asked('driver-cannot', undefined), guest('w'))).toMatchObject({
      where: 'lab.yaml:7:3',
      message: "guest 'w': no",
    });
  });
  it('keeps the path that it was looked for at', () => {
    const fault = placedFault(asked('image-not-found', 'image', { where: '/img/k' }), guest('v1'));
    expect(fault).toMatchObject({ message: "'image' of guest 'v1': /img/k: no", where: 'lab.yaml:1:8' });
  });
  it('is told at the entry of a list', () => {
    const listed = 'guests:\n  v1:\n    volumes:\n      - /a:/b\n      - /c:/dev\n';
    const fault = new LodgeError('share-unusable', 'no', { asked: ['volumes', 1] });
    expect(placedFault(fault, outline(listed).guests[0]!)).toMatchObject({ where: 'lab.yaml:5:9' });
  });
  it('is told there by a host that has only the places', () => {
    const listed =
      'defaults: {pin: true}\nguests:\n  v1:\n    pages: 2M\n    volumes:\n      - /a:/b\n      - /c:/dev\n';
    const places = JSON.parse(JSON.stringify(placesOf(outline(listed).guests))) as ReturnType<
      typeof placesOf
    >;
    const [own] = outline(listed).guests;
    for (const path of [['pages'], ['pin'], ['volumes', 1], ['volumes', 0], ['volumes'], ['cpus'], []]) {
      const error = new LodgeError('placement-unmet', 'no', { asked: path });
      expect(placedFault(error, guestAt(places, 'v1'))).toEqual(placedFault(error, own!));
    }
    expect(Object.keys(places.v1!.keys)).toHaveLength(5);
  });
  it('on the host, is told at the key that asked for it', () => {
    const pinned = 'guests:\n  v1:\n    cpus: 16\n    pin: true\n    pages: 2M\n';
    const { spec, ...named } = outline(pinned).guests[0]!;
    const told = (cpus: number): LodgeError => {
      const { memory, pages, pin, numa, placement } = spec;
      const request = { cpus, memoryBytes: memory, pages, pin, numa, placement };
      return placedFault(
        faultOf(() => planLayout(request, machineOf())),
        named,
      ) as LodgeError;
    };
    expect(told(16)).toMatchObject({
      where: 'lab.yaml:3:11',
      message: expect.stringMatching(/^'cpus' of guest 'v1': 16 vCPUs cannot be pinned/),
      fix: 'ask for cpus: 8 at most, or run in a job that has more',
    });
    expect(told(4)).toMatchObject({ where: 'lab.yaml:5:12', code: 'placement-unmet' });
  });
  it('has a fix in keys of the spec', () => {
    const image = { kind: 'linux', name: 'host', id: 'host', root: { kind: 'host' } } as const;
    const { spec } = guest('v1');
    const fixes = [
      { ...spec, kernel: undefined },
      { ...spec, cpus: 1, 'mount-type': '9p' as const },
      { ...spec, cpus: 1, numa: 'mirror' as const },
    ].map((one) => {
      const { what, fix, key } = refusal('uml', one, image)!;
      const error = new LodgeError('driver-cannot', `uml cannot give ${what}`, { fix, asked: [key] });
      return [key, (placedFault(error, guest('v1')) as LodgeError).fix];
    });
    expect(fixes).toEqual([
      ['cpus', 'cpus: 1, or use accelerator: kvm or tcg'],
      ['mount-type', 'leave out mount-type, or use accelerator: kvm or tcg'],
      ['numa', 'use accelerator: kvm or tcg'],
    ]);
  });
  it('is left as it is where the spec is not at fault', () => {
    const error = new LodgeError('disk-full', 'no space left');
    expect(placedFault(error, guest('v1'))).toBe(error);
  });
});

describe('a graph of systems', () => {
  const directory = mkdtempSync(join(tmpdir(), 'lodge-test-'));
  afterAll(() => rmSync(directory, { recursive: true }));
  const read = (file: string) =>
    readAsGraphs(
      readClusterSpec(
        `guests: {v1: }\nfabric:\n  a:\n    topology: as-graph:${file}\n    members: [v1]\n`,
        'lab.yaml',
      ),
      directory,
    );

  it('that is not there, or none, is told at the topology that names it', () => {
    writeFileSync(join(directory, 'bad'), '1|2|0\n1|2\n');
    writeFileSync(join(directory, 'binary'), Buffer.from([0x31, 0x7c, 0]));
    const told = (file: string): string[] => {
      const { where, message } = faultOf(() => read(file));
      return [where!, message.replaceAll(directory, 'DIR')];
    };
    const place = 'lab.yaml:4:15';
    expect(told('nonesuch')).toEqual([
      place,
      "the graph of network 'a': DIR/nonesuch: there is no such file",
    ]);
    expect(told('bad')).toEqual([
      place,
      "the graph of network 'a': DIR/bad:2: '1|2' is not a link between two systems",
    ]);
    expect(told('binary')).toEqual([place, "the graph of network 'a': DIR/binary: it is no text in UTF-8"]);
    expect(told('.')[1]).toContain('it is a directory');
  });
  it('is read relative to the spec', () => {
    writeFileSync(join(directory, 'good'), '1|2|0\n');
    expect(read('good').get('good')?.numbers).toEqual([1, 2]);
  });
});
