/** A plan for people, or as the JSON it is. */

import type { GuestPlan } from '../guest/plan.ts';
import { shellWord } from '../shell-words.ts';
import { formatCpuList, formatSize, formatTime } from '../units.ts';
import { printJson } from './print-json.ts';

export function printPlan(plan: GuestPlan, json: boolean): void {
  if (json) printJson(plan);
  else process.stdout.write(describePlan(plan));
}

function describePlan(plan: GuestPlan): string {
  const lines = [
    `guest        ${plan.name}, image ${plan.image.name} (${plan.image.kind})`,
    `accelerator  ${plan.accelerator} (driver ${plan.driver})`,
    `size         ${plan.cpus} vCPU${plan.cpus === 1 ? '' : 's'}, ${formatSize(plan.memoryBytes)}`,
    ...placementLines(plan),
    `boot limit   ${formatTime(plan.bootTimeoutMs)}`,
    `directory    ${plan.dir}`,
    ...plan.interfaces.map(
      ({ name, network, address, mac }) => `interface    ${name} in ${network}: ${address}, ${mac}`,
    ),
    ...plan.volumes.map(
      ({ source, target, readOnly }) =>
        `shares       ${source}${source === target ? '' : ` at ${target}`}${readOnly ? ', read-only' : ''}`,
    ),
    ...plan.notes.map((note) => `note         ${note}`),
    '',
    'command line:',
    ...wrapArguments(plan.argv),
    ...plan.beside.flatMap(({ what, socket, argv }) => [
      '',
      `beside it, for ${what}, with ${socket} as descriptor 3:`,
      ...wrapArguments(argv),
    ]),
  ];
  if (plan.setup.length > 0) {
    lines.push(
      '',
      'in the guest, before it is ready:',
      ...[...plan.setup, ...plan.volumeSetup].map((step) => `  ${step.map(shown).join(' ')}`),
    );
  }
  return `${lines.join('\n')}\n`;
}

function placementLines({ layout, verifyPlacement }: GuestPlan): string[] {
  if (!verifyPlacement) return ['placement    anywhere'];
  const { smp, pages, emulatorCpus } = layout;
  return [
    `topology     ${smp.sockets} sockets x ${smp.dies} dies x ${smp.cores} cores x ${smp.threads} threads`,
    ...layout.vcpus.map(
      ({ vcpu, hostCpus, guestNode }) =>
        `vCPU ${String(vcpu).padEnd(7)} ${hostCpus.length === 0 ? 'anywhere' : `CPU ${formatCpuList(hostCpus)}`}, NUMA node ${guestNode}`,
    ),
    ...layout.nodes.map(
      ({ id, hostNode, memoryBytes }) =>
        `NUMA node ${id}  ${formatSize(memoryBytes)} on host node ${hostNode ?? 'any'}, pages ${pages.host}`,
    ),
    `emulator     ${emulatorCpus.length === 0 ? 'anywhere' : `CPU ${formatCpuList(emulatorCpus)}`}`,
  ];
}

/** One option and its value per line. */
function wrapArguments(argv: readonly string[]): string[] {
  const lines: string[] = [];
  for (const argument of argv) {
    const quoted = shown(argument);
    const last = lines.at(-1);
    const isValue =
      !argument.startsWith('-') && last?.startsWith('    -') === true && !last.slice(4).includes(' ');
    if (isValue) lines[lines.length - 1] = `${last} ${quoted}`;
    else lines.push(`${lines.length === 0 ? '  ' : '    '}${quoted}`);
  }
  return lines.map((line, i) => (i < lines.length - 1 ? `${line} \\` : line));
}

/** A word as a shell takes it; control characters are shown, not sent. */
function shown(word: string): string {
  return shellWord(word).replaceAll('\n', '\\n');
}
