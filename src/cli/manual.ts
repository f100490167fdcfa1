/** The manual page and the reference pages, from the definitions of the command line, the errors and the spec. */

import type { Command } from 'commander';
import * as z from 'zod';
import { siteSpecSchema } from '../cluster/engine/site/spec.ts';
import { clusterSpecSchema } from '../cluster/spec.ts';
import { catalogue, exitCodes } from '../errors.ts';
import { guestSpecSchema } from '../guest/spec.ts';
import { studySpecSchema } from '../study/spec.ts';

function allVerbs(program: Command): Command[] {
  const visible = (command: Command): Command[] =>
    command
      .createHelp()
      .visibleCommands(command)
      .filter((verb) => verb.name() !== 'help');
  return visible(program).flatMap((verb) => {
    const parts = visible(verb);
    // A verb with parts is one itself when it can be told how to do something.
    const isVerb = parts.length === 0 || verb.options.some((option) => !option.hidden);
    return isVerb ? [verb, ...parts] : parts;
  });
}

function nameOf(verb: Command): string {
  const names: string[] = [];
  for (let at: Command | null = verb; at !== null; at = at.parent) names.unshift(at.name());
  return names.join(' ');
}

const exitMeaning: Record<keyof typeof exitCodes, string> = {
  guestDied: 'The guest died before its command ended.',
  timedOut: 'A time limit passed: the guest did not come up, or did not stop.',
  refused: 'lodge could not do what was asked; nothing was run.',
  notExecutable: 'The command could not be started in the guest.',
  notFound: 'The command does not exist in the guest.',
};

function exitRows(): [string, string][] {
  return [
    ['0', 'Done; of `run`, `exec` and `shell`: the command ended with 0.'],
    ['1', 'Of `doctor`: no guest can be booted here; of `study`: a run failed, and the report says which.'],
    ...Object.entries(exitMeaning).map(([name, meaning]): [string, string] => [
      String(exitCodes[name as keyof typeof exitCodes]),
      meaning,
    ]),
    ['128+n', 'The command ended by signal n.'],
    ['else', "The command's own."],
  ];
}

/** The manual page, in the man macros (man(7)). */
export function manualPage(program: Command): string {
  const lines = [
    '.TH LODGE 1',
    '.SH NAME',
    'lodge \\- boot any OS as a job',
    '.SH SYNOPSIS',
    'lodge [options] VERB ...',
  ];
  lines.push(
    '.SH OPTIONS',
    ...program.options.flatMap((option) => ['.TP', roff(option.flags), roff(option.description)]),
  );
  for (const verb of allVerbs(program)) {
    lines.push(`.SH ${roff(nameOf(verb).toUpperCase())}`, roff(`${nameOf(verb)} ${verb.usage()}`), '.PP');
    lines.push(roff(verb.description()));
    for (const option of verb.options) lines.push('.TP', roff(option.flags), roff(option.description));
  }
  lines.push(
    '.SH EXIT STATUS',
    ...exitRows().flatMap(([code, meaning]) => ['.TP', roff(code), roff(meaning)]),
  );
  return `${lines.join('\n')}\n`;
}

function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/, '\\&$1');
}

export function verbReference(program: Command): string {
  const sections = allVerbs(program).map((verb) => {
    const options = verb.options.map(
      (option) => `| \`${cell(option.flags)}\` | ${cell(option.description)} |`,
    );
    const usage = `\`\`\`\n${nameOf(verb)} ${verb.usage()}\n\`\`\``;
    const table = options.length === 0 ? [] : ['', '| flag | meaning |', '|---|---|', ...options];
    return [`## ${nameOf(verb)}`, '', verb.description(), '', usage, ...table].join('\n');
  });
  const globals = program.options.map(
    (option) => `| \`${cell(option.flags)}\` | ${cell(option.description)} |`,
  );
  return `# Verbs\n\nMade by \`lodge manual --markdown\`. [What \`--json\` prints](json.md). Flags before the verb:\n\n| flag | meaning |\n|---|---|\n${globals.join('\n')}\n\n${sections.join('\n\n')}\n`;
}

