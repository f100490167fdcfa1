/** A guest's state saved in a file, and a guest that goes on from it. Under TCG, as emulation is everywhere. */

import {
  closeSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkValue } from '../../src/check-value.ts';
import type { Step } from '../../src/guest/channel/channel.ts';
import { type GuestPlan, guestFiles, type StateSum } from '../../src/guest/plan.ts';
import { resolveGuest } from '../../src/guest/resolve.ts';
import { restoredPlan, savingRefusal, sharesOf } from '../../src/guest/saved.ts';
import { guestSpecSchema } from '../../src/guest/spec.ts';
import { type RunningGuest, removeGuestFiles, startGuest } from '../../src/guest/start.ts';
import { guestDir } from '../../src/guest/state.ts';
import { thisUser } from '../../src/guest/user.ts';
import { Qmp } from '../../src/guest/vmm/qemu/qmp.ts';
import { saveState } from '../../src/guest/vmm/qemu/saved-state.ts';
import { openStore } from '../../src/image/store.ts';
import { lodge } from './lodge.ts';

const base = mkdtempSync(join(tmpdir(), 'lg-'));
const stateFile = join(base, 'v01.state');
const store = openStore();
const image = `saved-state-${process.pid}`;
const previousRuntime = process.env.LODGE_RUNTIME_DIR;
let saved: GuestPlan;
let sum: StateSum | undefined;

async function started(plan: GuestPlan): Promise<RunningGuest> {
  return startGuest(plan, { mode: 'foreground', store, user: thisUser(), onProgress: () => {} });
}

async function outputOf(guest: RunningGuest, line: string): Promise<string> {
  const session = guest.channel!.exec({
    argv: ['sh', '-c', line],
    env: {},
    cwd: '/',
    uid: 0,
    gid: 0,
    groups: [],
    umask: 0o022,
  });
  let text = '';
  session.output('stdout', (bytes) => {
    text += bytes.toString();
  });
  session.output('stderr', (bytes) => {
    text += bytes.toString();
  });
  session.endInput();
  await session.end;
  return text.trim();
}

async function end(guest: RunningGuest): Promise<void> {
  guest.channel?.close();
  guest.kill();
  await guest.ended;
  await removeGuestFiles(guest.plan, store);
}

beforeAll(async () => {
  process.env.LODGE_RUNTIME_DIR = join(base, 'run');
  const built = await lodge(['image', 'build', '--closure', 'sleep', '--name', image]);
  expect(built.stderr + built.code).toMatch(/0$/);
  writeFileSync(join(base, 'shared'), 'from the host\n');
  const spec = checkValue(
    { accelerator: 'tcg', memory: '192M', image, share: false, volumes: [`${base}:/shared`], name: 'v01' },
    guestSpecSchema,
    String,
  );
  saved = await resolveGuest(spec, { store, onProgress: () => {}, cwd: '/' });
});

afterAll(async () => {
  await lodge(['image', 'rm', image]);
  rmSync(base, { recursive: true, force: true });
  if (previousRuntime === undefined) delete process.env.LODGE_RUNTIME_DIR;
  else process.env.LODGE_RUNTIME_DIR = previousRuntime;
});

describe('a saved guest', () => {
  it('goes on where it was, in another directory, with the host’s directories again', async () => {
    expect(savingRefusal(saved)).toBeUndefined();
    const first = await started(saved);
    try {
      await outputOf(first, 'echo kept > /root-file; sleep 1000 > /dev/null 2>&1 & echo $! > /tmp/pid');
      await first.channel!.configure(released(saved));
      expect(await outputOf(first, 'ls /shared')).toBe('');
      // A clock that is years behind when the guest goes on.
      await outputOf(first, 'date -s @946684800');
      const qmp = await Qmp.connect(join(saved.dir, guestFiles.monitor));
      await qmp.execute('stop');
      sum = await saveState(qmp, saved.dir, stateFile);
      expect(statSync(stateFile).size).toBe(sum.bytes);
      await qmp.execute('cont');
      qmp.close();
      await first.channel!.configure(saved.volumeSetup);
      expect(await outputOf(first, 'cat /root-file /shared/shared')).toBe('kept\nfrom the host');
    } finally {
      await end(first);
    }

    const again = await started(restored('v02'));
    try {
      expect(await outputOf(again, 'cat /root-file /shared/shared')).toBe('kept\nfrom the host');
      // The process that ran runs on, under its number.
      expect(await outputOf(again, 'kill -0 $(cat /tmp/pid) && echo alive')).toBe('alive');
      // Its clock has been set: it does not stand where it stood.
      const apartSeconds = Math.abs(Number(await outputOf(again, 'date +%s')) - Date.now() / 1000);
      expect(apartSeconds).toBeLessThan(60);
    } finally {
      await end(again);
    }
  });

  it('that cannot let go of a directory says so', async () => {
    const guest = await started({ ...saved, ...fresh('v03'), argv: argvIn('v03') });
    try {
      await outputOf(guest, 'cd /shared; sleep 1000 > /dev/null 2>&1 &');
      await expect(guest.channel!.configure(released(saved))).rejects.toThrow(/release \/shared/);
    } finally {
      await end(guest);
    }
  });

  it('whose state is damaged leaves nothing', async () => {
    // In the middle of its memory: QEMU takes it as it comes.
    const file = openSync(stateFile, 'r+');
    writeSync(file, Buffer.from('no longer what it was'), 0, 21, Math.floor(sum!.bytes / 2));
    closeSync(file);
    await expect(started(restored('v04'))).rejects.toMatchObject({ code: 'checkpoint', where: stateFile });
    truncateSync(stateFile, Math.floor(sum!.bytes / 2));
    await expect(started(restored('v05'))).rejects.toMatchObject({ code: 'checkpoint', where: stateFile });
    sum = undefined;
    await expect(started(restored('v06'))).rejects.toMatchObject({ code: expect.stringMatching(/vmm|died/) });
    for (const name of ['v04', 'v05', 'v06'])
      expect(statSync(guestDir(name), { throwIfNoEntry: false })).toBeUndefined();
  });
});

function released(plan: GuestPlan): Step[] {
  return sharesOf(plan)
    .map(([, , target]): Step => ['release', target!])
    .reverse();
}

function fresh(name: string): { name: string; id: string; dir: string } {
  return { name, id: Buffer.from(name.padEnd(8, '0')).toString('hex'), dir: guestDir(name) };
}

function restored(name: string): GuestPlan {
  return restoredPlan(saved, {
    ...fresh(name),
    objectPath: (id) => store.objectPath(id),
    savedState: { file: stateFile, ...(sum === undefined ? {} : { sum }) },
  });
}

function argvIn(name: string): string[] {
  return saved.argv.map((argument) => argument.replace(`${saved.dir}/`, `${guestDir(name)}/`));
}
