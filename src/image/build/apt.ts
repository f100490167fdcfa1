/**
 * Where this host gets its packages from, so that images are built from the same places and no mirror need be named.
 * Formats: sources.list(5), both the one-line style and deb822; apt.conf(5).
 */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LodgeError } from '../../errors.ts';
import { runProgram } from '../../process.ts';

/** One source: the fields of its deb822 stanza, as written; values may span lines. */
export type AptSource = ReadonlyMap<string, string>;

/** The stanzas of a deb822 file that name binary packages and are not switched off. */
export function parseDeb822(text: string): AptSource[] {
  const stanzas: Map<string, string>[] = [];
  let stanza = new Map<string, string>();
  let field = '';
  for (const line of [...text.split('\n'), '']) {
    if (line.startsWith('#')) continue;
    const match = /^([A-Za-z-]+):[ \t]*(.*)$/.exec(line);
    if (line.trim() === '') {
      if (stanza.size > 0) stanzas.push(stanza);
      stanza = new Map();
    } else if (match !== null) {
      field = canonicalFields.get(match[1]!.toLowerCase()) ?? match[1]!;
      stanza.set(field, match[2]!);
    } else if (field !== '') stanza.set(field, `${stanza.get(field)}\n${line}`);
  }
  return stanzas.filter((each) => wordsOf(each, 'Types').includes('deb') && each.get('Enabled') !== 'no');
}

/** The sources of a one-line file: `deb [OPTION=VALUE …] URI SUITE COMPONENT …`. */
export function parseOneLine(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)([^#]*)/.exec(line);
    if (match === null) continue;
    const [, options = '', uri = '', suite = '', components = ''] = match;
    const source = new Map([
      ['Types', 'deb'],
      ['URIs', uri],
      ['Suites', suite],
    ]);
    if (components.trim() !== '') source.set('Components', components.trim());
    for (const option of options.split(/\s+/)) {
      const [name = '', value = ''] = option.split('=');
      const field = oneLineOptions[name];
      if (field !== undefined) source.set(field, value.replaceAll(',', ' '));
    }
    sources.push(source);
  }
  return sources;
}

const oneLineOptions: Readonly<Record<string, string>> = {
  arch: 'Architectures',
  'signed-by': 'Signed-By',
  trusted: 'Trusted',
  'check-valid-until': 'Check-Valid-Until',
  'check-date': 'Check-Date',
};

const canonicalFields = new Map(
  ['Types', 'URIs', 'Suites', 'Components', 'Enabled', ...Object.values(oneLineOptions)].map((field) => [
    field.toLowerCase(),
    field,
  ]),
);

function wordsOf(source: AptSource, field: string): string[] {
  return (source.get(field) ?? '').split(/\s+/).filter((word) => word !== '');
}

/** All sources of this host. */
export function hostSources(directory = '/etc/apt'): AptSource[] {
  const read = (path: string): string => {
    try {
      return readFileSync(join(directory, path), 'utf8');
    } catch {
      return '';
    }
  };
  let names: string[] = [];
  try {
    names = readdirSync(join(directory, 'sources.list.d')).sort();
  } catch {
    // there need not be one
  }
  return [
    ...parseOneLine(read('sources.list')),
    ...names
      .filter((name) => name.endsWith('.list'))
      .flatMap((name) => parseOneLine(read(`sources.list.d/${name}`))),
    ...names
      .filter((name) => name.endsWith('.sources'))
      .flatMap((name) => parseDeb822(read(`sources.list.d/${name}`))),
  ];
}

/**
 * The sources for a suite as deb822 text: those among `sources` that have it or what belongs to it (`-updates`,
 * `-security`), or the mirror alone.
 * @throws LodgeError `image-build` when none has the suite
 */
export function sourcesText(
  base: { suite: string; components?: readonly string[]; mirror?: string },
  sources: readonly AptSource[],
): string {
  const { suite, components, mirror } = base;
  const chosen: AptSource[] = [];
  if (mirror !== undefined) {
    chosen.push(new Map([...mirrorFields, ['URIs', mirror], ['Suites', suite]]));
  } else {
    for (const source of sources) {
      const suites = wordsOf(source, 'Suites').filter(
        (each) => each === suite || each.startsWith(`${suite}-`) || each.startsWith(`${suite}/`),
      );
      if (suites.length > 0) chosen.push(new Map([...source, ['Suites', suites.join(' ')]]));
    }
  }
  if (!chosen.some((source) => wordsOf(source, 'Suites').includes(suite))) {
    throw new LodgeError('image-build', `this host has no package source for the suite '${suite}'`, {
      where: 'base.suite',
      fix: 'name one: base: {suite: …, mirror: URL}',
    });
  }
  return chosen
    .map((source) =>
      components === undefined ? source : new Map([...source, ['Components', components.join(' ')]]),
    )
    .map((source) => [...source].map(([field, value]) => `${field}: ${value}\n`).join(''))
    .join('\n');
}

const mirrorFields: readonly (readonly [string, string])[] = [
  ['Types', 'deb'],
  ['Components', 'main'],
];

/** How the host's apt fetches: proxies, certificates, checks of dates. Not what concerns only its own system. */
const fetchOption = /^Acquire::(?:https?|ftp|Proxy|Check-|Retries|ForceIP|AllowInsecure|Languages)/i;

/** The host's options for fetching packages, as text for apt.conf.d; empty without apt. */
export async function hostFetchOptions(): Promise<string> {
  const { stdout } = await runProgram(['apt-config', 'dump', '--no-empty']).catch(() => ({ stdout: '' }));
  return stdout
    .split('\n')
    .filter((line) => fetchOption.test(line))
    .map((line) => `${line}\n`)
    .join('');
}