export function errorReference(): string {
  const exits = exitRows().map(([code, meaning]) => `| ${code} | ${cell(meaning)} |`);
  const errors = Object.entries(catalogue).map(
    ([code, entry]) => `| \`${code}\` | ${entry.exit} | ${entry.meaning} |`,
  );
  return `# Exit codes and errors\n\nMade by \`lodge manual --errors\`.\n\n## Exit codes\n\n| code | meaning |\n|---|---|\n${exits.join('\n')}\n\n## Errors\n\nEach message ends with its code in brackets; \`--json\` prints it as \`{"error": {"code": …}}\`.\n\n| error | exit code | meaning |\n|---|---|---|\n${errors.join('\n')}\n`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

/** What people write in files: one schema each, from which come the check, the page and the JSON Schema. */
const specs = {
  guest: {
    schema: guestSpecSchema,
    intro:
      '# The guest spec\n\nMade by `lodge manual --spec`. `lodge run --spec FILE` reads these keys as YAML; the flags of `lodge run` set the same ones. Sizes carry their unit (`512M`), times too (`30s`); unknown keys are refused. `lodge manual --schema` prints the JSON Schema for editors.',
  },
  study: {
    schema: studySpecSchema,
    intro:
      '# The study spec\n\nMade by `lodge manual --study-spec`. `lodge study --spec FILE` reads these keys as YAML; the flags of `lodge study` set the same ones. Unknown keys are refused. `lodge manual --study-schema` prints the JSON Schema for editors. [The guide](../guides/study.md) says what comes of them.',
  },
  cluster: {
    schema: clusterSpecSchema,
    intro:
      '# The cluster spec\n\nMade by `lodge manual --cluster-spec`. `lodge up FILE` and `lodge apply FILE` read these keys as YAML. Sizes, times, bandwidths (`10Gbit`), delays (`50us`, `10ms`) and percentages (`0.1%`) carry their unit; unknown keys are refused. `lodge manual --cluster-schema` prints the JSON Schema for editors. [The guide](../guides/clusters.md) says what comes of them.\n\nKeys of guests, roles and defaults are those of [the guest spec](spec.md), without `name`, and [those below](#a-guest-beside-the-keys-of-the-guest-spec).',
  },
  slurmSite: {
    schema: siteSpecSchema,
    intro:
      "# The site file of Slurm\n\nMade by `lodge manual --slurm-site`. `/etc/lodge/slurm.yaml`, where slurmctld runs, says which guests are nodes of the site's Slurm; `lodge slurm setup` and the programs that slurmctld runs read these keys as YAML. Sizes and times carry their unit; unknown keys are refused. `lodge manual --slurm-site-schema` prints the JSON Schema for editors. [The guide](../guides/slurm.md#nodes-of-the-sites-slurm) says what comes of them.",
  },
} as const;

export type SpecName = keyof typeof specs;

/** The JSON Schema of what people write (not of what it becomes). */
export function specSchema(name: SpecName): unknown {
  return z.toJSONSchema(specs[name].schema, {
    io: 'input',
    unrepresentable: 'any',
    // What has a pattern is a text, though a number is read, too, to be told what it lacks.
    override: ({ jsonSchema }) => {
      if (jsonSchema.pattern !== undefined) delete jsonSchema.anyOf;
    },
  });
}

export function specReference(name: SpecName): string {
  const schema = specSchema(name) as JsonSchema;
  const parts = name === 'cluster' ? clusterParts(schema) : name === 'slurmSite' ? siteParts(schema) : [];
  const sections = parts.map(([title, part]) => `\n## ${title}\n\n${keyTable(part)}`);
  return `${specs[name].intro}\n\n${keyTable(schema)}${sections.join('')}`;
}

interface JsonSchema {
  description?: string;
  default?: unknown;
  properties?: Record<string, JsonSchema>;
  additionalProperties?: JsonSchema;
  anyOf?: JsonSchema[];
}

function keyTable(schema: JsonSchema): string {
  const rows = Object.entries(schema.properties ?? {}).map(([key, property]) => {
    const preset = property.default === undefined ? '' : `\`${JSON.stringify(property.default)}\``;
    return `| \`${key}\` | ${cell(property.description ?? '')} | ${cell(preset)} |`;
  });
  return `| key | meaning | default |\n|---|---|---|\n${rows.join('\n')}\n`;
}

function siteParts(schema: JsonSchema): [title: string, part: JsonSchema][] {
  return [
    ['The network between v-nodes', schema.properties!.fabric!],
    ['V-nodes', schema.properties!.nodes!.additionalProperties!],
  ];
}

/** The mappings within the spec of a cluster that have keys of their own. */
function clusterParts(schema: JsonSchema): [title: string, part: JsonSchema][] {
  const withKeys = (part: JsonSchema): JsonSchema =>
    part.properties !== undefined ? part : part.anyOf!.find((one) => one.properties !== undefined)!;
  const network = schema.properties!.fabric!.additionalProperties!;
  const members = network.properties!.members!.anyOf!.find((one) => one.additionalProperties !== undefined)!;
  const member = withKeys(members.additionalProperties!);
  const ofAlone = (specSchema('guest') as JsonSchema).properties!;
  const guest = Object.entries(withKeys(schema.properties!.guests!.additionalProperties!).properties!);
  const inCluster = guest.filter(([key]) => !(key in ofAlone));
  return [
    ['A guest, beside the keys of the guest spec', { properties: Object.fromEntries(inCluster) }],
    ['A network', network],
    ['A member of a network', member],
    ['One direction of a link (`out`, `in`)', withKeys(member.properties!.out!)],
    ['A capture', withKeys(network.properties!.capture!)],
    ['Limits of a port', withKeys(network.properties!.limits!)],
    ['An uplink', withKeys(network.properties!.uplink!)],
    ['The end of its job (`on-end`)', schema.properties!['on-end']!],
  ];
}
