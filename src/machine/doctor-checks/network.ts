/** What networks guests can have, and who may make them. */

import type { DoctorFacts } from '../doctor-facts.ts';
import { type Finding, findingMaker } from './finding.ts';

const finding = findingMaker('network');

const egressUse = 'uplinks of clusters, the declared ways out, are made by passt';

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
  findings.push(
    programs.passt === undefined
      ? finding('note', 'egress', 'passt is not installed', egressUse, { packages: ['passt'] })
      : finding('pass', 'egress', 'passt is installed', egressUse),
  );
  const privileged = machine.user.capabilities.includes('NET_ADMIN');
  findings.push(
    privileged && devices.tun.writable
      ? finding(
          'pass',
          'tap',
          'TAP devices can be made',
          'guests can join a bridge of the host (bridge: br0)',
        )
      : finding(
          'note',
          'tap',
          'TAP devices cannot be made',
          'guests cannot join a bridge of the host (bridge: br0), which needs CAP_NET_ADMIN; all other networks need no privilege',
        ),
  );
  if (!devices.vhostNet.writable) {
    findings.push(
      finding(
        'note',
        'vhost-net',
        'vhost-net is not usable',
        'it would make networks that are a bridge of the kernel faster',
      ),
    );
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
