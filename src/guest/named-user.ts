/** Whom a command runs as in a guest, where that is not the user of lodge: as the guest's own files say. */

import { LodgeError } from '../errors.ts';
import { isId, parseUserText } from '../image/user-text.ts';
import type { Channel } from './channel/channel.ts';
import type { ExecRequest } from './channel/frames.ts';

/** A command, and whom it is to run as when that must be looked up in the guest. */
export interface CommandRequest extends ExecRequest {
  /** `NAME`, `UID`, either with `:GROUP` or `:GID`. What it says goes before `uid`, `gid` and `groups`. */
  user?: string;
}

export interface NamedUser {
  name: string;
  uid: number;
  gid: number;
  groups: number[];
  home: string;
}

/**
 * The user that a text names. A number needs no entry: it then has the group of the same number and no home.
 * With a group, the user is in that group alone.
 * @param passwd and group: the guest's files; format passwd(5), group(5)
 * @throws LodgeError `no-such-user`
 */
export function findUser(text: string, passwd: string, group: string): NamedUser {
  const parsed = parseUserText(text);
  if (parsed === undefined) throw unknown(text, `'${text}' is not USER[:GROUP]`);
  const { who, group: groupText } = parsed;
  const entry = rows(passwd, 7).find(([name, , uid]) => name === who || (isId(who) && uid === who));
  if (entry === undefined && !isId(who)) {
    throw unknown(text, `the guest has no user '${who}' in its /etc/passwd`);
  }
  const [name, , uid, gid, , home] = entry ?? [`user${who}`, '', who, who, '', '/'];
  const others = rows(group, 4)
    .filter(([, , , members]) => members!.split(',').includes(name!))
    .map(([, , id]) => Number(id));
  const own = groupText === undefined ? Number(gid) : groupOf(groupText, group, text);
  return {
    name: name!,
    uid: Number(uid),
    gid: own,
    groups: [...new Set([own, ...(groupText === undefined ? others : [])])],
    home: home === undefined || home === '' ? '/' : home,
  };
}

function groupOf(groupText: string, group: string, text: string): number {
  const row = rows(group, 4).find(([name]) => name === groupText);
  if (row !== undefined) return Number(row[2]);
  if (isId(groupText)) return Number(groupText);
  throw unknown(text, `the guest has no group '${groupText}' in its /etc/group`);
}

/** Lines with as many fields as there must be and numbers where these must be: an image may hold anything. */
function rows(database: string, fields: number): string[][] {
  return database
    .split('\n')
    .map((line) => line.split(':'))
    .filter((row) => row.length === fields && isId(row[2]!) && (fields < 7 || isId(row[3]!)));
}

function unknown(text: string, message: string): LodgeError {
  return new LodgeError('no-such-user', message, {
    where: `--user ${text}`,
    fix: 'give the number (--user UID:GID), root, or your own name to run as who you are here',
  });
}

/**
 * The request with its user looked up: numbers, and HOME, USER and LOGNAME where they are not set.
 * @throws LodgeError `no-such-user`
 */
export async function withNamedUser(channel: Channel, request: CommandRequest): Promise<ExecRequest> {
  const { user: text, ...rest } = request;
  if (text === undefined) return rest;
  const [passwd, group] = await Promise.all([
    channel.readWhole('/etc/passwd'),
    channel.readWhole('/etc/group'),
  ]);
  const { name, uid, gid, groups, home } = findUser(text, passwd?.toString() ?? '', group?.toString() ?? '');
  return { ...rest, uid, gid, groups, env: { HOME: home, USER: name, LOGNAME: name, ...rest.env } };
}
