import { describe, expect, test } from 'vitest';
import { readSite } from '../../../../src/cluster/engine/site/spec.ts';
import { LodgeError } from '../../../../src/errors.ts';
import { digest, sampleSite, siteText } from './sample.ts';

function errorOf(text: string): LodgeError {
  try {
    readSite(text, 'slurm.yaml');
  } catch (error) {
    if (error instanceof LodgeError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('a site file', () => {
  test('gives each v-node a host in turn and a port of its own', () => {
    expect(sampleSite().nodes.map(({ name, host, port }) => `${name} ${host} ${port}`)).toEqual([
      'v01 n01 17001',
      'v02 n02 17002',
      'v03 n01 17003',
      'v04 n02 17004',
    ]);
    expect(sampleSite().nodes[0]).toMatchObject({
      cpus: 2,
      memoryBytes: 2 * 2 ** 30,
      guest: { image: 'compute', cpus: 2, memory: '2G', accelerator: 'tcg' },
    });
  });

  test('has defaults for what is not said', () => {
    expect(sampleSite().spec).toMatchObject({
      partition: 'virtual',
      'munge-key': '/etc/lodge/munge.key',
      store: '/var/lib/lodge',
      'suspend-time': 600,
      'resume-timeout': 120,
    });
  });

  test.each([
    ['imgaes: []\n', 'spec-unknown-key', 'slurm.yaml:7:1', "unknown key 'imgaes'"],
    ['partition: a b\n', 'spec-value', 'slurm.yaml:7:12', "'partition'"],
    ['munge-key: etc/key\n', 'spec-value', 'slurm.yaml:7:12', 'absolute path'],
    ['suspend-time: 5\n', 'spec-value', 'slurm.yaml:7:15', 'not a time'],
    ['first-port: 22\n', 'spec-value', 'slurm.yaml:7:13', "'first-port'"],
    ['fabric: {subnet: 10.99.0.0/16}\n', 'spec-value', 'slurm.yaml:7:18', 'overlaps 10.99.0.0/24'],
    ['fabric: {subnet: 10.214.0.0/30}\n', 'spec-value', 'slurm.yaml:7:18', '2 addresses for 4 v-nodes'],
    ['fabric: {first-port: 17004}\n', 'spec-value', 'slurm.yaml:7:22', 'meet ports 17001-17004 of slurmd'],
    ['fabric: {first-port: 22}\n', 'spec-value', 'slurm.yaml:7:22', 'first-port'],
    ['fabric: {keys: /k}\n', 'spec-unknown-key', 'slurm.yaml:7:10', "unknown key 'keys'"],
    ['reach: [tcp]\n', 'spec-value', 'slurm.yaml:7:9', 'not a rule'],
  ])('refuses %s with its place', (line, code, where, message) => {
    const error = errorOf(siteText + line);
    expect([error.code, error.where]).toEqual([code, where]);
    expect(error.message).toContain(message);
  });

  test.each([
    [siteText.replace(digest, 'abcd'), 'spec-value', 2, 'whole digest'],
    [siteText.replace('10.99.0.0/24', '10.99.0.1/24'), 'spec-value', 1, 'prefix'],
    [siteText.replace("'v[01-04]'", "'v[04-01]'"), 'spec-value', 6, 'ends before it begins'],
    [siteText.replace("'v[01-04]'", "'V[01-04]'"), 'spec-value', 6, "'V01' cannot be the name"],
    [siteText.replace("'v[01-04]'", "'v01,v01'"), 'spec-value', 6, "'v01' is there twice"],
    [siteText.replace("'v[01-04]'", "'n[01-04]'"), 'spec-value', 6, "'n01' is a host and a v-node"],
    [siteText.replace('[--partition=phys]', "['rm -rf']"), 'spec-value', 4, 'option of sbatch'],
    [siteText.replace('tcg', 'netns'), 'spec-value', 6, 'namespaces'],
    [siteText.replace('tcg', 'uml'), 'spec-value', 6, 'has one vCPU, not 2'],
    [siteText.replace('tcg', 'xen'), 'spec-value', 6, 'accelerator'],
    [siteText.replace('features: [el9]', 'features: [a b]'), 'spec-value', 6, 'features'],
    [siteText.replace(/nodes:[\s\S]*/, 'nodes: {}\n'), 'spec-value', 5, 'no v-node'],
    [siteText.replace('image: compute', 'image: ../compute'), 'spec-value', 6, 'store'],
    [siteText.replace('nodes:', 'nodes: ['), 'spec-syntax', undefined, ''],
  ])('refuses nonsense, with its line: %#', (text, code, line, message) => {
    const error = errorOf(text);
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
    expect(error.where).toMatch(
      line === undefined ? /^slurm\.yaml:\d+:\d+$/ : new RegExp(`^slurm\\.yaml:${line}:`),
    );
  });
});
