/**
 * What the processes of a guest have of the host's network: looked at from the outside, in /proc (proc(5),
 * network_namespaces(7)). Looking and judging are apart.
 */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { formatCount } from '../../units.ts';
import type { IsolationFinding } from './finding.ts';

/** One process as it was found; a process that went meanwhile is none. */
export interface ProcessNetwork {
  pid: number;
  program: string;
  /** Identity of its network namespace, as /proc/PID/ns/net gives it. */
  namespace: string;
  /** Names of all interfaces there. */
  interfaces: string[];
  /** Routes beyond loopback, IPv4 and IPv6. */
  routes: number;
}

/** The process and all its descendants, whatever namespaces they are in. */
export function networksOfProcesses(pid: number): ProcessNetwork[] {
  return [pid, ...descendants(pid)].map(networkOf).filter((found) => found !== undefined);
}

/** Identity of the network namespace that this process is in. */
export function ownNamespace(): string {
  return readlinkSync('/proc/self/ns/net');
}

function descendants(pid: number): number[] {
  let children: number[] = [];
  try {
    children = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1')
        .split(' ')
        .filter((text) => text !== '')
        .map(Number),
    );
  } catch {
    // It went meanwhile, and what it had is its parent's now.
  }
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function networkOf(pid: number): ProcessNetwork | undefined {
  try {
    const namespace = readlinkSync(`/proc/${pid}/ns/net`);
    const text = (name: string): string => readFileSync(`/proc/${pid}/net/${name}`, 'latin1');
    return {
      pid,
      program: readFileSync(`/proc/${pid}/comm`, 'utf8').trim(),
      namespace,
      interfaces: interfaceNames(text('dev')),
      routes: countRoutes(text('route'), textIfThere(`/proc/${pid}/net/ipv6_route`)),
    };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

function textIfThere(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** Two lines of headings, then `  NAME: counters`. */
export function interfaceNames(dev: string): string[] {
  return dev
    .split('\n')
    .slice(2)
    .filter((line) => line.includes(':'))
    .map((line) => line.slice(0, line.indexOf(':')).trim());
}

/** @param route lines after a heading; @param ipv6Route lines that end with the interface's name */
export function countRoutes(route: string, ipv6Route: string): number {
  const beyond = (line: string, name: string | undefined): boolean => line.trim() !== '' && name !== 'lo';
  const ipv4 = route.split('\n').slice(1);
  return (
    ipv4.filter((line) => beyond(line, line.split('\t')[0])).length +
    ipv6Route.split('\n').filter((line) => beyond(line, line.trim().split(/\s+/).at(-1))).length
  );
}

export interface GuestProcesses {
  guest: string;
  /** Interfaces that its own processes may have, because they are the guest's: of a guest that is namespaces. */
  allowed: readonly string[];
  processes: readonly ProcessNetwork[];
}

/**
 * The namespace of a cluster's bridges: nothing of the host's, and no address of its own.
 * @param planned names of devices that may be there
 */
export function judgeBridges(
  subject: string,
  { pid, program, namespace, interfaces, routes }: ProcessNetwork,
  planned: ReadonlySet<string>,
  hostNamespace: string,
): IsolationFinding {
  const fail = (found: string): IsolationFinding => ({ verdict: 'fail', subject, found });
  if (namespace === hostNamespace)
    return fail(`process ${pid} (${program}) has the bridges in the host's namespace`);
  const others = interfaces.filter((name) => name !== 'lo' && !planned.has(name));
  if (others.length > 0)
    return fail(`beside the bridges are devices that nobody planned: ${others.join(', ')}`);
  if (routes > 0)
    return fail(`the kernel itself takes part: the bridges have ${formatCount(routes, 'route')}`);
  return {
    verdict: 'pass',
    subject,
    found:
      'bridges of the kernel, in a network namespace of their own: no route, and only the devices of guests',
  };
}

/** What the processes of one guest may not have. @param hostNamespace the network namespace of the host */
export function judgeProcesses(
  { guest, allowed, processes }: GuestProcesses,
  hostNamespace: string,
): IsolationFinding[] {
  const open: IsolationFinding[] = [];
  const fail = (found: string): void => {
    open.push({ verdict: 'fail', subject: guest, found });
  };
  if (processes.length === 0) fail('no process of it was found, so nothing can be said of it');
  for (const { pid, program, namespace, interfaces, routes } of processes) {
    const who = `process ${pid} (${program})`;
    if (namespace === hostNamespace) {
      fail(`${who} is in the host's network namespace`);
      continue;
    }
    const others = interfaces.filter((name) => name !== 'lo' && !allowed.includes(name));
    if (others.length > 0) fail(`${who} has interfaces that are not the guest's: ${others.join(', ')}`);
    if (routes > 0 && allowed.length === 0)
      fail(`${who} has ${formatCount(routes, 'route')} beyond loopback`);
  }
  if (open.length > 0) return open;
  const namespaces = new Set(processes.map(({ namespace }) => namespace)).size;
  const what = allowed.length === 0 ? 'only lo and no route' : `only lo and ${allowed.join(', ')}`;
  return [
    {
      verdict: 'pass',
      subject: guest,
      found: `${formatCount(processes.length, 'process', 'processes')} in ${formatCount(namespaces, 'network namespace')} of its own: ${what}`,
    },
  ];
}

/** Guests may share no namespace with each other. */
export function judgeSeparation(guests: readonly GuestProcesses[]): IsolationFinding[] {
  const owners = new Map<string, Set<string>>();
  for (const { guest, processes } of guests) {
    for (const { namespace } of processes) {
      owners.set(namespace, (owners.get(namespace) ?? new Set()).add(guest));
    }
  }
  return [...owners.values()]
    .filter((names) => names.size > 1)
    .map((names) => ({
      verdict: 'fail',
      subject: [...names].join(', '),
      found: 'they share a network namespace',
    }));
}
