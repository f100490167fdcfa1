/**
 * The channel's speed: 1 GiB through `lodge run -a uml -- cat`, from a file and into a file, beside `ssh localhost cat`
 * with a server of its own on the loopback interface. What arrives is compared by sha256, outside of the time measured.
 * The time of the same command without data (`true`) is taken off, so that neither boot nor login counts.
 */

import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  existsSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { judge, lodge, median, mustRun, rounds, spread } from './measure.mjs';

const count = rounds(3);
const bytes = 1024 ** 3;
const pieceBytes = 4 * 1024 ** 2;
const directory = mkdtempSync(join(tmpdir(), 'lodge-bench-'));
const input = join(directory, 'input');
const output = join(directory, 'output');

function makeInput() {
  const file = openSync(input, 'w');
  for (let at = 0; at < bytes; at += pieceBytes) writeSync(file, randomBytes(pieceBytes));
  closeSync(file);
}

async function sha256(path) {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path, { highWaterMark: pieceBytes })) hash.update(piece);
  return hash.digest('hex');
}

/** Seconds that a command takes from `input` to `output`. */
async function through(program, args) {
  const [from, to] = [openSync(input, 'r'), openSync(output, 'w')];
  const { wallSeconds } = await mustRun(program, args, { stdio: [from, to, 'inherit'] });
  closeSync(from);
  closeSync(to);
  const found = await sha256(output);
  if (found !== expected)
    throw new Error(`${program}: ${statSync(output).size} bytes came back, and not the same`);
  rmSync(output);
  return wallSeconds;
}

/** MB/s of a way to run commands, `cat` and `true` being run by it. */
async function speedOf(program, args) {
  const emptySeconds = (await mustRun(program, [...args, 'true'])).wallSeconds;
  const seconds = await through(program, [...args, 'cat']);
  return bytes / 1e6 / (seconds - emptySeconds);
}

/** A server for this user only, on a free port of the loopback interface. */
async function startSshServer() {
  const program = ['/usr/sbin/sshd', '/usr/local/sbin/sshd'].find((path) => existsSync(path));
  if (program === undefined) return { reason: 'sshd is not installed: apt-get install openssh-server' };
  for (const name of ['host', 'user'])
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(directory, name)]);
  const port = await freePort();
  const configuration = [
    ...[
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${directory}/host`,
      `AuthorizedKeysFile ${directory}/user.pub`,
    ],
    ...[
      'UsePAM no',
      'StrictModes no',
      'PidFile none',
      'PermitRootLogin prohibit-password',
      'PasswordAuthentication no',
    ],
  ];
  writeFileSync(join(directory, 'sshd_config'), `${configuration.join('\n')}\n`);
  // As root it wants this directory, which only its service makes.
  if (userInfo().uid === 0) execFileSync('mkdir', ['-p', '-m', '755', '/run/sshd']);
  const server = spawn(program, ['-D', '-e', '-f', join(directory, 'sshd_config')], { stdio: 'ignore' });
  for (let attempt = 0; attempt < 200; attempt++) {
    if (server.exitCode !== null) return { reason: `sshd ended with ${server.exitCode}` };
    if (await answers(port)) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const options = [
    'UserKnownHostsFile=/dev/null',
    'StrictHostKeyChecking=no',
    'LogLevel=ERROR',
    'IdentitiesOnly=yes',
  ];
  const args = ['-F', 'none', '-T', '-p', String(port), '-i', join(directory, 'user')];
  return { server, args: [...args, ...options.flatMap((option) => ['-o', option]), '127.0.0.1'] };
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function answers(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}

let expected;
let ssh;
try {
  makeInput();
  expected = await sha256(input);
  ssh = await startSshServer();
  const guest = ['run', '-a', 'uml', '--'];
  const ours = [];
  const theirs = [];
  for (let round = 0; round < count; round++) {
    const pair = [async () => ours.push(await speedOf(lodge, guest))];
    if (ssh.server !== undefined) pair.push(async () => theirs.push(await speedOf('ssh', ssh.args)));
    if (round % 2 === 1) pair.reverse();
    for (const measure of pair) await measure();
  }
  process.stdout.write(`rounds: ${count}, ${bytes} bytes, what came back is the same each time\n`);
  process.stdout.write(`lodge run -a uml -- cat  MB/s ${spread(ours, 0)}\n`);
  if (ssh.server === undefined) process.stdout.write(`ssh: skipped, ${ssh.reason}\n`);
  else {
    process.stdout.write(`ssh 127.0.0.1 cat        MB/s ${spread(theirs, 0)}\n`);
    process.stdout.write(`lodge : ssh  ${spread(ours.map((speed, i) => speed / theirs[i]))}\n`);
  }
  const isMet = judge('MB/s through the channel under uml', spread(ours, 0), median(ours) >= 200, '200');
  process.exitCode = isMet ? 0 : 1;
} finally {
  ssh?.server?.kill();
  rmSync(directory, { recursive: true, force: true });
}
