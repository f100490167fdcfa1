/**
 * A guest that is namespaces of the host: the agent is process 1 of new user, PID, network, UTS, IPC, cgroup and
 * mount namespaces, made by the keeper (host-side/netns.c). There is no kernel of its own and no virtual machine. Pure.
 */

import { fixWith, key } from '../../../fix.ts';
import { hostTree, type MountSource, readOnlyHostTree } from '../../setup.ts';
import type { DriverInput, DriverPlan, Refusal } from '../driver.ts';

export function netnsArguments(input: DriverInput): DriverPlan {
  const { agentPath, layered, hostMounts, ownFiles } = input.namespaces!;
  return {
    // The directory names the guest in the process list, so that the process can be found whatever was lost.
    argv: [agentPath, '--namespaces', '3', `${input.dir}/`],
    // It is process 1 of a PID namespace already.
    contain: false,
    relay: true,
    wire: 'datagrams',
    disableTransparentHugePages: false,
    beside: [],
    mounts: {
      root: layered ? { kind: 'layered', mounts: hostMounts } : { kind: 'as-is', ownFiles },
      volumes: input.volumes.map(
        ({ source, readOnly }): MountSource => ({
          // From there it cannot be made writable again, by root of the guest either.
          source: `${readOnly ? readOnlyHostTree : hostTree}${source}`,
          type: '',
          flags: 'bind,rec',
          options: '',
        }),
      ),
    },
    notes: [
      "netns: the guest has the host's kernel, and no kernel of its own",
      'netns: memory is not limited; what was asked for is not kept to',
      ...(input.layout.vcpus.some(({ hostCpus }) => hostCpus.length > 0)
        ? ['netns: a program in the guest may undo its pins']
        : ['netns: the guest sees and uses all CPUs of the host']),
      ...(layered ? [] : ["netns: the root is the host's, read-only; only you exist in it as a user"]),
    ],
  };
}

/** Why namespaces cannot give this guest; undefined when they can. */
export function netnsRefusal({ spec, image }: Pick<DriverInput, 'spec' | 'image'>): Refusal | undefined {
  const fix = fixWith`use ${key('accelerator', 'kvm')}, uml or tcg`;
  if (image.kind !== 'linux')
    return { what: `an image of kind '${image.kind}': it has no kernel of its own`, fix, key: 'image' };
  if (spec.kernel !== undefined) return { what: "another kernel: it runs on the host's", fix, key: 'kernel' };
  if (image.root.kind !== 'host')
    return {
      what: "another root than the host's",
      fix: fixWith`${key('image', 'host')}, or ${fix}`,
      key: 'image',
    };
  if (spec['mount-type'] !== undefined) {
    return {
      what: `directories by ${spec['mount-type']}: the host's are there as they are`,
      fix: fixWith`leave out ${key('mount-type')}, or ${fix}`,
      key: 'mount-type',
    };
  }
  if (spec.append !== '') return { what: 'a kernel command line', fix, key: 'append' };
  if (spec.pages.host !== 'any') return { what: `${spec.pages.host} pages`, fix, key: 'pages' };
  if (spec.numa === 'mirror') return { what: 'NUMA nodes of its own', fix, key: 'numa' };
  if (spec.pci.length > 0)
    return { what: 'PCI functions of the host', fix: fixWith`use ${key('accelerator', 'kvm')}`, key: 'pci' };
  return undefined;
}
