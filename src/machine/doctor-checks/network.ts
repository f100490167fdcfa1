/** What networks guests can have, and who may make them. */

import type { DoctorFacts } from '../doctor-facts.ts';
import { type Finding, findingMaker } from './finding.ts';

const finding = findingMaker('network');

const laterUse = 'for networks of guests, which this lodge does not have yet';

export function checkNetwork({ userNamespaces, programs, devices, machine }: DoctorFacts): Finding[] {
  const findings = [
    userNamespaces.usable
      ? finding(
          'pass',
          'user-namespaces',
          'user namespaces can be made',
          'images are built without root, and user-mode guests confined',
        )
      : finding(
          'warn',
          'user-namespaces',
          `user namespaces cannot be made: ${userNamespaces.reason}`,
          'images cannot be built from recipes without root, and the root of a user-mode guest can write what you can',
          {
            command:
              'sysctl -w user.max_user_namespaces=15000; sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0',
          },
        ),
  ];
  if (programs.passt === undefined && programs.slirp4netns === undefined) {
    findings.push(finding('note', 'egress', 'neither passt nor slirp4netns is installed', laterUse));
  } else {
    const name = programs.passt === undefined ? 'slirp4netns' : 'passt';
    findings.push(finding('pass', 'egress', `${name} is installed`, laterUse));
  }
  const privileged = machine.user.capabilities.includes('NET_ADMIN');
  findings.push(
    privileged && devices.tun.writable
      ? finding('pass', 'tap', 'TAP devices can be made', laterUse)
      : finding('note', 'tap', 'TAP devices cannot be made', `they need CAP_NET_ADMIN; ${laterUse}`),
  );
  if (!devices.vhostNet.writable) {
    findings.push(finding('note', 'vhost-net', 'vhost-net is not usable', laterUse));
  }
  if (!devices.vhostVsock.writable) {
    findings.push(
      finding(
        'note',
        'vhost-vsock',
        'vhost-vsock is not usable',
        'nothing is lost: commands go through virtio-serial',
      ),
    );
  }
  return findings;
}
