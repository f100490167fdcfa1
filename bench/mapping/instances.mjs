/** What is mapped onto what. */

const grids = {
  512: { two: '16x32', three: '8x8x8' },
  4096: { two: '64x64', three: '16x16x16' },
  32768: { two: '128x256', three: '32x32x32' },
};

const patternsOf = (ranks) => [
  `halo5:${grids[ranks].two}`,
  `halo7:${grids[ranks].three}`,
  `halo27:${grids[ranks].three}`,
  `geometric:${ranks}`,
  `power-law:${ranks}`,
  `butterfly:${ranks}`,
  `groups:${ranks}/16`,
  `cg:${ranks}`,
  `mg:${grids[ranks].three}`,
  // Its 12.5 million pairs of 32,768 ranks are left out.
  ...(ranks < 32_768 ? [`ft:${ranks}`] : []),
];

const onTori = Object.entries(grids).flatMap(([count, { three }]) =>
  patternsOf(Number(count)).map((traffic) => ({
    traffic,
    topology: `torus:${three}`,
    target: `torus3D ${three.replaceAll('x', ' ')}`,
    ranks: Number(count),
  })),
);

const some = ['halo7:16x16x16', 'geometric:4096', 'power-law:4096', 'groups:4096/16', 'cg:4096'];

const overSubscribed = some.map((traffic) => ({
  traffic,
  topology: 'torus:8x8x8/slots:8',
  target: 'torus3D 8 8 8',
  ranks: 4096,
}));

const onFatTrees = [...some, 'butterfly:4096'].map((traffic) => ({
  traffic,
  topology: 'xgft:16x16x16',
  target: 'tleaf 3 16 2 16 2 16 2',
  ranks: 4096,
}));

const onDragonfly = ['halo7:8x8x16', 'geometric:1024', 'power-law:1024', 'groups:1024/16', 'cg:1024'].map(
  (traffic) => ({
    traffic,
    topology: 'dragonfly:a=8,p=4,h=4',
    // Groups, routers and hosts: 5, 3 and 2 hops. Of the graph itself, amk_grf makes a target that Scotch maps worse onto.
    target: 'tleaf 3 33 2 8 1 4 2',
    ranks: 1024,
  }),
);

export const instances = [...onTori, ...overSubscribed, ...onFatTrees, ...onDragonfly].map((one) => ({
  ...one,
  name: `${one.traffic} on ${one.topology}`,
}));

export const largeInstances = [
  { traffic: 'halo7:64x64x64', topology: 'torus:64x64x64', mostSeconds: 30, flags: [] },
  {
    traffic: 'geometric:262144',
    topology: 'torus:64x64x64',
    mostSeconds: 30,
    flags: ['--time-limit', '24s'],
  },
  {
    traffic: 'halo7:128x128x64',
    topology: 'torus:128x128x64',
    mostSeconds: 120,
    flags: ['--time-limit', '100s'],
  },
  {
    traffic: 'geometric:1048576',
    topology: 'torus:128x128x64',
    mostSeconds: 120,
    flags: ['--time-limit', '100s'],
  },
].map((one) => ({ ...one, name: `${one.traffic} on ${one.topology}` }));
