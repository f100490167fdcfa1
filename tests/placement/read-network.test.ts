import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { LodgeError } from '../../src/errors.ts';
import { readNetwork } from '../../src/placement/read-network.ts';
import { readTraffic } from '../../src/placement/read-traffic.ts';

const dir = mkdtempSync(join(tmpdir(), 'lodge-network-'));
afterAll(() => rmSync(dir, { recursive: true }));

const file = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text);
  return name;
};

test('YAML: levels, what is inside, capacities, places that are not used', async () => {
  const yaml = `levels: torus:4x4
inside: numa:2@0.5
capacity: {guests: 3, cpus: 8, memory: 2G}
places:
  0,*: {guests: 1}
  '3,3/1': {memory: 1G}
exclude: ['1,1', '2,2/0']
`;
  const { places, metric, capacity, name } = await readNetwork(file('n.yaml', yaml), dir);
  expect(places).toBe(32);
  expect(metric.distance(0, 1)).toBe(0.5);
  const guests = Object.fromEntries(
    Array.from({ length: 32 }, (_, place) => [name(place), capacity.guests[place]]),
  );
  expect(guests).toMatchObject({
    '0,0/0': 1,
    '0,3/1': 1,
    '1,0/0': 3,
    '1,1/0': 0,
    '1,1/1': 0,
    '2,2/0': 0,
    '2,2/1': 3,
  });
  expect(capacity.cpus![5]).toBe(8);
  expect([capacity.memoryBytes![30], capacity.memoryBytes![31]]).toEqual([2 ** 31, 2 ** 30]);
});

test('files may name files, from where they lie', async () => {
  file('leaf.conf', 'SwitchName=s1 Nodes=n[1-2]\nSwitchName=s2 Nodes=n[3-4]\nSwitchName=t Switches=s[1-2]\n');
  const { name, metric } = await readNetwork(file('outer.yaml', 'levels: leaf.conf\ninside: numa:2\n'), dir);
  expect(name(7)).toBe('n4/1');
  expect(metric.distance(0, 7)).toBe(4);
  expect(metric.distance(0, 1)).toBe(0.1);
});

test('what lstopo writes: NUMA nodes at the distances of the firmware', async () => {
  const node = (index: number): string =>
    `<object type="NUMANode" os_index="${index}" gp_index="${10 + index}" cpuset="0x${1 << index}" nodeset="0x${1 << index}" local_memory="1024"/>
     <object type="Core" os_index="0" cpuset="0x${1 << index}" nodeset="0x${1 << index}"><object type="PU" os_index="${index}" cpuset="0x${1 << index}"/></object>`;
  const xml = `<?xml version="1.0"?><topology version="2.0"><object type="Machine" cpuset="0x3">
    <object type="Package" os_index="0" cpuset="0x1">${node(0)}</object><object type="Package" os_index="1" cpuset="0x2">${node(1)}</object></object>
    <distances2 type="NUMANode" nbobjs="2" kind="5" indexing="os"><indexes length="3">0 1</indexes><u64values length="10">10 21 21 10</u64values></distances2></topology>`;
  const { metric, name } = await readNetwork(file('host.xml', xml), dir);
  expect(metric.distance(0, 1)).toBe(2.1);
  expect(name(1)).toBe('numa1');
});

test('targets with loads say how much fits', async () => {
  const { capacity } = await readNetwork(file('w.tgt', 'cmpltw 3 1 2 4\n'), dir);
  expect(Array.from(capacity.guests)).toEqual([1, 2, 4]);
});

test.each([
  ['k.yaml', 'levels: torus:4\ncapcity: {}\n', 'k.yaml:2:1'],
  ['e.yaml', "levels: torus:4\nexclude: ['0', '9']\n", 'e.yaml:2:16'],
  ['m.yaml', 'levels: torus:4\ncapacity: {memory: 3}\n', 'm.yaml:2:20'],
  ['l.yaml', 'levels: toru:4\n', 'toru:4'],
  ['x.xml', '<?xml version="1.0"?><a/>', 'x.xml'],
])('%s is refused where it is wrong', async (name, text, where) => {
  const thrown = await readNetwork(file(name, text), dir).catch((error: unknown) => error);
  expect(thrown).toBeInstanceOf(LodgeError);
  expect((thrown as LodgeError).where).toBe(where);
});

test('traffic that cannot be told, is compressed, or is empty', () => {
  const reading = (name: string, content: string | Buffer) => () => {
    writeFileSync(join(dir, name), content);
    return readTraffic(name, { cwd: dir, seed: 1 });
  };
  expect(reading('t.txt', 'hello')).toThrow(/cannot tell/);
  expect(reading('t.grf', Buffer.of(0x1f, 0x8b, 8, 0))).toThrow(/compressed/);
  expect(reading('t.csv', '')).toThrow(/no ranks/);
  expect(reading('other.txt', '0,1,5\n')().ranks).toBe(2);
});
