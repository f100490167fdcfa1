/** A guest as a node of a Slurm of the user's own: its munged and slurmd. */

import { join } from 'node:path';
import { guestScript, type PrivateNode } from '../cluster/engine/private-slurm.ts';
import type { PlannedGuest } from '../cluster/plan.ts';
import { LodgeError } from '../errors.ts';
import { thisUser } from '../guest/user.ts';
import { configureGuest, execInGuest } from './client.ts';
import type { ServiceGroup } from './services.ts';

/**
 * Has a guest begin its daemons.
 * @param dir where they have their files, in the guest as on the hosts
 * @throws LodgeError `guest-setup` when they do not start; as {@link execInGuest}
 */
export async function joinGuest(
  guest: PlannedGuest,
  node: PrivateNode,
  dir: string,
  files: ServiceGroup['files'],
): Promise<void> {
  const { uid, gid, groups } = thisUser();
  await configureGuest(guest.fullName, [
    ['mkdir', dir, '700'],
    ...files.map((file): [string, ...string[]] => ['write', join(dir, file.name), '600', file.text]),
  ]);
  await runIn(guest, ['chown', '-R', `${uid}:${gid}`, dir], { uid: 0, gid: 0, groups: [0] });
  await runIn(guest, ['/bin/sh', '-c', guestScript(dir, node)], { uid, gid, groups });
}

async function runIn(
  guest: PlannedGuest,
  argv: string[],
  who: { uid: number; gid: number; groups: number[] },
): Promise<void> {
  const session = await execInGuest(guest.fullName, {
    ...{ argv, cwd: '/', umask: 0o022, ...who },
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
  });
  let said = '';
  const collect = (bytes: Buffer): void => {
    if (said.length < 4096) said += bytes.toString();
  };
  session.output('stdout', collect);
  session.output('stderr', collect);
  session.endInput();
  const { code, signal } = await session.end;
  if (code === 0 && signal === 0) return;
  const isMissing = code === 127;
  throw new LodgeError(
    'guest-setup',
    isMissing
      ? `the image of '${guest.name}' has no slurmd or munged`
      : `Slurm's daemons do not start in '${guest.name}'`,
    {
      ...(said === '' ? {} : { detail: said.trim() }),
      fix: isMissing
        ? 'boot it from an image that has slurmd and munge'
        : `look at it: lodge exec ${guest.fullName} -- cat ${argv.join(' ').match(/-L (\S+)/)?.[1] ?? '/tmp'}`,
    },
  );
}
