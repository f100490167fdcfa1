/**
 * What makes a text no document: faults of YAML in lodge's words, as the library's speak of its grammar; and what YAML
 * allows and lodge does not, because it is hardly ever meant.
 */

import {
  type Document,
  type ErrorCode,
  isCollection,
  isScalar,
  type Pair,
  type Scalar,
  visit,
  type YAMLError,
  type YAMLMap,
} from 'yaml';
import { quoted } from './printable.ts';

export interface YamlFault {
  message: string;
  fix: string;
  /** Offset in the text. */
  at: number;
  /** Offset of what it contradicts. */
  other?: number;
}

/** The first fault of a document; undefined where there is none. */
export function yamlFault(document: Document, text: string): YamlFault | undefined {
  const fault = document.errors[0];
  if (fault !== undefined) return grammarFault(fault, text);
  const found = faultyNode(document);
  if (found !== undefined) return found;
  const warning = document.warnings[0];
  return warning === undefined ? undefined : grammarFault(warning, text);
}

type Words = Pick<YamlFault, 'message' | 'fix'>;

const quoteRanges = "quote names with ranges between brackets or braces: 'v[01-04]'";

function grammarFault({ code, message, pos }: YAMLError, text: string): YamlFault {
  const [at] = pos;
  const { message: told, fix } = grammarWords[code](message, text.slice(at));
  // Between braces or brackets a bracket begins a list, unless it is quoted.
  const isRange = code === 'MISSING_CHAR' && text[at] === '[' && /[\w-]/.test(text[at - 1] ?? '');
  if (isRange) return { message: 'a bracket begins a list within this text', fix: quoteRanges, at };
  return { message: told, fix, at };
}

const words = (message: string, fix: string) => (): Words => ({ message, fix });

/** By the codes of the library; its message tells apart what has one code, and `rest` is the text from the fault on. */
const grammarWords: Record<ErrorCode, (message: string, rest: string) => Words> = {
  ALIAS_PROPS: words('an alias (*) has an anchor or tag of its own', 'leave these out'),
  BAD_ALIAS: words('* and & want the name of an anchor after them', 'quote the text if it is one'),
  BAD_COLLECTION_TYPE: words('the tag (!) is for something else than what follows it', 'leave the tag out'),
  BAD_DIRECTIVE: words(
    'a line that begins with % tells how to read YAML, and this one is not known',
    'leave it out',
  ),
  BAD_DQ_ESCAPE: (_, rest) => ({
    message: `${quoted(rest.slice(0, 2))} means nothing between double quotes`,
    fix: "use single quotes ('…'), or double the backslash",
  }),
  BAD_INDENT: (message) => unclosed(message) ?? badIndent,
  BAD_PROP_ORDER: words('an anchor (&) or tag (!) stands before the dash or colon', 'put it after'),
  BAD_SCALAR_START: (_, rest) => ({
    message: `a text cannot begin with ${rest[0]} unless it is quoted`,
    fix: 'put it in quotes',
  }),
  BLOCK_AS_IMPLICIT_KEY: (message) =>
    message.startsWith('A block sequence')
      ? { message: 'a list stands where a key should', fix: 'write KEY: VALUE' }
      : {
          message: 'a second colon makes this a mapping in the same line',
          fix: 'put the inner KEY: VALUE in a line of its own, indented; or quote the text: "a: b"',
        },
  BLOCK_IN_FLOW: words(
    'between brackets or braces there are no indented lists',
    'use [a, b] and {a: b} there',
  ),
  DUPLICATE_KEY: words('a key is written twice', 'keep one of them'),
  IMPOSSIBLE: words('this cannot be read as YAML', 'look at this line and the one before'),
  KEY_OVER_1024_CHARS: words(
    'a key is longer than 1024 characters',
    'look whether a quote or colon is missing',
  ),
  MISSING_CHAR: missingCharacter,
  MULTILINE_IMPLICIT_KEY: words(
    'a key goes over several lines',
    'look whether a colon, or the space after it, is missing here',
  ),
  MULTIPLE_ANCHORS: words('a value has two anchors (&)', 'keep one'),
  MULTIPLE_DOCS: words('a second document begins here (---)', 'put it in a file of its own'),
  MULTIPLE_TAGS: words('a value has two tags (!)', 'keep one'),
  NON_STRING_KEY: words('a list or mapping stands where a name should', quoteRanges),
  RESOURCE_EXHAUSTION: words('lists and mappings lie too deep in one another', 'close the inner ones'),
  TAB_AS_INDENT: words('a tab is used to indent', 'indent with spaces: YAML takes no tabs there'),
  TAG_RESOLVE_FAILED: (_, rest) => ({
    message: `the tag ${quoted(/^\S*/.exec(rest)![0])} is not known`,
    fix: 'leave it out; a text that begins with ! needs quotes',
  }),
  UNEXPECTED_TOKEN: (message, rest) =>
    message.startsWith('Block scalar header')
      ? {
          message: 'there is more than | or > in the line that begins a text',
          fix: 'begin it in the next line',
        }
      : {
          message: `${quoted(/^[^\s,\]}]+|^\S?/.exec(rest)![0])} cannot stand here`,
          fix: 'look for a missing comma, quote or bracket before it; a text with such characters needs quotes',
        },
};

