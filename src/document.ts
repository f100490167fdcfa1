/** YAML that people write, checked against a schema; every fault is told with file, line, column and key. */

import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseDocument,
  type YAMLMap,
} from 'yaml';
import type * as z from 'zod';
import { readAtMost } from './bounded-file.ts';
import { checkValue } from './check-value.ts';
import { LodgeError } from './errors.ts';
import type { Locate } from './value-faults.ts';
import { yamlFault } from './yaml-faults.ts';

/** What people write by hand is smaller; a device or a disk image named by mistake is not. */
const documentLimitBytes = 4 * 1024 * 1024;

/**
 * The text of a file that a person wrote.
 * @param where what errors name it by
 * @throws LodgeError `usage` when it cannot be read, or is larger than 4 MiB
 */
export function readDocument(file: string, where: string): string {
  let bytes: Buffer | undefined;
  try {
    bytes = readAtMost(file, documentLimitBytes);
  } catch (cause) {
    const { code = '', message } = cause as NodeJS.ErrnoException;
    const what = unreadable[code] ?? `it cannot be read: ${message}`;
    throw new LodgeError('usage', what, { where, fix: 'check the path', cause });
  }
  const fix = 'name the file that was meant';
  if (bytes === undefined) {
    throw new LodgeError('usage', 'it is larger than the 4 MiB a document may have', { where, fix });
  }
  return textOf(bytes, where, fix);
}

const unreadable: Record<string, string> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file',
  EISDIR: 'it is a directory',
  EACCES: 'you may not read it',
};

/** @throws LodgeError `usage` for what is no text */
function textOf(bytes: Buffer, where: string, fix: string): string {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    throw new LodgeError('usage', 'it is text in UTF-16', { where, fix: 'save it as UTF-8' });
  }
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (!text.includes('\0')) return text;
  } catch {
    // Told below.
  }
  throw new LodgeError('usage', 'it is no text in UTF-8', { where, fix });
}

/**
 * Parses YAML text and checks it against a schema.
 * @param file name used in errors
 * @throws LodgeError `spec-syntax`, `spec-unknown-key` or `spec-value`, `where` being `file:line:column`
 */
export function parseYaml<S extends z.ZodType>(text: string, schema: S, file: string): z.output<S> {
  return parseLocatedYaml(text, schema, file).value;
}

/** What a file says, and where it says it. */
export interface LocatedDocument<T> {
  value: T;
  /** As it was written, without defaults. */
  written: unknown;
  /** `file:line:column` of what is at a path in `written`. */
  locate: Locate;
}

/** As {@link parseYaml}, for specs that are checked further: faults found later are told with their place too. */
export function parseLocatedYaml<S extends z.ZodType>(
  text: string,
  schema: S,
  file: string,
): LocatedDocument<z.output<S>> {
  const lines = new LineCounter();
  // Names stay as they are written: 01 is no number. Keys that are there twice are found otherwise.
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: false, stringKeys: true });
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const fault = yamlFault(document, text);
  if (fault !== undefined) {
    const { message, fix, at, other } = fault;
    const detail = other === undefined ? {} : { detail: `the first time: ${place(other)}` };
    throw new LodgeError('spec-syntax', message, { where: place(at), ...detail, fix });
  }
  let value: unknown;
  try {
    // An empty file asks for nothing: every key has its default, or is missed by its name.
    value = document.toJS({ maxAliasCount: 100 }) ?? {};
  } catch (cause) {
    throw new LodgeError('spec-syntax', 'its anchors (&) and aliases (*) stand for more than lodge reads', {
      where: file,
      fix: 'write out what is meant',
      cause,
    });
  }
  const offsetOf = locator(document);
  const locate: Locate = (path, part) => {
    const offset = offsetOf(path, part);
    return offset === undefined ? file : place(offset);
  };
  return { value: checkValue(value, schema, locate), written: value, locate };
}

/** Where in the text a path is: its value or its key; of a path that is not there, the last part that is. */
function locator(
  document: Document,
): (path: readonly PropertyKey[], part?: 'key' | 'value') => number | undefined {
  const tables = new WeakMap<YAMLMap, Map<string, Pair>>();
  const pairOf = (map: YAMLMap, name: string): Pair | undefined => {
    let table = tables.get(map);
    if (table === undefined) {
      const items = map.items as Pair[];
      table = new Map(items.map((pair) => [isScalar(pair.key) ? String(pair.key.value) : '', pair]));
      tables.set(map, table);
    }
    return table.get(name);
  };
  const offsetOf = (node: unknown): number | undefined => (isNode(node) ? node.range?.[0] : undefined);
  return (path, part) => {
    let node: unknown = document.contents;
    let key: unknown;
    let offset = offsetOf(node);
    for (const step of path) {
      if (isAlias(node)) node = node.resolve(document);
      key = undefined;
      if (isMap(node)) {
        const pair = pairOf(node, String(step));
        if (pair === undefined) return offset;
        ({ key, value: node } = pair);
      } else if (isSeq(node)) node = node.items[Number(step)];
      else return offset;
      offset = offsetOf(node) ?? offsetOf(key) ?? offset;
    }
    return part === 'key' ? (offsetOf(key) ?? offset) : offset;
  };
}
