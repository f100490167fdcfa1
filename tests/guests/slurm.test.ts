/** Guests inside allocations of a real Slurm: clusters over its hosts, guests in steps, and that nothing is left. */

import { availableParallelism } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { seededRandom } from '../../src/random.ts';
import { type GroundUser, hostNames, type SlurmGround, whyNoGround } from '../slurm/ground.ts';
import { slurmGround } from '../slurm/shared.ts';

/** Jobs that are cancelled, and how many of them at the same time. */
const moments = process.env.LODGE_TEST_FULL === '1' ? 20 : 8;
const lanesAtOnce = 4;

const netnsSpec = `name: net
defaults: {accelerator: netns, image: host}
guests: {'n[1-4]': }
`;

/** Reads what the server of the other guest says: through the trunk, where the two are on different hosts. */
const talk = `import socket, sys, threading
if sys.argv[1] == 'serve':
    server = socket.create_server(('', 7777)); print('ready', flush=True)
    server.accept()[0].sendall(b'hello from ' + socket.gethostname().encode())
else:
    client = socket.create_connection((sys.argv[1], 7777), timeout=20)
    print(client.recv(100).decode())
`;

describe.skipIf(whyNoGround() !== undefined)('Slurm', () => {
  let ground: SlurmGround;

  beforeAll(async () => {
    ground = await slurmGround();
    for (const user of ['alice', 'bob'] as const) await write(user, 'net.yaml', netnsSpec);
    await write('alice', 'talk.py', talk);
    // Proved once, so that no test waits for it.
    await ground.output('srun -N2 lodge run -a netns -- true');
  });

  /** Writes a file into a user's home. */
  async function write(user: GroundUser, name: string, text: string): Promise<void> {
    await ground.output(['sh', '-c', 'cat >"$1"', 'sh', name], { user, input: text });
  }

  /** What users have left on all hosts; empty when nothing. */
  async function leftOf(user: GroundUser): Promise<string[]> {
    const found: string[] = [];
    for (const host of hostNames) {
      for (const line of await ground.processesOf(user, host)) found.push(`${host}: ${line.trim()}`);
      const files = await ground.output('find /tmp /dev/shm -mindepth 1 -user "$1"'.replace('$1', user), {
        user: 'root',
        host,
      });
      if (files !== '') found.push(...files.split('\n').map((file) => `${host}: ${file}`));
    }
    const jobs = await ground.output(
      'cd .local/share/lodge/jobs 2>/dev/null && find . -mindepth 1 -ls || true',
      {
        user,
      },
    );
    if (jobs !== '') found.push(`jobs: ${jobs}`);
    return found;
  }

  async function untilNothingIsLeft(user: GroundUser): Promise<void> {
    const deadline = Date.now() + 60_000;
    let left = await leftOf(user);
    while (left.length > 0 && Date.now() < deadline) {
      await delay(300);
      left = await leftOf(user);
    }
    expect(left).toEqual([]);
  }

  afterEach(async () => {
    // A test that failed must not be in the way of the next.
    for (const user of ['alice', 'bob'] as const) {
      await ground.run('test -z "$(squeue -h --me)" || scancel --me', { user });
      await untilNothingIsLeft(user);
    }
  });

  /** Runs a script in the shell of an allocation of two hosts, with its words split from standard output by `== `. */
  async function allocated(
    script: string,
    user: GroundUser = 'alice',
    hosts = 2,
  ): Promise<Map<string, string>> {
    const { code, stdout, stderr } = await ground.run(
      ['salloc', '-Q', `-N${hosts}`, '--ntasks-per-node=1', 'bash', '-ec', script],
      { user, timeoutMs: 240_000 },
    );
    expect(stderr + (code === 0 ? '' : stdout.toString())).toBe('');
    const parts = stdout.toString().split(/^== (.*)\n/m);
    return new Map(parts.slice(1).flatMap((_, i, all) => (i % 2 === 0 ? [[all[i]!, all[i + 1]!]] : [])));
  }

  test('a cluster goes over the hosts of an allocation, and verbs find its guests', async () => {
    const told = await allocated(`
      echo '== up'; lodge up net.yaml
      echo '== again'; lodge apply net.yaml
      echo '== status'; lodge --json status
      echo '== exec'; lodge exec 'n[1-4]' -- hostname | sort
      echo '== talk'
      lodge exec n1 -- python3 talk.py serve >served & until grep -q ready served; do sleep 0.1; done
      lodge exec n2 -- python3 talk.py n1; wait
      echo '== matrix'; lodge --json fabric matrix
      echo '== input'; seq 1 200000 | lodge exec n2 -- md5sum; seq 1 200000 | md5sum
      echo '== code'; lodge exec n2 -- sh -c 'exit 7' || echo $?
      echo '== copy'; lodge cp net.yaml n2:/tmp/; lodge exec n2 -- cat /tmp/net.yaml
      echo '== shape'; lodge fabric shape lan/n2 --delay 5ms; lodge --json fabric links lan/n2
      echo '== capture'; lodge fabric capture start lan/n2 >/dev/null; lodge --json fabric capture ls
      echo '== step'; srun -N1 -n1 --overlap lodge exec n2 -- hostname
      echo '== prove'; lodge --json fabric prove
      lodge fabric events -f >followed & following=$!
      lodge fabric cut lan/n3 lan/n4
      for i in $(seq 200); do [ "$(grep -c link-cut followed)" -ge 2 ] && break; sleep 0.1; done
      kill $following; wait $following || true
      echo '== past'; grep -v link-cut followed | cut -d' ' -f1,3
      echo '== followed'; grep link-cut followed | cut -d' ' -f3-7 | sort; lodge fabric heal lan/n3 lan/n4
      echo '== rm'; lodge rm -f n2; lodge --json status
      echo '== down'; lodge down; lodge ps | wc -l`);
    expect(told.get('up')).toBe('net: 4 to start; on n[01-02]\n');
    expect(told.get('again')).toBe('net: nothing to do; on n[01-02]\n');
    const { guests } = JSON.parse(told.get('status')!) as {
      guests: { name: string; host: string; status: string }[];
    };
    expect(guests.map(({ name, host, status }) => `${name} ${host} ${status}`)).toEqual([
      'n1 n01 running',
      'n2 n02 running',
      'n3 n01 running',
      'n4 n02 running',
    ]);
    expect(told.get('exec')).toBe('n1: n1\nn2: n2\nn3: n3\nn4: n4\n');
    expect(told.get('talk')).toBe('hello from n1\n');
    // What n1 said to n2 has gone from one host to the other, and is counted once.
    const { pairs } = JSON.parse(told.get('matrix')!) as {
      pairs: { from: string; to: string; frames: number }[];
    };
    const said = pairs.filter(({ from, to }) => from === 'lan/n1' && to === 'lan/n2');
    expect(said).toHaveLength(1);
    expect(said[0]!.frames).toBeGreaterThan(2);
    const [inGuest, here] = told.get('input')!.trim().split('\n');
    expect(inGuest).toBe(here);
    expect(told.get('code')).toBe('7\n');
    expect(told.get('copy')).toBe(netnsSpec);
    expect(JSON.parse(told.get('shape')!)).toMatchObject([
      { name: 'lan/n2', out: { shape: { delayMs: 5 } } },
    ]);
    // Begun by hand, on another host than this.
    expect(JSON.parse(told.get('capture')!)).toMatchObject([
      { link: 'lan/n2', file: expect.stringMatching(/\/net\.\d+\/lan\/n2\.pcapng$/) },
    ]);
    expect(told.get('step')).toBe('n2\n');
    const proof = JSON.parse(told.get('prove')!) as {
      isProved: boolean;
      findings: { host: string; subject: string; found: string }[];
    };
    expect(proof.isProved).toBe(true);
    // A member on the other host was reached, too.
    expect(proof.findings).toContainEqual(
      expect.objectContaining({
        host: 'n02',
        subject: 'net.n2',
        found: 'reached net.n1 in lan, as it should',
      }),
    );
    const past = told.get('past')!.trim().split('\n');
    expect(past).toEqual(past.toSorted());
    expect(new Set(past.map((line) => line.split(' ')[1]))).toEqual(new Set(['n01', 'n02']));
    expect(told.get('followed')).toBe('n01  link-cut  lan/n3\nn02  link-cut  lan/n4\n');
    const left = JSON.parse(told.get('rm')!) as { guests: { status: string }[] };
    expect(left.guests.map(({ status }) => status)).toEqual(['running', 'missing', 'running', 'running']);
    expect(told.get('down')).toBe('1\n');
  });

  test("hosts and guests are nodes of a Slurm of one's own, and MPI runs over the guests", async () => {
    await write('alice', 'own.yaml', "guests: {'v[01-02]': {accelerator: uml, memory: 160M}}\n");
    const told = await allocated(`
      lodge -q slurm up own.yaml >env.sh; . ./env.sh
      echo '== nodes'; sinfo -h -N -p all -o '%N %T'
      echo '== native'; srun -Q -w n02 hostname
      echo '== guest'; srun -Q -w v02 sh -c 'hostname; grep -c lodge /proc/mounts || true; id -un'
      echo '== both'; srun -Q -N2 -p virtual hostname | sort
      echo '== batch'; sbatch --wait -p virtual -N1 -o own.out --wrap hostname >/dev/null; cat own.out
      echo '== mpi'; lodge run --cluster own -- mpiexec.openmpi --hostfile /etc/lodge/hostfile --map-by node hostname | sort
      echo '== apply'; lodge apply own.yaml 2>&1 || true
      echo '== again'; lodge -q slurm up own.yaml >again.sh; grep ^export env.sh | cmp - again.sh; srun -Q -w v01 hostname
      lodge -q up net.yaml >/dev/null; echo '== other'; lodge slurm down other 2>&1 || true
      echo '== down'; eval "$(lodge slurm down)"; ls /tmp; lodge down net
      echo '== outer'; srun -Q -N2 hostname | sort`);
    expect(told.get('nodes')).toBe('n01 idle\nn02 idle\nv01 idle\nv02 idle\n');
    expect(told.get('native')).toBe('n02\n');
    expect(told.get('guest')!.split('\n')).toEqual(['v02', expect.any(String), 'alice', '']);
    expect(told.get('both')).toBe('v01\nv02\n');
    expect(told.get('batch')).toBe('v01\n');
    expect(told.get('mpi')).toBe('v01\nv02\n');
    expect(told.get('apply')).toContain('lodge slurm up');
    expect(told.get('again')).toBe('v01\n');
    // The shell is told nothing: its own Slurm runs on.
    expect(told.get('other')).toMatch(/^lodge: there is no cluster named 'other'/);
    expect(told.get('down')).not.toContain('-own');
    expect(told.get('outer')).toBe('n01\nn02\n');
  });

  test('a guest in a step has what its task has, and its exit code', async () => {
    const line = "lodge run -a uml -- sh -c 'hostname >/dev/null; grep MemTotal /proc/meminfo; exit 5'";
    const { code, stdout } = await ground.run(`srun -n1 --mem=300 sh -c '${line.replaceAll("'", "'\\''")}'`);
    expect(code).toBe(5);
    expect(stdout.toString()).toContain('MemTotal');
    const wrapped = await ground.run(
      'lodge srun -N2 --image host --accelerator netns -- sh -c "echo in \\$(hostname)"',
    );
    expect(wrapped.code).toBe(0);
    expect(wrapped.stdout.toString().match(/^in g-/gm)).toHaveLength(2);
    const batch = await ground.output(
      'lodge sbatch --parsable --wait -N1 --mem=300 -o batch.out --accelerator uml -- grep MemTotal /proc/meminfo >/dev/null; cat batch.out',
      { timeoutMs: 240_000 },
    );
    const kilobytes = Number(/MemTotal:\s+(\d+) kB/.exec(batch)?.[1]);
    // 300M of the job without what the guest's process takes.
    expect(kilobytes).toBeGreaterThan(100 * 1024);
    expect(kilobytes).toBeLessThanOrEqual(172 * 1024);
  });

  test('a guest in a step that is cancelled has the time to end that Slurm gives', async () => {
    const command = `sh -c 'trap "sleep 2; echo ended >>said; exit 3" TERM; echo up >>said; while :; do sleep 0.3; done'`;
    await write('alice', 'job.sh', `#!/bin/sh\nrm -f said\nsrun lodge run -a uml -m 128M -- ${command}\n`);
    const id = await ground.output('sbatch --parsable -n1 -o /dev/null job.sh');
    await ground.output(`until grep -qs up said; do sleep 0.1; done; scancel ${id}`);
    await ground.output(`while [ -n "$(squeue -h -j ${id} 2>/dev/null)" ]; do sleep 0.2; done`);
    expect(await ground.output('cat said; rm said')).toBe('up\nended');
  });

  test('what cannot be is told, and nothing is begun', async () => {
    await write(
      'alice',
      'big.yaml',
      'guests: {v[1-4]: {accelerator: uml, memory: 700M}}\n'.replace('v[1-4]', "'v[1-4]'"),
    );
    const small = await ground.run(['salloc', '-Q', '-N2', '--mem=800', 'lodge', 'up', 'big.yaml']);
    expect(small.code).toBe(125);
    expect(small.stderr).toContain('[allocation-too-small]');
    expect(small.stderr).toMatch(/hosts: n\[01-02\], 800M \+ 800M = 1\.6G/);
    const few = `n[1-${availableParallelism() + 1}]`;
    await write(
      'alice',
      'pinned.yaml',
      `guests:\n  ${few}:\n    accelerator: netns\n    image: host\n    pin: true\n`,
    );
    const pinned = await ground.run('salloc -Q -N1 lodge up pinned.yaml');
    expect([pinned.code, pinned.stderr]).toEqual([
      125,
      expect.stringMatching(
        /^lodge: pinned\.yaml:5:10: on n0\d: 'pin' of guest 'n\d+': .*\[placement-unmet\]/m,
      ),
    ]);
    const ended = await ground.run('SLURM_JOB_ID=999999 SLURM_JOB_NODELIST=n01 lodge up net.yaml');
    expect(ended.stderr).toContain('[no-allocation]');
    expect(await ground.output('ls .local/share/lodge/jobs')).not.toContain('999999');
    const alone = await ground.run(
      'LODGE_DATA_DIR=/tmp/alone salloc -Q -N1 lodge up net.yaml; rm -r /tmp/alone',
    );
    expect(alone.stderr).toMatch(/lodge: \/tmp\/alone\/jobs\/\d+: n0\d does not see the job's directory/);
    const step = await ground.run('srun -N1 lodge up net.yaml');
    expect(step.stderr).toContain('[usage]');
    const lasting = await ground.run('srun -N1 lodge run -d -a netns');
    expect(lasting.stderr).toContain('no guest outlives the command');
    // A controller that is not there: a port at which nobody listens.
    await write(
      'alice',
      'nobody.conf',
      'ClusterName=ground\nSlurmctldHost=ctl\nSlurmctldPort=6899\nMessageTimeout=2\nNodeName=n01\nPartitionName=p Nodes=n01\n',
    );
    const away = await ground.run(
      'SLURM_CONF=$HOME/nobody.conf SLURM_JOB_ID=7 SLURM_JOB_NODELIST=n01 timeout 100 lodge up net.yaml',
      { timeoutMs: 120_000 },
    );
    expect(away.stderr).toContain('[slurm-unavailable]');
    await ground.output('rm -rf .local/share/lodge/jobs');
  });

  test('two users have clusters of one name at the same time, and nothing of one another', async () => {
    const script = `
      lodge up net.yaml >/dev/null
      touch up; for i in $(seq 200); do [ -e ../both ] && break; sleep 0.1; done
      echo '== exec'; lodge exec n1 -- id -un
      echo '== ps'; lodge ps | wc -l`;
    const [alices, bobs] = await Promise.all([
      allocated(script),
      allocated(script, 'bob'),
      (async () => {
        for (const user of ['alice', 'bob']) {
          await ground.output(`until [ -e /home/${user}/up ]; do sleep 0.1; done`, { user: 'root' });
        }
        const keys = await ground.run('cat /home/alice/.local/share/lodge/jobs/*/key', { user: 'bob' });
        expect(keys.code).not.toBe(0);
        await ground.output('touch /home/both', { user: 'root' });
      })(),
    ]);
    expect(alices.get('exec')).toBe('alice\n');
    expect(bobs.get('exec')).toBe('bob\n');
    expect([alices.get('ps'), bobs.get('ps')]).toEqual(['5\n', '5\n']);
    await ground.output('rm -f /home/both /home/alice/up /home/bob/up', { user: 'root' });
  });

  test('an agent that is killed takes its guests with it, and apply brings both back', async () => {
    const told = await allocated(`
      lodge up net.yaml >/dev/null
      srun -N1 -n1 -w n02 --overlap pkill -9 -u alice -x node || true
      sleep 1
      echo '== killed'; lodge --json status 2>/dev/null
      echo '== exec'; lodge exec n2 -- true 2>&1 || true
      echo '== apply'; lodge apply net.yaml >/dev/null; lodge exec 'n[1-4]' -- hostname | sort`);
    const statuses = (JSON.parse(told.get('killed')!) as { guests: { status: string }[] }).guests;
    expect(statuses.map(({ status }) => status)).toEqual(['running', 'missing', 'running', 'missing']);
    expect(told.get('exec')).toContain('lodge apply');
    expect(told.get('apply')).toBe('n1: n1\nn2: n2\nn3: n3\nn4: n4\n');
  });

  test('guests outlive the slurmd of their host, and its job ends them later', async () => {
    const restart = 'setsid slurmd -D -N n02 --conf-server ctl >/run/slurmd.log 2>&1 &';
    const job = allocated(`
      lodge up net.yaml >/dev/null; touch up
      for i in $(seq 300); do [ -e down ] && break; sleep 0.1; done
      echo '== exec'; lodge exec 'n[1-4]' -- hostname | sort`);
    await ground.output('until [ -e up ]; do sleep 0.1; done');
    await ground.output('pkill -9 -x slurmd', { user: 'root', host: 'n02' });
    await ground.output('touch down');
    expect((await job).get('exec')).toBe('n1: n1\nn2: n2\nn3: n3\nn4: n4\n');
    await ground.output(restart, { user: 'root', host: 'n02' });
    await ground.output('rm -f up down');
    await ground.untilReady();
  });

  test(`cancelled at ${moments} moments, nothing is left`, async () => {
    const random = seededRandom(5);
    await write('alice', 'job.sh', '#!/bin/sh\nlodge up net.yaml\nlodge exec n2 -- sleep 60\n');
    const cancelled = async (): Promise<void> => {
      const id = await ground.output('sbatch --parsable -N2 --ntasks-per-node=1 -o /dev/null job.sh');
      await ground.output(`until [ "$(squeue -h -j ${id} -o %T)" = RUNNING ]; do sleep 0.1; done`);
      await delay((random.uint32() / 2 ** 32) * 6000);
      await ground.output(`scancel ${id}`);
      await ground.output(`while [ -n "$(squeue -h -j ${id} 2>/dev/null)" ]; do sleep 0.2; done`);
    };
    const lanes = Array.from({ length: lanesAtOnce }, async () => {
      for (let i = 0; i < moments / lanesAtOnce; i++) await cancelled();
    });
    await Promise.all(lanes);
    // A job that was cancelled as `lodge up` made its directory leaves that to the next one.
    await ground.output('salloc -Q -N2 --ntasks-per-node=1 sh -c "lodge -q up net.yaml && lodge -q down"');
    await untilNothingIsLeft('alice');
  });
});
