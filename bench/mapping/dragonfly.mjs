/**
 * A dragonfly as a graph of hosts and routers, for Scotch's `amk_grf`, which measures distances by going through it.
 * Hosts come first. A few ways over two global links are shorter there than the one that lodge counts.
 */
export function dragonflyGraph({ routers, hosts, globals }) {
  const groups = routers * globals + 1;
  const count = groups * routers * hosts;
  const neighbours = Array.from({ length: count + groups * routers }, () => []);
  const join = (a, b) => {
    neighbours[a].push(b);
    neighbours[b].push(a);
  };
  const router = (group, one) => count + group * routers + one;
  for (let group = 0; group < groups; group++) {
    for (let one = 0; one < routers; one++) {
      for (let host = 0; host < hosts; host++)
        join((group * routers + one) * hosts + host, router(group, one));
      for (let other = one + 1; other < routers; other++) join(router(group, one), router(group, other));
    }
    for (let l = 0; l < groups - 1; l++) {
      const other = (group + l + 1) % groups;
      if (other > group) {
        join(router(group, Math.floor(l / globals)), router(other, Math.floor((groups - 2 - l) / globals)));
      }
    }
  }
  const arcs = neighbours.reduce((sum, list) => sum + list.length, 0);
  const lines = neighbours.map((list) => `${list.length} ${list.join(' ')}`);
  const graph = `0\n${neighbours.length} ${arcs}\n0 000\n${lines.join('\n')}\n`;
  return { graph, hosts: `${count}\n${Array.from({ length: count }, (_, host) => host).join('\n')}\n` };
}
