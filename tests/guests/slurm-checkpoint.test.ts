/** Checkpoints of a cluster over the hosts of a job of a real Slurm. Under TCG: other guests here cannot be saved. */

import { cpSync, mkdirSync } from 'node:fs';
import { release } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { defaultKernel } from '../../src/image/kernel.ts';
import { openStore, sha256Of } from '../../src/image/store.ts';
import { type SlurmGround, whyNoGround } from '../slurm/ground.ts';
import { slurmGround } from '../slurm/shared.ts';

const lines = 80;

const spec = `name: lab
image: box
defaults: {accelerator: tcg, memory: 192M, share: false}
guests: {'v[1-2]': }
fabric: {lan: {delay: 200ms, members: ['v[1-2]']}}
on-end: {checkpoint: ended}
`;

/** What scripts below have in common. */
const common = `
in_guest() { guest=$1; shift; lodge exec -u root --cwd / "$guest" -- sh -c "$*"; }
alone() { in_guest "$1" "busybox setsid sh -c '$2' >/dev/null 2>&1 </dev/null &"; }
received() {
  for i in $(seq 300); do
    [ "$(in_guest "$1" 'busybox wc -l </tmp/got')" -ge ${lines} ] && break
    sleep 0.3
  done
  in_guest "$1" 'cat /tmp/got' | md5sum
}
`;

