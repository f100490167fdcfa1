/** Guests as nodes of a site's Slurm, set up as an administrator would: power saving boots and ends them. */

import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type GroundUser,
  groundCheckout,
  hostNames,
  type OwnedSlurmGround,
  startSlurmGround,
  whyNoGround,
} from '../slurm/ground.ts';

const siteFile = `networks: [10.99.0.0/24]
images: [host]
store: /home/lodge
fabric: {}
suspend-time: 15s
suspend-timeout: 5s
resume-timeout: 100s
sbatch: [--partition=phys]
nodes:
  'v[01-02]': {hosts: 'n[01-02]', image: host, memory: 160M, accelerator: uml, features: [uml]}
  v05: {hosts: n01, image: host, memory: 160M, accelerator: uml}
  v03: {hosts: n02, image: strange, memory: 160M, accelerator: uml}
  v04: {hosts: n02, image: host, memory: 3G, accelerator: uml}
`;

const asAdministrator = { user: 'root' } as const;

describe.skipIf(whyNoGround() !== undefined)("nodes of a site's Slurm", () => {
  let ground: OwnedSlurmGround;
  /** Lines that slurm.conf lacked before it was set up. */
  let lacking: { stdout: string; stderr: string; code: number };

  beforeAll(async () => {
    ground = await startSlurmGround({ slurmUser: 'slurm' });
    const root = (line: string, input?: string): Promise<string> =>
      ground.output(line, { ...asAdministrator, ...(input === undefined ? {} : { input }) });
    await root('mkdir -p /etc/lodge && cat >/etc/lodge/slurm.yaml', siteFile);
    await root('install -o slurm -m 400 /etc/munge/munge.key /etc/lodge/munge.key');
    await root('install -d -o slurm -m 700 /home/lodge');
    await root(
      'head -c 32 /dev/urandom >/etc/lodge/made && install -o slurm -m 400 /etc/lodge/made /etc/lodge/fabric.key && rm /etc/lodge/made',
    );
    const { stdout, stderr, code } = await ground.run('lodge slurm setup', asAdministrator);
    lacking = { stdout: stdout.toString(), stderr, code };
    // The exit code says that something is missing. One line stands in the place of another.
    await root(
      'lodge slurm setup --nodes >/etc/slurm/lodge.conf; lodge slurm setup --options >/tmp/options; sed -i /^SlurmctldParameters=/d /etc/slurm/slurm.conf; cat /tmp/options >>/etc/slurm/slurm.conf; echo "Include lodge.conf" >>/etc/slurm/slurm.conf',
    );
    // All hosts have it.
    await root('cat >>/etc/hosts', /^10\.99\.0\.[\s\S]*^10\.[^\n]*\n/m.exec(stderr)![0]);
    await root(
      `install -d /home/bin && cc -o /home/bin/mpi ${groundCheckout}/tests/slurm/mpi.c /usr/lib/$(uname -m)-linux-gnu/libmpi.so.40 -Wl,--allow-shlib-undefined`,
    );
    // Made once, so that no test waits for it.
    await ground.output('lodge -q run -a uml -m 160M -- true', {
      ...{ user: 'slurm', host: 'n01' },
      env: { LODGE_DATA_DIR: '/home/lodge', HOME: '/home/lodge' },
    });
    await restartController();
    await root('scontrol reconfigure');
    // No room for a v-node on its host, for longer than it may take: the other tests go on meanwhile.
    await ground.output(
      'sbatch -w n02 -n1 --mem=2000 -o /dev/null --wrap "sleep 1000"; sbatch -p virtual -w v04 --requeue -o /dev/null --wrap hostname',
      { user: 'bob' },
    );
  });

  afterAll(() => ground.stop());

  async function restartController(): Promise<void> {
    await ground.output(
      'pkill -x slurmctld; while pgrep -x slurmctld >/dev/null; do sleep 0.1; done; setsid slurmctld -D >>/run/slurmctld.log 2>&1 </dev/null & until scontrol ping | grep -q UP; do sleep 0.2; done',
      asAdministrator,
    );
  }

  /** State and reason of a node. */
  async function told(node: string): Promise<string> {
    const line = await ground.output(`scontrol show node ${node} --oneliner`, asAdministrator);
    return `${/State=\S+/.exec(line)?.[0]}${/ (Reason|Comment)=.*$/m.exec(line)?.[0] ?? ''}`;
  }

  /** Waits until what is told of a node is as it should be. */
  async function until(node: string, wanted: RegExp, limitMs = 100_000): Promise<string> {
    const deadline = Date.now() + limitMs;
    for (;;) {
      const state = await told(node);
      if (wanted.test(state)) return state;
      if (Date.now() > deadline) throw new Error(`${node}: ${state}\n${await logs(node)}`);
      await delay(200);
    }
  }

  async function logs(node: string): Promise<string> {
    const { stdout } = await ground.run(`tail -n 30 /home/lodge/holders/${node}.log`, asAdministrator);
    return `${stdout}${await ground.logs()}`;
  }

  /** Holder jobs that there are, but that of v04, which waits, each with its host and what it has of it. */
  async function holders(names = 'lodge-v01,lodge-v02,lodge-v03,lodge-v05'): Promise<string[]> {
    const text = await ground.output(`squeue -h -n ${names} -o '%j %T %N %C %m'`, asAdministrator);
    return text
      .split('\n')
      .filter((line) => line !== '')
      .sort();
  }

  async function leftOf(user: GroundUser): Promise<string[]> {
    const found: string[] = [];
    for (const host of hostNames) {
      const files = await ground.output(`find /tmp /dev/shm -mindepth 1 -user ${user}`, {
        ...asAdministrator,
        host,
      });
      found.push(
        ...(await ground.processesOf(user, host)),
        ...files.split('\n').filter((line) => line !== ''),
      );
    }
    return found;
  }

  async function untilNothingIsLeft(): Promise<void> {
    const deadline = Date.now() + 60_000;
    let left = [...(await holders()), ...(await leftOf('slurm'))];
    while (left.length > 0 && Date.now() < deadline) {
      await delay(300);
      left = [...(await holders()), ...(await leftOf('slurm'))];
    }
    expect(left).toEqual([]);
  }

  test('lodge slurm setup tells what is missing, and when nothing is', async () => {
    expect(lacking.code).toBe(1);
    expect(lacking.stdout).toContain(`\nResumeProgram=${join(groundCheckout, 'scripts/slurm/resume')}\n`);
    expect(lacking.stdout).toMatch(/^NodeName=v01 NodeAddr=v01 Port=17001 /m);
    expect(lacking.stdout).toMatch(/^SlurmctldParameters=enable_configless,cloud_dns$/m);
    expect(lacking.stderr).toContain('the names v[01-05] do not lead to the hosts of these v-nodes');
    expect(lacking.stderr).toContain('\n10.99.0.101 v01\n10.99.0.102 v02\n');
    const { code, stdout, stderr } = await ground.run('lodge slurm setup', asAdministrator);
    expect([code, stdout.toString(), stderr]).toEqual([0, '', 'lodge: all 12 lines are there\n']);
  });

  test('v-nodes are booted on demand, and a script in one starts MPI over several, by the network between them', async () => {
    // Told at once when it has ended, and not by `sbatch -W`, which looks seldom: v01 stays for as long as it may be idle.
    const ended = await ground.output(
      `id=$(sbatch --parsable -p virtual -w 'v[01-02]' -N2 -n2 -o /tmp/told --wrap 'srun --mpi=pmix /home/bin/mpi && cat /proc/net/arp')
       while [ -n "$(squeue -h -j $id)" ]; do sleep 0.2; done
       scontrol show job $id --oneliner | grep -o ' JobState=[A-Z]* .* ExitCode=[0-9:]*'`,
      { timeoutMs: 150_000 },
    );
    expect(ended).toMatch(/ JobState=COMPLETED .* ExitCode=0:0$/);
    const text = await ground.output('srun -Q -p virtual -w v01 cat /tmp/told', { timeoutMs: 150_000 });
    expect(text).toContain('sum 3 of 2: v01 v02\n');
    // It is that way that was taken: v02 is met at its own address there, with the MAC address of the plan.
    expect(text).toMatch(/^10\.214\.0\.2 .* 02:4c:01:00:00:02 .* eth0$/m);
  });

  test('the same line of srun goes to hosts and to v-nodes, in which users have no root', async () => {
    const line = (node: string) =>
      ground.output(`srun -Q -w ${node} sh -c 'hostname; id -un; cat /proc/version'`, {
        env: { SLURM_PARTITION: 'virtual,phys' },
        timeoutMs: 150_000,
      });
    const [host, user, kernel] = (await line('n01')).split('\n');
    expect([host, user]).toEqual(['n01', 'alice']);
    // Idle ones do not stay for long: one may be powered down before the other is up.
    const withHolder = async (told: Promise<string>, node: string) =>
      [await told, await holders(`lodge-${node}`)] as const;
    const byFeature = ground.output('srun -Q -p virtual -C on-n02\\&uml hostname', { timeoutMs: 150_000 });
    const [[told01, holder01], [told02, holder02]] = await Promise.all([
      withHolder(line('v01'), 'v01'),
      withHolder(byFeature, 'v02'),
    ]);
    const inGuest = told01.split('\n');
    expect(told02).toBe('v02');
    expect(inGuest.slice(0, 2)).toEqual(['v01', 'alice']);
    expect(inGuest[2]).not.toBe(kernel);
    expect(holder01).toEqual(['lodge-v01 RUNNING n01 1 608M']);
    expect(holder02).toEqual(['lodge-v02 RUNNING n02 1 608M']);
    // No root for whoever works in it.
    const closed =
      'ls -d /home/lodge/jobs; cat /etc/lodge/fabric.key; cat /etc/lodge/munge.key || ls /run/lodge-slurm';
    const refused = await ground.run(`srun -Q -p virtual -w v01 sh -c '${closed}'`, { timeoutMs: 150_000 });
    expect(refused.code).not.toBe(0);
    expect(refused.stdout.toString()).toBe('');
    expect(refused.stderr).toContain('Permission denied');
  });

  test('an idle v-node is powered down, and its holder is gone', async () => {
    await until('v01', /^State=IDLE\+CLOUD\+POWERED_DOWN/);
    await until('v02', /^State=IDLE\+CLOUD\+POWERED_DOWN/);
    await untilNothingIsLeft();
    // What Slurm says of it is no complaint.
    expect(await told('v01')).not.toContain('Reason');
  });

  test('an image that is not on the list does not boot, and the reason is told', async () => {
    const { code, stderr } = await ground.run('srun -w v03 -p virtual hostname');
    expect(code).not.toBe(0);
    expect(stderr).toContain('Node failure on v03');
    expect(await until('v03', /DOWN\+CLOUD\+POWERED_DOWN/)).toContain('(image-not-found)');
    // One is put there by that name, and it is none that the administrator has allowed.
    await ground.output(
      'mkdir /tmp/root && echo a >/tmp/root/a && mksquashfs /tmp/root /tmp/root.squashfs -quiet >/dev/null && LODGE_DATA_DIR=/home/lodge lodge image import /tmp/root.squashfs --name strange && rm -r /tmp/root*',
      { user: 'slurm' },
    );
    await ground.output('scontrol update nodename=v03 state=idle', asAdministrator);
    await ground.run('srun -w v03 -p virtual hostname');
    const state = await until('v03', /DOWN\+CLOUD\+POWERED_DOWN/);
    expect(state).toContain('is not on the list of the site: its content is ');
    expect(state).toContain('(image-not-allowed)');
    await untilNothingIsLeft();
  });

  test('a v-node that dies is down with the reason at once, whatever it died of', async () => {
    const nodes = ['v01', 'v02', 'v05'];
    const jobs = nodes.map((node) =>
      ground.run(`srun -p virtual -w ${node} sleep 600`, { timeoutMs: 150_000 }),
    );
    // Asked for twice, each has one holder.
    await Promise.all(nodes.map((node) => until(node, /POWERING_UP/)));
    await ground.output(`${groundCheckout}/scripts/slurm/resume v[01-02,05]`, { user: 'slurm' });
    await Promise.all(nodes.map((node) => until(node, /^State=ALLOCATED\+CLOUD$/, 120_000)));
    expect((await holders()).map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual([
      'lodge-v01 RUNNING n01',
      'lodge-v02 RUNNING n02',
      'lodge-v05 RUNNING n01',
    ]);
    // V-nodes outlive the controller.
    await restartController();
    await until('v01', /^State=ALLOCATED\+CLOUD$/);
    // The guest alone; the holder job by its owner; all of the job's script, so that nothing on the host can tell.
    const onHost = { ...asAdministrator, host: 'n01' } as const;
    await ground.output('pkill -9 -u slurm -f "^/usr/bin/linux.uml.*vnode.v01"', onHost);
    await ground.output('scancel -n lodge-v02', { user: 'slurm' });
    expect(await until('v01', /^State=DOWN/)).toMatch(/ Reason=lodge: .*killed by signal 9.* on n01/);
    expect(await until('v02', /^State=DOWN/)).toMatch(/ Reason=lodge: holder job \d+ on n02 was cancelled/);
    await until('v01', /POWERED_DOWN/);
    await ground.output('pkill -9 -u slurm -f "slurm_script|slurm hold"', onHost);
    expect(await until('v05', /^State=DOWN/)).toMatch(/ Reason=lodge: its holder job \d+ has ended/);
    // Nothing could clean up on its host either: the next holder there does, also one that nobody waits for.
    await until('v05', /POWERED_DOWN/);
    await ground.output(`${groundCheckout}/scripts/slurm/resume v05`, { user: 'slurm' });
    // What ran there has ended; with which code srun tells of that is Slurm's own affair.
    await Promise.all(jobs);
    expect(await ground.output('squeue -h -u alice -t running,configuring', asAdministrator)).toBe('');
    await untilNothingIsLeft();
  });

  test('a v-node whose host is full waits, and is given back when it has waited long enough', async () => {
    const state = await until('v04', / Comment=lodge: no room/, 120_000);
    // The job that wanted it is queued again, and may be at it once more.
    expect(state).toMatch(/^State=(IDLE\+CLOUD\+POWERED_DOWN|ALLOCATED)/);
    expect(state).toMatch(/job \d+ waited \(Resources\)/);
    await ground.output('scancel -u bob', asAdministrator);
    await untilNothingIsLeft();
  });
});
