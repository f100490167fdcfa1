/**
 * What makes guests one cluster from the inside, as steps of the agent protocol: names, the hostfile of MPI, and SSH
 * between all of them with keys of the cluster's own. Pure.
 *
 * Keys are under /etc/lodge/ssh, never in a home, which is the host's. The user's key is there twice: OpenSSH refuses a
 * key that its owner shares with others, so root has a copy of its own, and others have one that root owns.
 */

import type { Step } from '../guest/channel/channel.ts';
import { digestOf } from './canonical.ts';
import { type GuestFiles, planGuestFiles } from './guest-files.ts';
import type { ClusterPlan, PlannedGuest } from './plan.ts';
import { type SshKeyPair, sshKeyPair } from './ssh-key.ts';

export const hostfilePath = '/etc/lodge/hostfile';
const sshDir = '/etc/lodge/ssh';
const includeLine = `Include ${sshDir}/config`;

/** Goes up when what is written to guests changes: they are then given it again. */
const setUpVersion = 2;

export interface ClusterKeys {
  user: SshKeyPair;
  host: SshKeyPair;
}

export function clusterKeys(cluster: string, secret: Uint8Array): ClusterKeys {
  return {
    user: sshKeyPair(secret, 'user', `lodge-${cluster}`),
    host: sshKeyPair(secret, 'host', `lodge-${cluster}-host`),
  };
}

export interface GuestSetUp {
  files: GuestFiles;
  /** Of all that the guest is given. */
  digest: string;
}

/** What each guest that can be given anything is to have, by full name. */
export function planSetUps(plan: ClusterPlan, keys: ClusterKeys): Map<string, GuestSetUp> {
  const shared =
    plan.ssh === false ? [setUpVersion, false] : [setUpVersion, keys.user.publicKey, keys.host.publicKey];
  return new Map(
    [...planGuestFiles(plan)].map(([name, { hosts, hostfile, digest }]) => [
      name,
      { files: { hosts, hostfile }, digest: digestOf([digest, ...shared]) },
    ]),
  );
}

/** All names and addresses by which guests know one another, for SSH. */
function sshNames(plan: ClusterPlan): string[] {
  return plan.guests.flatMap((guest) => [
    guest.name,
    `${guest.name}.${plan.name}`,
    ...guest.interfaces.flatMap(({ address, network }) => [
      `${guest.name}.${network}`,
      address.split('/')[0]!,
    ]),
  ]);
}

/** The files, as steps. A root that nobody can write to takes the names alone, and so does a cluster without SSH. */
export function setUpSteps(
  plan: ClusterPlan,
  guest: PlannedGuest,
  { files }: GuestSetUp,
  keys: ClusterKeys,
  isRootWritable: boolean,
): Step[] {
  const hosts: Step = ['write', '/etc/hosts', '644', files.hosts];
  if (!isRootWritable || plan.ssh === false) return [hosts];
  const names = sshNames(plan);
  const listen = guest.interfaces.map(({ address }) => `ListenAddress ${address.split('/')[0]}`);
  return [
    hosts,
    ['mkdir', '/etc/lodge', '755'],
    ['mkdir', '/run/sshd', '755'],
    ['write', hostfilePath, '644', files.hostfile],
    ['mkdir', sshDir, '755'],
    ['write', `${sshDir}/id`, '644', keys.user.privateKey],
    ['write', `${sshDir}/id-root`, '600', keys.user.privateKey],
    ['write', `${sshDir}/authorized_keys`, '644', `${keys.user.publicKey}\n`],
    ['write', `${sshDir}/host_key`, '600', keys.host.privateKey],
    ['write', `${sshDir}/known_hosts`, '644', `${names.join(',')} ${keys.host.publicKey}\n`],
    ['write', `${sshDir}/config`, '644', clientConfig(names)],
    ['write', `${sshDir}/sshd_config`, '644', serverConfig(listen)],
  ];
}

/** ssh_config(5): the first value of a key holds, so what is here goes before all that the guest has. */
function clientConfig(names: readonly string[]): string {
  const hosts = `Match host "${names.join(',')}"`;
  return `${hosts} localuser root
  IdentityFile ${sshDir}/id-root
${hosts} localuser "!root,*"
  IdentityFile ${sshDir}/id
${hosts}
  IdentitiesOnly yes
  GlobalKnownHostsFile ${sshDir}/known_hosts
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  LogLevel ERROR
`;
}

/**
 * sshd_config(5): listens on the fabric alone, and lets in those who have the cluster's key.
 *
 * Bash reads ~/.bashrc for commands by SSH too, unless SHLVL says that there is a shell already. The home is the
 * host's and shared: what stands there would be done in all guests at once by every start of MPI, and `lodge exec`
 * does not do it either. Shells that people type at read it as always.
 */
function serverConfig(listen: readonly string[]): string {
  return `${listen.join('\n')}
HostKey ${sshDir}/host_key
AuthorizedKeysFile ${sshDir}/authorized_keys
PidFile ${sshdPidFile}
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UseDNS no
UsePAM no
PrintMotd no
SetEnv SHLVL=1
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
`;
}

const sshdPidFile = '/run/lodge-sshd.pid';

/**
 * A shell script, run as root: has the client use the cluster's keys, and starts the server unless it runs; it reads
 * the keys whenever somebody comes. Does nothing where the image has none. `sshd` must be called by its path, and wants
 * a directory that no package makes. There is hardly a process in it, because those are dear under user-mode Linux.
 */
export const sshScript = `if [ -d /etc/ssh/ssh_config.d ]; then
  echo '${includeLine}' >/etc/ssh/ssh_config.d/00-lodge.conf || exit 1
elif [ -f /etc/ssh/ssh_config ] && read -r first </etc/ssh/ssh_config && [ "$first" != '${includeLine}' ]; then
  { echo '${includeLine}'; cat /etc/ssh/ssh_config; } >/etc/ssh/ssh_config.lodge || exit 1
  mv /etc/ssh/ssh_config.lodge /etc/ssh/ssh_config || exit 1
fi
{ read -r pid <${sshdPidFile} && kill -0 "$pid"; } 2>/dev/null && exit 0
for sshd in /usr/sbin/sshd /usr/local/sbin/sshd /usr/bin/sshd; do
  [ -x "$sshd" ] || continue
  # Not in the place of this shell: a child of process 1 would take itself for a daemon, and keep its output open.
  "$sshd" -f ${sshDir}/sshd_config
  exit
done 2>&1`;
