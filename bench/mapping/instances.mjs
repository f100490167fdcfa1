/** What is mapped onto what: every pattern onto every network. */

const grids = {
  512: { two: '16x32', three: '8x8x8' },
  1024: { two: '32x32', three: '8x8x16' },
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
  `ft:${ranks}`,
];

/** @param target the same network in Scotch's words */
const onto = (ranks, topology, target) =>
  patternsOf(ranks).map((traffic) => ({ traffic, topology, target, ranks }));

const sizes = [
  [512, 8],
  [4096, 16],
  [32_768, 32],
];

const onTori = sizes.flatMap(([ranks, side]) =>
  onto(ranks, `torus:${side}x${side}x${side}`, `torus3D ${side} ${side} ${side}`),
);

const overSubscribed = onto(4096, 'torus:8x8x8/slots:8', 'torus3D 8 8 8');

// Of 32,768 ranks only onto tori: the bench takes long enough.
const onFatTrees = sizes
  .slice(0, 2)
  .flatMap(([ranks, side]) =>
    onto(ranks, `xgft:${side}x${side}x${side}`, `tleaf 3 ${side} 2 ${side} 2 ${side} 2`),
  );

// Groups, routers and hosts: 5, 3 and 2 hops. Of the graph itself, amk_grf makes a target that Scotch maps worse onto.
const onDragonfly = onto(1024, 'dragonfly:a=8,p=4,h=4', 'tleaf 3 33 2 8 1 4 2');

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
