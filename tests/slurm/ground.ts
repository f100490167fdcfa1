/**
 * A real Slurm on this machine: a controller on which people log in (`ctl`) and hosts (`n01`, `n02`), each in network,
 * mount, UTS, IPC and PID namespaces of its own, with munge, slurmctld and slurmd of Debian. Two ordinary users, alice
 * and bob, have one home on all hosts; everything else of a host is its own. ground.sh has the hosts' side.
 *
 * Needs root. Nothing outside of the namespaces is changed, and all of it ends with the process that started it.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { installationDir } from '../../src/installation.ts';
import { type RunOptions, type RunResult, run, type Started, start } from '../guests/lodge.ts';

export const hostNames = ['n01', 'n02'] as const;
export type GroundHost = 'ctl' | (typeof hostNames)[number];

/** What Slurm is told that each host has; the machine may have less, which only makes it slow. */
export const hostCpus = 4;
export const hostMemoryMiB = 4096;

const users = { root: 0, alice: 4001, bob: 4002, slurm: slurmUserId() } as const;
export type GroundUser = keyof typeof users;

/** In the namespaces the checkout is here, whoever may read it outside. */
export const groundCheckout = '/opt/lodge';

const upWithinMs = 60_000;
const program = join(installationDir, 'tests/slurm/ground.sh');

export interface GroundRunOptions extends RunOptions {
  /** Default: `ctl`. */
  host?: GroundHost;
  /** Default: alice. */
  user?: GroundUser;
}

/** A Slurm that runs; who owns it is another matter. */
export class SlurmGround {
  /** Process 1 of the controller, as this machine counts processes. */
  readonly pid: number;
  readonly #pids = new Map<GroundHost, number>();

  constructor(pid: number) {
    this.pid = pid;
    this.#pids.set('ctl', pid);
  }

  /** Process 1 of a host, as this machine counts processes. */
  pidOf(host: GroundHost): number {
    const known = this.#pids.get(host);
    if (known !== undefined) return known;
    for (const starter of childrenOf(this.pid)) {
      for (const first of childrenOf(starter)) {
        const name = environmentOf(first).get('LODGE_GROUND_HOST');
        if (name !== undefined) this.#pids.set(name as GroundHost, first);
      }
    }
    const found = this.#pids.get(host);
    if (found === undefined) throw new Error(`there is no host '${host}'`);
    return found;
  }

