import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeJobDir, writeJobCluster } from '../../src/cluster/engine/rendezvous.ts';
import { jobSaver } from '../../src/server/job-saver.ts';
import { cluster } from '../cluster/sample.ts';

let data: string;
let jobDir: string;
let previous: string | undefined;

beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), 'lodge-saver-'));
  previous = process.env.LODGE_DATA_DIR;
  process.env.LODGE_DATA_DIR = data;
  jobDir = makeJobDir('7', 'east');
  mkdirSync(join(data, 'work'));
});

afterEach(() => {
  if (previous === undefined) delete process.env.LODGE_DATA_DIR;
  else process.env.LODGE_DATA_DIR = previous;
  rmSync(data, { recursive: true });
});

/** A cluster of the job whose agents are all gone. @param onEnd the last line of its spec */
function begin(onEnd: string): void {
  const plan = cluster(`name: lab\nguests: {"v[1-2]": }\n${onEnd}`);
  const hostOfGuest = { v1: 'n01', v2: 'n02' };
  writeJobCluster(jobDir, { version: 1, plan, hostOfGuest, secret: '00', trunks: {} });
}

const saved = () => join(data, 'work', 'saved');
const onEnd = () => `on-end: {checkpoint: ${saved()}}\n`;
const saver = (host: string) => jobSaver({ dir: jobDir, host });

describe('at the end of a job', () => {
  it('a cluster that cannot be saved leaves why, and no half checkpoint', async () => {
    begin(onEnd());
    await saver('n01').atEnd();
    expect(readdirSync(join(data, 'work'))).toEqual(['saved.failed']);
    const told = readFileSync(`${saved()}.failed`, 'utf8');
    expect(told).toContain("cluster 'lab' was not saved as its job ended");
    expect(told).toContain('no agent answers on n[01-02]');
  });

  it('what is there and no checkpoint of it stays', async () => {
    begin(onEnd());
    mkdirSync(saved());
    writeFileSync(join(saved(), 'mine'), '');
    await saver('n01').saveAtEnd('lab');
    expect(readdirSync(saved())).toEqual(['mine']);
    expect(readdirSync(join(data, 'work'))).toEqual(['saved', 'saved.failed']);
  });

  it('it is tried once, by the first of its hosts', async () => {
    begin(onEnd());
    const first = saver('n01');
    await Promise.all([first.atEnd(), first.saveAtEnd('lab')]);
    rmSync(`${saved()}.failed`);
    await first.saveAtEnd('lab');
    await saver('n02').atEnd();
    await saver('n03').atEnd();
    expect(existsSync(`${saved()}.failed`)).toBe(false);
  });

  it('nothing is done where the spec says nothing', async () => {
    begin('');
    await saver('n01').atEnd();
    expect(readdirSync(join(data, 'work'))).toEqual([]);
    expect(saver('n01').checkpoint('other', saved(), { onProgress: () => {} })).toBeUndefined();
  });
});
