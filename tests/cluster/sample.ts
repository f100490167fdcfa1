/** Clusters from YAML, without a host. */

import { parseAsGraph } from '../../src/cluster/as-graph.ts';
import {
  type ClusterOutline,
  type ClusterPlan,
  completeCluster,
  outlineCluster,
  readClusterSpec,
} from '../../src/cluster/plan.ts';
import { LodgeError } from '../../src/errors.ts';

export function outline(text: string, graphs: Record<string, string> = {}): ClusterOutline {
  const asGraphs = new Map(
    Object.entries(graphs).map(([file, content]) => [file, parseAsGraph(content, file)]),
  );
  const document = readClusterSpec(text, 'lab.yaml');
  return outlineCluster({
    document,
    file: '/home/u/lab.yaml',
    asGraphs,
    guestsDir: '/run/g',
    cwd: '/home/u',
    home: '/home/u',
  });
}

export function cluster(text: string): ClusterPlan {
  return completeCluster(outline(text), ({ spec }) => ({
    accelerator: spec.accelerator === 'auto' ? 'uml' : spec.accelerator,
    imageId: 'host',
    hasAgent: true,
  }));
}

/** The error that something throws. */
export function faultOf(action: () => unknown): LodgeError {
  try {
    action();
  } catch (error) {
    if (error instanceof LodgeError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}
