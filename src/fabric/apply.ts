/**
 * Makes a fabric what a plan says. First all that can fail is tried (checks, opening ends and captures), then the
 * graph is changed, which cannot: so a plan is applied whole or not at all. What is the same before and after is not
 * touched; frames on their way over it go on.
 *
 * Only a capture that takes the place of another on its link is opened after that one was closed, since both may write
 * the same files. When it cannot be opened then, that is told as an event.
 */

import { isDeepStrictEqual } from 'node:util';
import { checkPlan } from './check-plan.ts';
import type { ApplyResult } from './control.ts';
import type { Graph } from './graph.ts';
import type { Link, Network } from './network.ts';
import type { Capture } from './observer.ts';
import type { FabricPlan, LinkPlan, NetworkPlan, PortPlan, SwitchLinkPlan } from './plan.ts';
import { frameOverheadBytes, stormBucket } from './port.ts';
import type { PortContext, PortEnd } from './port-end.ts';

/** What the graph is given from outside. */
export interface Openers {
  openEnd(plan: PortPlan, context: PortContext): PortEnd;
  openCapture(link: LinkPlan): Capture;
}

/** What was opened and is not yet in the graph. */
interface Opened {
  ends: Map<string, PortEnd>;
  captures: Map<string, Capture>;
}

/**
 * @param previous the plan applied before
 * @throws LodgeError with nothing changed
 */
export async function applyPlan(
  graph: Graph,
  plan: FabricPlan,
  previous: FabricPlan | undefined,
  openers: Openers,
): Promise<ApplyResult> {
  checkPlan(plan);
  const before = linkPlans(previous);
  const after = linkPlans(plan);
  const isKept = (name: string) => {
    const [old, now] = [before.get(name), after.get(name)];
    return old !== undefined && now !== undefined && graph.links.has(name) && isSameLink(old, now);
  };
  const opened = openAll(graph, plan, isKept, openers);

  const result: ApplyResult = { added: [], removed: [], changed: [] };
  const closing: Promise<void>[] = [];
  const isSameCapture = (name: string) =>
    isKept(name) && isDeepStrictEqual(before.get(name)?.plan.capture, after.get(name)?.plan.capture);
  const late = new Set<string>();
  for (const { name } of graph.links.values()) {
    if (!graph.captures.has(name) || isSameCapture(name)) continue;
    closing.push(closeCapture(graph, graph.link(name)));
    if (after.get(name)?.plan.capture !== undefined) late.add(name);
  }
  for (const link of [...graph.links.values()]) {
    if (isKept(link.name)) continue;
    graph.removeLink(link);
    result.removed.push(link.name);
  }
  graph.setSeed(plan.seed);
  const wanted = new Set(plan.networks.map(({ name }) => name));
  for (const network of [...graph.networks.values()]) {
    if (!wanted.has(network.name)) graph.removeNetwork(network);
  }
  for (const networkPlan of plan.networks) {
    const network = graph.setNetwork(networkPlan);
    for (const link of networkPlan.links) {
      if (!isKept(link.link.name)) addSwitchLink(graph, network, link, result);
    }
    graph.setRoutes(network);
    for (const port of networkPlan.ports) {
      const { name } = port.link;
      if (!isKept(name)) {
        graph.addPort(port, network, opened.ends.get(name)!);
        result.added.push(name);
      }
      if (setPort(graph, graph.link(name), port) && isKept(name)) result.changed.push(name);
    }
    for (const { link } of networkPlan.links) {
      if (setLink(graph, graph.link(link.name), link) && isKept(link.name)) result.changed.push(link.name);
    }
  }
  for (const [name, capture] of opened.captures) graph.setCapture(graph.link(name), capture);
  await Promise.all(closing);
  for (const name of late) {
    try {
      graph.setCapture(graph.link(name), openers.openCapture(after.get(name)!.plan));
    } catch (error) {
      graph.tell(name, { kind: 'capture-failed', detail: (error as Error).message }, false);
    }
  }
  return result;
}

interface LinkInPlan {
  plan: LinkPlan;
  network: NetworkPlan;
  port?: PortPlan;
  between?: [string, string];
}