const badIndent: Words = {
  message: 'this line is indented unlike others of its list or mapping',
  fix: 'indent all entries of a list or mapping alike',
};

/** Of a list or mapping between brackets that has no end. */
function unclosed(message: string): Words | undefined {
  const end = /end with a ([\]}])/.exec(message)?.[1];
  if (end === undefined) return undefined;
  const [what, begin] = end === ']' ? ['list', '['] : ['mapping', '{'];
  return {
    message: `a ${what} that begins with ${begin} is not closed`,
    fix: `close it with ${end}, and indent its lines`,
  };
}

function missingCharacter(message: string): Words {
  const quote = /closing (['"])quote/.exec(message)?.[1];
  if (quote !== undefined)
    return { message: 'a text in quotes is not closed', fix: `close it with ${quote} in its line` };
  if (/^Missing ,/.test(message))
    return { message: 'a comma is missing between two entries', fix: 'write [a, b] or {a: 1, b: 2}' };
  if (message.startsWith('Missing space'))
    return { message: 'a space is missing after a colon', fix: 'write KEY: VALUE' };
  if (message.startsWith('Comments'))
    return { message: 'a space is missing before #', fix: 'write it; or quote the text, if # is part of it' };
  if (message.startsWith('Implicit map keys'))
    return { message: 'a key has no colon after it', fix: 'write KEY: VALUE, or - ENTRY in a list' };
  if (message.startsWith('Sequence item'))
    return { message: 'an entry of a list has no dash', fix: 'write - ENTRY' };
  if (message.startsWith('Tags and anchors'))
    return { message: 'a space is missing after an anchor (&) or tag (!)', fix: 'write it' };
  return (
    unclosed(message) ?? { message: 'a line begins with %', fix: 'leave it out, or end such lines with ---' }
  );
}

/** Keys that are there twice, merge keys, and aliases of nothing: what the library lets pass, or finds without a place. */
function faultyNode(document: Document): YamlFault | undefined {
  const anchors = new Set<string>();
  let found: YamlFault | undefined;
  const note = ({ anchor }: { anchor?: string }): void => {
    if (anchor !== undefined) anchors.add(anchor);
  };
  visit(document, {
    Scalar: (_, scalar) => note(scalar),
    Seq: (_, list) => note(list),
    Map: (_, map) => {
      note(map);
      found = faultyKey(map);
      return found === undefined ? undefined : visit.BREAK;
    },
    Alias: (_, { source, range }, around) => {
      const isWithin = around.some((node) => isCollection(node) && node.anchor === source);
      if (anchors.has(source) && !isWithin) return undefined;
      found = {
        message: isWithin
          ? `*${source} stands within what it stands for`
          : `there is no anchor &${source} before this`,
        fix: isWithin
          ? 'write out what is meant'
          : 'write it where the value is first: &NAME VALUE; or quote the text, if it begins with *',
        at: range?.[0] ?? 0,
      };
      return visit.BREAK;
    },
  });
  return found;
}

/** With a table of its own: the library compares each key with all others, which of thousands takes minutes. */
function faultyKey(map: YAMLMap): YamlFault | undefined {
  const seen = new Map<string, Scalar>();
  for (const { key } of map.items as Pair[]) {
    if (!isScalar(key)) continue;
    const name = String(key.value);
    const [at] = key.range ?? [0];
    if (name === '<<' && key.type === 'PLAIN') {
      return {
        message: 'YAML 1.2 has no merge keys (<<)',
        fix: 'write the keys out, or take a whole mapping by its alias (b: *a); in a cluster spec, defaults and roles hold what guests share',
        at,
      };
    }
    const first = seen.get(name);
    if (first !== undefined) {
      return {
        message: `${quoted(name)} is written twice`,
        fix: 'keep one of them, with what both say',
        at,
        ...(first.range == null ? {} : { other: first.range[0] }),
      };
    }
    seen.set(name, key);
  }
  return undefined;
}
