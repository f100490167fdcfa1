/** A directory for a QEMU guest by virtiofs. Pure; checked against QEMU 7.2 (-device vhost-user-fs-pci,help). */

import { virtiofsdArguments } from '../../../machine/virtiofsd.ts';
import { formatCpuList } from '../../../units.ts';
import type { Beside } from '../../plan.ts';
import type { MountSource } from '../../setup.ts';
import type { Volume } from '../../spec.ts';
import type { DriverInput } from '../driver.ts';

export interface ServedShare {
  arguments: string[];
  mount: MountSource;
  beside: Beside;
}

/** @param tag names the directory in the guest, and its socket on the host */
export function shareByVirtiofs(
  tag: string,
  { source, target, readOnly }: Volume,
  { dir, user, layout }: Pick<DriverInput, 'dir' | 'user' | 'layout'>,
  { daemon, confinePath }: NonNullable<DriverInput['virtiofs']>,
): ServedShare {
  const socket = `${tag}.sock`;
  const request = { daemon, confinePath, directory: source, readOnly, user };
  return {
    arguments: [
      ...['-chardev', `socket,id=${tag},path=${socket}`],
      ...['-device', `vhost-user-fs-pci,chardev=${tag},tag=${tag}`],
    ],
    mount: { source: tag, type: 'virtiofs', options: '' },
    beside: {
      socket,
      argv: [
        // It is a part of the emulator, and keeps off the vCPUs as that does.
        ...(layout.emulatorCpus.length === 0 ? [] : ['taskset', '-c', formatCpuList(layout.emulatorCpus)]),
        // Its path in the process list, so that it can be found whatever was lost.
        ...virtiofsdArguments(request, ['--for', `${dir}/${socket}`]),
      ],
      what: `${target} by virtiofs`,
    },
  };
}

export function virtiofsNotes({ user, image, virtiofs }: DriverInput): string[] {
  const { daemon } = virtiofs!;
  const isHostRoot = image.kind === 'linux' && image.root.kind === 'host';
  return [
    `virtiofs by ${daemon.path}, one for each shared directory${isHostRoot ? "; the host's root comes over 9p" : ''}`,
    "virtiofs: the guest's memory is shared memory, in huge pages only where those of shared memory are switched on",
    ...(daemon.kind === 'c' && user.uid !== 0
      ? ["in directories by virtiofs, files of other users and groups show as nobody's"]
      : []),
    ...(daemon.kind === 'rust' ? ['virtiofs: what the host changes is seen within a second'] : []),
  ];
}