  /** The command line that runs a command on a host, with the environment of somebody who has just logged in. */
  argv(command: string | readonly string[], { host = 'ctl', user = 'alice', env = {} }: GroundRunOptions) {
    const id = String(users[user]);
    const home = user === 'root' || user === 'slurm' ? '/root' : `/home/${user}`;
    const variables = {
      PATH: `${groundCheckout}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
      HOME: home,
      USER: user,
      LOGNAME: user,
      LANG: 'C.UTF-8',
      ...env,
    };
    return [
      ...['nsenter', '-t', String(this.pidOf(host)), '-m', '-u', '-i', '-n', '-p', '--'],
      ...['setpriv', '--reuid', id, '--regid', id, '--clear-groups', '--pdeathsig', 'KILL', '--'],
      ...['env', '-i', `--chdir=${home === '/root' ? '/tmp' : home}`],
      ...Object.entries(variables).flatMap(([name, value]) =>
        value === undefined ? [] : [`${name}=${value}`],
      ),
      ...(typeof command === 'string' ? ['sh', '-c', command] : command),
    ];
  }

  /** Starts a shell line, or the words of a command, on a host. */
  start(command: string | readonly string[], options: GroundRunOptions = {}): Started {
    const { env: _, cwd: __, ...rest } = options;
    return start(this.argv(command, options), rest);
  }

  /** Runs a shell line, or the words of a command, on a host, to its end. */
  run(command: string | readonly string[], options: GroundRunOptions = {}): Promise<RunResult> {
    const { env: _, cwd: __, ...rest } = options;
    return run(this.argv(command, options), rest);
  }

  /** As {@link run}; gives standard output without the last line's end, and rejects when the exit code is not 0. */
  async output(command: string | readonly string[], options: GroundRunOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(command, options);
    if (code !== 0) throw new Error(`${String(command)}: exit code ${code}\n${stdout}${stderr}`);
    return stdout.toString().replace(/\n$/, '');
  }

  /** Processes of a user on a host, their arguments with spaces between. */
  async processesOf(user: GroundUser, host: GroundHost): Promise<string[]> {
    const { stdout } = await this.run(['ps', '-u', String(users[user]), '-o', 'pid=,args='], {
      host,
      user: 'root',
    });
    return stdout
      .toString()
      .split('\n')
      .filter((line) => line.trim() !== '');
  }

  /** Waits until all hosts can take jobs. @throws when they do not come up */
  async untilReady(limitMs = upWithinMs): Promise<void> {
    const deadline = Date.now() + limitMs;
    for (;;) {
      const { stdout, stderr } = await this.run(['sinfo', '-h', '-N', '-p', 'phys', '-o', '%N %T'], {
        user: 'root',
      });
      const states = stdout.toString().trim().split('\n');
      if (states.length === hostNames.length && states.every((line) => /^n\d+ idle$/.test(line))) return;
      if (Date.now() > deadline)
        throw new Error(`Slurm does not come up\n${stdout}${stderr}${await this.logs()}`);
      await delay(100);
    }
  }

  /** The ends of the daemons' logs, to say why something failed. */
  async logs(): Promise<string> {
    const texts = await Promise.all(
      (['ctl', ...hostNames] as const).map(async (host) => {
        const { stdout } = await this.run('tail -n 15 /run/slurm*.log /run/munge.log', {
          host,
          user: 'root',
        });
        return `${host}:\n${stdout}`;
      }),
    );
    return texts.join('\n');
  }
}

export interface OwnedSlurmGround extends SlurmGround {
  stop(): Promise<void>;
}

/** Why no ground can be started here; undefined when one can. */
export function whyNoGround(): string | undefined {
  if (process.getuid!() !== 0) return 'namespaces with several users need root';
  for (const name of ['slurmctld', 'slurmd', 'munged']) {
    const isThere = (process.env.PATH ?? '')
      .split(':')
      .some((directory) => isExecutable(join(directory, name)));
    if (!isThere) return `${name} is not installed: apt-get install slurm-wlm munge`;
  }
  return undefined;
}

export interface GroundOptions {
  /** `SlurmUser`: slurmctld is root's, or, as on most sites, of the user that the package brings. */
  slurmUser?: 'root' | 'slurm';
}

/**
 * Starts a Slurm and waits until it takes jobs.
 * @throws when it does not come up; nothing is left of it then
 */
export async function startSlurmGround({
  slurmUser = 'root',
}: GroundOptions = {}): Promise<OwnedSlurmGround> {
  const fault = whyNoGround();
  if (fault !== undefined) throw new Error(fault);
  // Users of the ground cannot build.
  await run([join(installationDir, 'lodge'), '--version'], { timeoutMs: 600_000 });
  let complaints = '';
  const child = spawn(
    'setpriv',
    [
      ...['--pdeathsig', 'KILL', '--', 'unshare', '--net', '--mount', '--uts', '--ipc', '--pid', '--fork'],
      ...['--kill-child=KILL', '--mount-proc', '--propagation', 'private', 'sh', program, 'controller'],
      ...[installationDir, hostNames.join(' '), String(hostCpus), String(hostMemoryMiB)],
      slurmUser,
    ],
    // A Slurm of one's own, in whose shell this is started, is another one.
    { stdio: ['ignore', 'ignore', 'pipe'], cwd: '/', env: withoutSlurm(process.env) },
  );
  child.stderr.on('data', (text: Buffer) => {
    complaints = (complaints + text.toString()).slice(-4000);
  });
  const stop = () => ended(child, 'SIGKILL');
  try {
    const ground = Object.assign(new SlurmGround(await firstChild(child)), { stop });
    await ground.untilReady();
    return ground;
  } catch (cause) {
    await stop();
    throw new Error(`${(cause as Error).message}\n${complaints}`, { cause });
  }
}

function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  const end = new Promise<void>((resolve) => child.once('close', () => resolve()));
  child.kill(signal);
  return end;
}

/** The first process in the namespaces, once it is the shell that makes the hosts. */
async function firstChild(child: ChildProcess): Promise<number> {
  const deadline = Date.now() + upWithinMs;
  while (Date.now() < deadline && child.exitCode === null && child.signalCode === null) {
    const [first] = childrenOf(child.pid!);
    // Its hosts are there when the last one's daemon is about to start.
    if (first !== undefined && childrenOf(first).length >= hostNames.length + 2) return first;
    await delay(50);
  }
  throw new Error('the namespaces of the hosts could not be made');
}

function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return text === '' ? [] : text.split(' ').map(Number);
  } catch {
    return [];
  }
}

function withoutSlurm(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^(SLURM|SALLOC|SBATCH)_/.test(name)));
}

function environmentOf(pid: number): Map<string, string> {
  try {
    const entries = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    return new Map(entries.map((one) => [one.split('=', 1)[0]!, one.slice(one.indexOf('=') + 1)] as const));
  } catch {
    return new Map();
  }
}

/** The user that the packages of Slurm bring; where they are not installed, nobody starts a ground either. */
function slurmUserId(): number {
  return Number(/^slurm:[^:]*:(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'))?.[1] ?? 64_030);
}

function isExecutable(path: string): boolean {
  return ((statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o111) !== 0;
}
