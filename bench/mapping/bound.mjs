/**
 * What no placement can be below: each rank has one of the places as its own, and those it talks with are, at best, in
 * the places nearest to that one, the heaviest in the nearest. Half of what all ranks have so, for each pair is in two.
 */

import { readFileSync } from 'node:fs';

/** Hops from one place to all others, the nearest first. All places of these networks see the same. */
function hopsFrom(topology) {
  const [level, inside] = topology.split('/');
  const [name, sizes] = level.split(':');
  const slots = inside === undefined ? 1 : Number(inside.replace('slots:', ''));
  let hops = [0];
  if (name === 'torus') {
    for (const side of sizes.split('x').map(Number)) {
      const along = Array.from({ length: side }, (_, by) => Math.min(by, side - by));
      hops = hops.flatMap((so) => along.map((more) => so + more));
    }
  } else if (name === 'xgft') {
    for (const [depth, children] of sizes.split('x').map(Number).entries()) {
      hops = [...hops, ...Array(hops.length * (children - 1)).fill(2 * (depth + 1))];
    }
  } else {
    const { a, p, h } = Object.fromEntries(sizes.split(',').map((one) => one.split('=')));
    // By routers; 2 hops in one's own, and to it and from it.
    const routers = [2, ...Array(a - 1).fill(3)];
    // Over a global link of one's own router or of another in the group, and there to its end or another router.
    for (const [links, local] of [
      [h, 0],
      [h * (a - 1), 1],
    ]) {
      routers.push(...Array(links).fill(3 + local), ...Array(links * (a - 1)).fill(4 + local));
    }
    hops = routers.flatMap((so) => Array(Number(p)).fill(so));
    hops[0] = 0;
  }
  const all = hops.flatMap((so) => Array(slots).fill(so)).sort((one, other) => one - other);
  // Less the rank itself.
  return all.slice(1);
}

/** @param file a graph as `lodge place generate` writes it @returns hops for each byte */
export function leastHops(file, topology) {
  const hops = hopsFrom(topology);
  const lines = readFileSync(file, 'utf8').trim().split('\n').slice(3);
  let [sum, bytes] = [0, 0];
  for (const line of lines) {
    const [, ...row] = line.trim().split(/\s+/).map(Number);
    const weights = row.filter((_, i) => i % 2 === 0).sort((one, other) => other - one);
    weights.forEach((weight, i) => {
      sum += weight * hops[i];
      bytes += weight;
    });
  }
  return sum / bytes;
}
