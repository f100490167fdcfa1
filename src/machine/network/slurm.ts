/**
 * Trees of switches as Slurm has them: `topology.conf`, what `scontrol show topology` prints, and `topology.yaml`.
 * Format: topology.conf(5) and topology.yaml(5) of Slurm. Pure.
 */

import * as z from 'zod';
import { parseLocatedYaml } from '../../document.ts';
import { LodgeError } from '../../errors.ts';
import { expandHostList } from '../../host-list.ts';
import { printable } from '../../printable.ts';
import type { IrregularTree, Level } from './levels.ts';
import type { TreeVertex } from './links.ts';

interface Switch {
  name: string;
  switches: string[];
  nodes: string[];
  where: string;
}

/**
 * Reads lines `SwitchName=s1 Nodes=n[01-04]` and `SwitchName=top Switches=s[1-2]`; other keys (`Level`, `LinkSpeed`) are
 * passed over. `BlockName=b1 Nodes=…` is a switch with nodes, and all blocks are children of one.
 * @throws LodgeError `topology`, with file, line and column
 */
export function parseSlurmTopology(text: string, file: string): Level {
  const switches: Switch[] = [];
  for (const { whole, where } of linesOf(text, file)) {
    const content = whole.replace(/#.*$/, '');
    if (content.trim() === '') continue;
    const found = new Map<string, { value: string; at: number }>();
    for (const match of content.matchAll(/(\S+?)=(\S*)/g)) {
      const key = match[1]!.toLowerCase();
      if (found.has(key)) {
        throw new LodgeError('topology', `'${printable(match[1]!)}' comes twice in the line`, {
          where: where(match.index),
        });
      }
      found.set(key, { value: match[2]!, at: match.index + match[1]!.length + 1 });
    }
    const name = found.get('switchname') ?? found.get('blockname');
    if (name === undefined) {
      // scontrol prints what is made of several blocks, too; its nodes are in the lines of these.
      if (found.has('blocksizes') || found.has('topologyplugin') || found.has('aggregatedblock')) continue;
      throw new LodgeError('topology', `'${printable(content.trim()).slice(0, 40)}' is no switch`, {
        where: where(content.search(/\S/)),
        fix: 'lines are SwitchName=s1 Nodes=n[01-04], or SwitchName=top Switches=s[1-2]',
      });
    }
    const list = (key: string): string[] => {
      const entry = found.get(key);
      return entry === undefined || entry.value === '' ? [] : expandHostList(entry.value, where(entry.at));
    };
    // scontrol prints, beside the switches below one, all nodes that are below them.
    const below = list('switches').filter((child) => child !== '(null)');
    switches.push({
      name: name.value,
      switches: below,
      nodes: below.length > 0 ? [] : list('nodes'),
      where: where(name.at),
    });
  }
  return treeOfSwitches(switches, file);
}

/** A line with those that it goes on in, and where each of its characters stands in the file. */
interface WholeLine {
  whole: string;
  where: (column: number) => string;
}

/** Lines of a configuration of Slurm: one that ends in a backslash goes on in the next. */
function linesOf(text: string, file: string): WholeLine[] {
  const lines: WholeLine[] = [];
  let [whole, starts]: [string, number[]] = ['', []];
  const written = text.split(/\r?\n/);
  written.forEach((raw, i) => {
    starts.push(whole.length);
    const goesOn = raw.endsWith('\\') && i + 1 < written.length;
    whole += goesOn ? raw.slice(0, -1) : raw;
    if (goesOn) return;
    const [firstLine, ofLine] = [i + 2 - starts.length, starts];
    const where = (column: number): string => {
      const at = ofLine.findLastIndex((start) => start <= column);
      return `${file}:${firstLine + at}:${column - ofLine[at]! + 1}`;
    };
    lines.push({ whole, where });
    [whole, starts] = ['', []];
  });
  return lines;
}

const yamlSchema = z.array(
  z.object({
    topology: z.string(),
    cluster_default: z.boolean().optional(),
    tree: z
      .object({
        switches: z.array(
          z
            .object({ switch: z.string(), children: z.string().optional(), nodes: z.string().optional() })
            .strict(),
        ),
      })
      .strict()
      .optional(),
    block: z
      .object({
        block_sizes: z.array(z.number()).optional(),
        blocks: z.array(z.object({ block: z.string(), nodes: z.string().optional() }).strict()),
      })
      .strict()
      .optional(),
    flat: z.boolean().optional(),
  }),
);

/**
 * Reads `topology.yaml`: the default of the cluster, else the first one that is a tree or blocks.
 * @throws LodgeError
 */
export function parseSlurmYaml(text: string, file: string): Level {
  const { value, locate } = parseLocatedYaml(text, yamlSchema, file);
  const shaped = value
    .map((topology, i) => ({ topology, i }))
    .filter(({ topology }) => topology.tree ?? topology.block);
  const chosen = shaped.find(({ topology }) => topology.cluster_default === true) ?? shaped[0];
  if (chosen === undefined) {
    throw new LodgeError('topology', 'it has neither a tree nor blocks', { where: file });
  }
  const { topology, i } = chosen;
  const names = (written: string | undefined, path: PropertyKey[]): string[] =>
    written === undefined || written === '' ? [] : expandHostList(written, locate(path));
  const switches =
    topology.tree?.switches.map((one, j): Switch => {
      const path = [i, 'tree', 'switches', j];
      return {
        name: one.switch,
        switches: names(one.children, [...path, 'children']),
        nodes: names(one.nodes, [...path, 'nodes']),
        where: locate(path),
      };
    }) ??
    topology.block!.blocks.map((one, j): Switch => {
      const path = [i, 'block', 'blocks', j];
      return {
        name: one.block,
        switches: [],
        nodes: names(one.nodes, [...path, 'nodes']),
        where: locate(path),
      };
    });
  return treeOfSwitches(switches, file);
}

/** Switches above which there is none are joined by one that no file names. */
function treeOfSwitches(switches: readonly Switch[], file: string): Level {
  const byName = new Map<string, Switch>();
  for (const one of switches) {
    if (byName.has(one.name)) {
      throw new LodgeError('topology', `the switch '${printable(one.name)}' comes twice`, {
        where: one.where,
      });
    }
    byName.set(one.name, one);
  }
  const parentOf = new Map<string, Switch>();
  const hostOf = new Map<string, Switch>();
  for (const one of switches) {
    for (const child of one.switches) {
      if (!byName.has(child)) {
        throw new LodgeError('topology', `there is no switch '${printable(child)}'`, { where: one.where });
      }
      if (parentOf.has(child)) {
        throw new LodgeError('topology', `the switch '${printable(child)}' has two above it`, {
          where: one.where,
          fix: 'lodge reads trees; of a network that is none, write its fat tree as xgft:…',
        });
      }
      parentOf.set(child, one);
    }
    for (const node of one.nodes) {
      if (hostOf.has(node)) {
        const what = hostOf.get(node) === one ? 'comes twice' : 'is on two switches';
        throw new LodgeError('topology', `the node '${printable(node)}' ${what}`, { where: one.where });
      }
      hostOf.set(node, one);
    }
  }
  if (hostOf.size === 0) throw new LodgeError('topology', 'it has no nodes', { where: file });
  const roots = switches.filter(({ name }) => !parentOf.has(name));
  if (roots.length === 0) throw new LodgeError('topology', 'every switch is below another', { where: file });
  const vertices: TreeVertex[] = [];
  const names: string[] = [];
  const hosts: number[] = [];
  const hostPaths: number[][] = [];
  const waiting: { one: Switch; parent: number; depth: number; path: number[] }[] = [];
  if (roots.length > 1) {
    vertices.push({ parent: -1, depth: 0, width: 1, name: '(above all)' });
    roots.forEach((one, i) => {
      waiting.push({ one, parent: 0, depth: 1, path: [i] });
    });
  } else waiting.push({ one: roots[0]!, parent: -1, depth: 0, path: [] });
  let reached = 0;
  // In depth, so that nodes come in the order of the tree.
  waiting.reverse();
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { one, parent, depth, path } = next;
    reached++;
    const vertex = vertices.length;
    vertices.push({ parent, depth, width: 1, name: one.name });
    one.switches
      .map((child, i) => ({ one: byName.get(child)!, parent: vertex, depth: depth + 1, path: [...path, i] }))
      .reverse()
      .forEach((child) => {
        waiting.push(child);
      });
    one.nodes.forEach((node, i) => {
      hosts.push(vertices.length);
      vertices.push({ parent: vertex, depth: depth + 1, width: 1, name: node });
      names.push(node);
      hostPaths.push([...path, one.switches.length + i]);
    });
  }
  if (reached < switches.length) {
    throw new LodgeError('topology', 'some switches are below each other in a ring', { where: file });
  }
  const depths = Math.max(...hostPaths.map(({ length }) => length));
  const tree: IrregularTree = {
    vertices,
    hosts: Int32Array.from(hosts),
    paths: Array.from({ length: depths }, (_, depth) =>
      Int32Array.from(hostPaths, (path) => path[depth] ?? -1),
    ),
  };
  return { kind: 'tree', tree, names, weight: 1 };
}