function linkPlans(plan: FabricPlan | undefined): Map<string, LinkInPlan> {
  const links = new Map<string, LinkInPlan>();
  for (const network of plan?.networks ?? []) {
    for (const { link, a, b } of network.links) {
      links.set(link.name, { plan: link, network, between: [network.switches[a]!, network.switches[b]!] });
    }
    for (const port of network.ports) links.set(port.link.name, { plan: port.link, network, port });
  }
  return links;
}

/** Whether a link joins the same as before: then it is changed, not replaced. */
function isSameLink(a: LinkInPlan, b: LinkInPlan): boolean {
  if (a.network.name !== b.network.name || !isDeepStrictEqual(a.between, b.between)) return false;
  if (a.port === undefined || b.port === undefined) return a.port === b.port;
  if (a.network.mtuBytes !== b.network.mtuBytes || a.network.subnet !== b.network.subnet) return false;
  const [before, after] = [a.port.end, b.port.end];
  // Who is behind a trunk comes and goes.
  if (before.kind === 'trunk' && after.kind === 'trunk') return before.host === after.host;
  return isDeepStrictEqual(before, after);
}

function openAll(
  graph: Graph,
  plan: FabricPlan,
  isKept: (name: string) => boolean,
  openers: Openers,
): Opened {
  const opened: Opened = { ends: new Map(), captures: new Map() };
  try {
    for (const network of plan.networks) {
      const { name, subnet, mtuBytes } = network;
      for (const port of network.ports) {
        if (isKept(port.link.name)) continue;
        opened.ends.set(port.link.name, openers.openEnd(port, { network: name, subnet, mtuBytes, port }));
      }
      for (const { link } of [...network.ports, ...network.links]) {
        // One that runs is gone on with, or replaced later.
        if (link.capture === undefined || graph.captures.has(link.name)) continue;
        opened.captures.set(link.name, openers.openCapture(link));
      }
    }
    return opened;
  } catch (error) {
    for (const end of opened.ends.values()) end.stop();
    for (const capture of opened.captures.values()) void capture.close().catch(() => {});
    throw error;
  }
}

function addSwitchLink(
  graph: Graph,
  network: Network,
  { link, a, b }: SwitchLinkPlan,
  result: ApplyResult,
): void {
  graph.addSwitchLink(link.name, network, network.switches[a]!, network.switches[b]!);
  result.added.push(link.name);
}

/** @returns whether anything was not so already */
function setPort(graph: Graph, link: Link, plan: PortPlan): boolean {
  const port = link.port!;
  let isChanged = false;
  if (!isDeepStrictEqual(port.plan.limits, plan.limits)) {
    port.mostMacs = plan.limits.macs;
    port.storm = stormBucket(plan);
    isChanged = true;
  }
  const isOther = !isDeepStrictEqual(port.plan.end, plan.end);
  port.plan = plan;
  if (isOther) graph.claimAgain(port);
  port.longestFrameBytes = link.network.mtuBytes + frameOverheadBytes;
  const wanted = link.network.switches[plan.switch]!;
  if (port.switch !== wanted) {
    graph.move(link, wanted.name);
    isChanged = true;
  }
  return setLink(graph, link, plan.link) || isOther || isChanged;
}

function setLink(graph: Graph, link: Link, plan: LinkPlan): boolean {
  let isChanged = false;
  for (const name of ['out', 'in'] as const) {
    if (isDeepStrictEqual(link[name].shape, plan[name])) continue;
    graph.setShape(link, name, plan[name]);
    isChanged = true;
  }
  if (link.out.isCut !== plan.isCut || link.in.isCut !== plan.isCut) {
    graph.setCut(link, undefined, plan.isCut);
    isChanged = true;
  }
  return isChanged;
}

async function closeCapture(graph: Graph, link: Link): Promise<void> {
  try {
    await graph.takeCapture(link)?.close();
  } catch (error) {
    graph.tell(link.name, { kind: 'capture-failed', detail: (error as Error).message }, false);
  }
}