describe.skipIf(whyNoGround() !== undefined)('a cluster over the hosts of a job', () => {
  let ground: SlurmGround;

  beforeAll(async () => {
    ground = await slurmGround();
    await ground.output('mkdir -p work && cat >work/lab.yaml', { input: spec });
    await giveKernel();
    await ground.output('lodge image build --closure busybox --name box');
  });

  afterAll(async () => {
    await ground.run('test -z "$(squeue -h --me)" || scancel --me');
    await untilEnded();
    await ground.output('rm -rf work');
  });

  /** No host of the ground is joined to the internet: alice is given the kernel that this machine's tests boot. */
  async function giveKernel(): Promise<void> {
    const store = openStore();
    const id = store.objectIdOf((await defaultKernel(store)).vmlinuxPath);
    if (id === undefined) return;
    const place = `/proc/${ground.pid}/root/home/alice/.local/share/lodge`;
    const key = `keys/${sha256Of(`default kernel on ${release()}`)}.json`;
    for (const part of [`objects/${id}`, key]) {
      mkdirSync(dirname(join(place, part)), { recursive: true });
      cpSync(join(store.path, part), join(place, part), { recursive: true });
    }
    await ground.output('chown -R alice: /home/alice/.local', { user: 'root' });
  }

  async function untilEnded(): Promise<void> {
    await ground.output(
      'until [ -z "$(squeue -h --me)" ] && [ -z "$(ls .local/share/lodge/jobs 2>/dev/null)" ]; do sleep 0.2; done',
    );
  }

  /** Runs a script in the shell of an allocation of two hosts; gives its output by the words after `== `. */
  async function allocated(script: string): Promise<Map<string, string>> {
    const { code, stdout, stderr } = await ground.run(
      ['salloc', '-Q', '-N2', '--ntasks-per-node=1', '-D', 'work', 'bash', '-ec', `${common}${script}`],
      { timeoutMs: 300_000 },
    );
    expect(stderr + (code === 0 ? '' : stdout.toString())).toBe('');
    const parts = stdout.toString().split(/^== (.*)\n/m);
    return new Map(parts.slice(1).flatMap((_, i, all) => (i % 2 === 0 ? [[all[i]!, all[i + 1]!]] : [])));
  }

  const whole = `$(for i in $(seq 0 ${lines - 1}); do echo line $i; done | md5sum)`;

  test('is saved at one instant with what is on its way between hosts, and goes on twice', async () => {
    const first = await allocated(`
      lodge -q up lab.yaml >/dev/null
      echo '== status'; lodge status | tail -n +3 | cut -c1-12
      alone v2 'busybox sleep 600 | busybox nc -l -p 7000 >/tmp/got'
      alone v1 '(i=0; while [ $i -lt ${lines} ]; do echo line $i; i=$((i + 1)); busybox usleep 100000; done) | busybox nc v2 7000'
      until [ -n "$(in_guest v2 'cat /tmp/got')" ]; do sleep 0.1; done
      echo '== saved'; lodge --json checkpoint saved
      echo '== taken'; lodge checkpoint saved 2>&1 || true
      echo '== unshared'; lodge checkpoint /tmp/saved 2>&1 || true
      echo '== whole'; echo "${whole}"
      echo '== received'; received v2
      echo '== left'; ls -A . /tmp; srun -N2 --overlap ls -A /tmp`);
    expect(first.get('status')).toMatch(/^v1 +n01 +\nv2 +n02 +\n$/);
    expect(JSON.parse(first.get('saved')!)).toMatchObject({
      cluster: 'lab',
      directory: '/home/alice/work/saved',
    });
    expect(first.get('taken')).toContain('something at this place already');
    expect(first.get('unshared')).toContain('a file system that all hosts of the job share');
    expect(first.get('received')).toBe(first.get('whole'));
    expect(first.get('left')).not.toContain('.part');
    await untilEnded();
    const { hosts, version } = JSON.parse(await ground.output('cat work/saved/checkpoint.json')) as {
      hosts: unknown;
      version: number;
    };
    expect({ hosts, version }).toEqual({ hosts: { n01: ['v1'], n02: ['v2'] }, version: 2 });

    const second = await allocated(`
      echo '== restored'; lodge restore saved
      echo '== again'; lodge restore saved 2>&1 || true
      echo '== received'; received v2
      echo '== apply'; lodge apply lab.yaml
      echo '== ping'; in_guest v2 'busybox ping -c 1 -W 10 v1 >/dev/null && echo reached'
      # At hand on that host before it begins, and never asleep: a checkpoint may take less time than a step or a process
      # takes to start. The other host is at its part by then: of one that it was not asked for yet, only the end of the
      # job would remove what there is.
      srun -N1 -n1 -w n01 --overlap sh -c 'nodes=$(pgrep -u alice -x node); echo >armed; until set -- .broken.*.part/*v2.state; [ -e "$1" ]; do :; done; kill -9 $nodes' & killing=$!
      until [ -e armed ]; do sleep 0.1; done; rm armed
      lodge checkpoint broken 2>&1 >/dev/null | cat >told || true
      wait $killing || true
      echo '== broken'; cat told
      echo '== goes on'; in_guest v2 'echo runs'
      # The host that is left removes what there is once it has given up.
      for i in $(seq 300); do ls -d .broken.* >/dev/null 2>&1 || break; sleep 0.1; done
      echo '== left'; ls -A
      lodge down`);
    expect(second.get('restored')).toBe('lab\n');
    expect(second.get('again')).toContain('[name-taken]');
    expect(second.get('received')).toBe(first.get('whole'));
    expect(second.get('apply')).toMatch(/^lab: (nothing to do|2 kept)/);
    expect(second.get('ping')).toBe('reached\n');
    expect(second.get('broken')).toContain('[host-agent]');
    expect(second.get('goes on')).toBe('runs\n');
    expect(second.get('left')!.split('\n')).not.toContainEqual(expect.stringContaining('broken'));
    await untilEnded();
    // The first job ended with a cluster in it, the second without one.
    expect(await ground.output('ls -A work')).toBe('ended\nlab.yaml\nsaved\ntold');
    const few = await ground.run(['salloc', '-Q', '-N1', '-D', 'work', 'lodge', 'restore', 'saved']);
    expect(few.stderr).toContain('[allocation-too-small]');
  });

  test('is saved when Slurm ends its job, whole or not at all', async () => {
    const takenAt = () => ground.output("sed -n '/takenAt/p' work/ended/checkpoint.json");
    const before = await takenAt();
    const script = `#!/bin/bash
      ${common}
      lodge restore ended && in_guest v1 'echo told >/tmp/kept' && touch up && sleep 600`;
    await ground.output('cat >work/job.sh', { input: script });
    const id = await ground.output('cd work && sbatch --parsable -N2 --ntasks-per-node=1 -o out job.sh');
    await ground.output(`until [ -e work/up ] || [ -z "$(squeue -h -j ${id})" ]; do sleep 0.2; done`);
    await ground.output(`scancel ${id}`);
    await untilEnded();
    expect(await ground.output('cat work/out')).toMatch(/^lab\n/);
    expect(await ground.output('ls -A work')).toBe('ended\njob.sh\nlab.yaml\nout\nsaved\ntold\nup');
    expect(await takenAt()).not.toBe(before);

    const next = await allocated(`
      lodge -q restore ended
      echo '== kept'; in_guest v1 'cat /tmp/kept'; in_guest v2 'busybox ping -c 1 -W 10 v1 >/dev/null && echo reached'
      sed 's/^on-end.*/on-end: {checkpoint: job.sh}/' lab.yaml >wrong.yaml
      echo '== taken'; lodge apply wrong.yaml 2>&1 || true
      sed 's/^on-end.*/on-end: {checkpoint: late, within: 10ms}/' lab.yaml >late.yaml
      lodge -q apply late.yaml >/dev/null`);
    expect(next.get('kept')).toBe('told\nreached\n');
    expect(next.get('taken')).toContain("no checkpoint of 'lab'");
    await untilEnded();
    expect((await ground.output('ls -A work')).split('\n').filter((name) => name.includes('late'))).toEqual([
      'late.failed',
      'late.yaml',
    ]);
    expect(await ground.output('cat work/late.failed')).toContain('it was not saved within 10ms');
    await ground.output(
      "sed 's/tcg, memory/netns, memory/; s/box/host/' work/late.yaml >work/unsavable.yaml",
    );
    const refused = await ground.run(['salloc', '-Q', '-N2', '-D', 'work', 'lodge', 'up', 'unsavable.yaml']);
    expect(refused.stderr).toContain('the state of a guest under netns cannot be saved');
  });
});
