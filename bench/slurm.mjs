/**
 * What a guest costs a line of srun: `srun -w v01 true` beside `srun -w n01 true`, in turns. By default in a Slurm of
 * one's own; with `site NATIVE GUEST`, in the Slurm of this site, where the v-node is also booted cold for a job, beside
 * a bare boot on its host. What passes until then is told in parts: Slurm's power saving asks for the holder job; that
 * boots the guest and starts slurmd; Slurm starts the job when it has found that the node is there.
 */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { judge, lodge, median, mustRun, rounds, spread } from './measure.mjs';

const count = rounds(15);
const accelerator = process.argv[3] ?? 'auto';

/** Milliseconds of a line of srun. */
const msOf = async (env, ...words) => 1000 * (await mustRun('srun', ['-Q', ...words], { env })).wallSeconds;

/** The same line on a host and in a guest that is there, in turns. */
async function compareLines(env, native, guest, words) {
  const times = { [native]: [], [guest]: [] };
  for (const node of [native, guest]) await msOf(env, ...words, '-w', node, 'true');
  for (let round = 0; round < count; round++) {
    // Whoever comes second in a round finds caches as warm as the first.
    const order = round % 2 === 0 ? [native, guest] : [guest, native];
    for (const node of order) times[node].push(await msOf(env, ...words, '-w', node, 'true'));
  }
  const differences = times[guest].map((ms, i) => ms - times[native][i]);
  process.stdout.write(`srun -w ${native} true           ms  ${spread(times[native], 0)}\n`);
  process.stdout.write(`srun -w ${guest} true           ms  ${spread(times[guest], 0)}\n`);
  process.stdout.write(`difference                 ms  ${spread(differences, 0)}\n`);
}

async function inOwnSlurm() {
  const work = mkdtempSync(join(tmpdir(), 'lodge-bench-'));
  const file = join(work, 'bench-slurm.yaml');
  writeFileSync(file, `defaults: {accelerator: ${accelerator}, memory: 512M}\nguests: {v01: }\n`);
  try {
    const startedAt = performance.now();
    const { conf } = JSON.parse(execFileSync(lodge, ['--json', 'slurm', 'up', file], { encoding: 'utf8' }));
    const upSeconds = (performance.now() - startedAt) / 1000;
    try {
      const found = JSON.parse(
        execFileSync(lodge, ['--json', 'status', 'bench-slurm'], { encoding: 'utf8' }),
      );
      process.stdout.write(`rounds: ${count}; the guest is ${found.guests[0].accelerator}\n`);
      process.stdout.write(`up, with the guest's boot  s   ${upSeconds.toFixed(1)}\n`);
      await compareLines({ ...process.env, SLURM_CONF: conf }, 'n01', 'v01', []);
    } finally {
      execFileSync(lodge, ['slurm', 'down', 'bench-slurm']);
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const scontrol = (...words) => execFileSync('scontrol', words, { encoding: 'utf8' });
const nodeLine = (node) => scontrol('show', 'node', node, '--oneliner');
const stateOf = (node) => /State=(\S+)/.exec(nodeLine(node))[1];
const partitionOf = (node) => /Partitions=(\S+)/.exec(nodeLine(node))[1];

async function untilOff(guest) {
  if (!/POWER/.test(stateOf(guest))) scontrol('update', `nodename=${guest}`, 'state=power_down');
  while (!/POWERED_DOWN/.test(stateOf(guest))) await delay(500);
  // Its holder job and the last round's trigger are gone as well.
  await delay(3000);
}

/** Listens where jobs in v-nodes may reach this host: among the ports of srun. @returns the first one that connects */
async function listenForJob() {
  const [first, last] = /^SrunPortRange\s*= (\d+)-(\d+)/m
    .exec(scontrol('show', 'config'))
    .slice(1)
    .map(Number);
  const server = createServer();
  for (let port = last; ; port--) {
    if (port < first) throw new Error('all ports of srun are taken');
    const isTaken = await new Promise((resolve) => {
      server.once('error', () => resolve(true));
      server.listen(port, () => resolve(false));
    });
    if (!isTaken) break;
  }
  const address = Object.values(networkInterfaces())
    .flat()
    .find(({ internal, family }) => !internal && family === 'IPv4').address;
  const calledAtMs = new Promise((resolve) => {
    server.once('connection', (socket) => {
      resolve(Date.now());
      socket.destroy();
      server.close();
    });
  });
  return { place: `${address}/${server.address().port}`, calledAtMs };
}

/** When Slurm has met the v-node's slurmd, and so takes it for booted. */
async function untilJoined(guest) {
  while (!/POWERING_UP/.test(stateOf(guest))) await delay(200);
  while (/POWERING_UP/.test(stateOf(guest))) await delay(100);
  return Date.now();
}

/** On the v-node's host: when lodge was started for it in its holder job, and when its guest was, and was up. */
const hostScript = `
job=$(squeue -h -n "lodge-$0" -o %A)
for process in /proc/[0-9]*; do
  [ "$(tr '\\0' ' ' <"$process/cmdline" | cut -d' ' -f1,3-5)" = 'node -q slurm hold' ] || continue
  tr '\\0' '\\n' <"$process/environ" | grep -qx "SLURM_JOB_ID=$job" || continue
  echo "$(date +%s%3N) $(cut -d. -f1,2 --output-delimiter= /proc/uptime | cut -d' ' -f1) $(sed 's/.*) //' "$process/stat" | cut -d' ' -f20)"
  cat /tmp/lodge-*-"j$job.$SLURMD_NODENAME"/guests/*/state.json
done 2>/dev/null`;

/** Milliseconds from asking for a job in a v-node that is off until it runs, and what of them passes where. */
async function coldStart(env, native, guest, how) {
  await untilOff(guest);
  const words = ['-p', partitionOf(guest), '-w', guest];
  const { place, calledAtMs } = await listenForJob();
  const call = `: 3<>/dev/tcp/${place}`;
  const startedAtMs = Date.now();
  const joined = untilJoined(guest);
  if (how === 'srun') await mustRun('srun', ['-Q', ...words, 'bash', '-c', call], { env });
  else {
    const script = `#!/bin/bash\n${call}\nsleep 1\n`;
    execFileSync('sbatch', ['-Q', '-o', '/dev/null', ...words], { env, input: script });
  }
  const [runsAtMs, joinedAtMs] = [await calledAtMs, await joined];
  const host = /on-(\S+?)(,|\s)/.exec(nodeLine(guest))[1];
  const told = execFileSync(
    'srun',
    ['-Q', '-p', partitionOf(native), '-w', host, 'sh', '-c', hostScript, guest],
    {
      encoding: 'utf8',
      env,
    },
  );
  const [clock, record] = [told.slice(0, told.indexOf('\n')), told.slice(told.indexOf('\n'))];
  // Clock in milliseconds; since the host's start, now and when lodge started, in hundredths of a second.
  const [nowMs, now, then] = clock.split(' ').map(Number);
  const { createdAt, runningAt } = JSON.parse(record);
  const lodgeAtMs = nowMs - 10 * (now - then);
  return {
    ms: runsAtMs - startedAtMs,
    asked: lodgeAtMs - startedAtMs,
    lodge: createdAt - lodgeAtMs,
    boot: runningAt - createdAt,
    join: joinedAtMs - runningAt,
    launch: runsAtMs - joinedAtMs,
    bare: joinedAtMs - createdAt,
  };
}

const parts = {
  asked: 'Slurm: until lodge runs in the holder job',
  lodge: 'lodge: until the guest is started',
  boot: 'guest: until it is up',
  join: 'guest: munge, slurmd, until Slurm has met it',
  launch: 'Slurm: until the job runs',
};

async function inSite(native, guest) {
  const words = ['-p', `${partitionOf(guest)},${partitionOf(native)}`];
  const memoryMiB = Math.ceil(Number(/RealMemory=(\d+)/.exec(nodeLine(guest))[1]) / 0.8);
  const env = process.env;
  // As the v-node: the root of the host, and no home.
  const run = [lodge, 'run', '-a', accelerator, '-m', `${memoryMiB}M`, '--no-share', '--', 'true'];
  const onNative = ['-p', partitionOf(native), '-w', native];
  const runs = [];
  const cold = { sbatch: [], srun: [] };
  await msOf(env, ...onNative, ...run);
  for (let round = 0; round < count; round++) {
    for (const how of ['sbatch', 'srun']) {
      runs.push(await msOf(env, ...onNative, ...run));
      cold[how].push(await coldStart(env, native, guest, how));
    }
  }
  const of = (name, starts) => starts.map((one) => one[name]);
  process.stdout.write(`rounds: ${count}\n`);
  const bare = of('bare', [...cold.sbatch, ...cold.srun]);
  process.stdout.write(`a guest on ${native} for one command, ended          ms  ${spread(runs, 0)}\n`);
  process.stdout.write(`bare boot: the guest's process until Slurm met it  ms  ${spread(bare, 0)}\n`);
  for (const [how, starts] of Object.entries(cold)) {
    process.stdout.write(`${`cold ${how} -w ${guest}`.padEnd(48)}   ms  ${spread(of('ms', starts), 0)}\n`);
    for (const [name, what] of Object.entries(parts)) {
      process.stdout.write(`  ${what.padEnd(46)}   ms  ${spread(of(name, starts), 0)}\n`);
    }
  }
  const ratio = median(cold.sbatch.map((one) => one.ms / one.bare));
  const isMet = judge('cold sbatch against bare boot', ratio.toFixed(2), ratio <= 1.5, '<= 1.5');
  if (!isMet) process.exitCode = 1;
  const own = median(cold.sbatch.map((one) => (one.bare + one.lodge) / one.bare));
  process.stdout.write(`        of that bare boot and lodge on the host alone: ${own.toFixed(2)}\n`);
  await compareLines(env, native, guest, words);
}

const [mode, native, guest] = process.argv.slice(4);
if (mode === 'site') await inSite(native, guest);
else await inOwnSlurm();
