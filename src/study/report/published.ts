/**
 * What others published about the cost of virtualization, as data to stand beside a study's own figures. Figures are
 * those of the publications; `read` says how much of each was read when they were taken down.
 */

import type { MetricName } from '../samples.ts';

export interface Published {
  source: string;
  read: 'in full' | 'abstract' | 'as stated';
  /** What was measured, and on what. */
  subject: string;
  figure: string;
  /** What of a study can be laid beside it; none where a study measures nothing of the kind. */
  here?: { metrics: readonly MetricName[]; pages?: string };
}

const paper = 'Pedretti and Bridges, 2010';
const chakthranont = 'Chakthranont and others, CloudCom 2014';
const streamMetrics = [
  'stream-copy-mbps',
  'stream-scale-mbps',
  'stream-add-mbps',
  'stream-triad-mbps',
] as const;
const hpcMetrics = ['hpl-gflops', ...streamMetrics, 'randomaccess-gups'] as const;

export const published: readonly Published[] = [
  {
    source: paper,
    read: 'in full',
    subject: 'HPL, KVM on two quad-core Xeon X5570, 1 to 8 cores',
    figure: 'no overhead',
    here: { metrics: ['hpl-gflops'] },
  },
  {
    source: paper,
    read: 'in full',
    subject: 'STREAM, the same machine',
    figure: 'no overhead',
    here: { metrics: streamMetrics },
  },
  {
    source: paper,
    read: 'in full',
    subject: 'MPIRandomAccess, Guest 2M/2M against Native 2M',
    figure: 'about 2.5 % lower rate at each number of cores',
    here: { metrics: ['randomaccess-gups'], pages: '2M/2M' },
  },
  {
    source: paper,
    read: 'in full',
    subject: 'PingPong between sockets, bandwidth',
    figure: 'the same; latency of small messages irregular in guests',
    here: { metrics: ['pingpong-bandwidth-mbps'] },
  },
  {
    source: paper,
    read: 'in full',
    subject: 'PingPong between nodes over Cray SeaStar passed through',
    figure: '7 to 15 us more with interrupts, the same with polling',
  },
  {
    source: 'Lange and others, IPDPS 2010 and VEE 2011',
    read: 'abstract',
    subject: 'Applications in Palacios on Cray XT, up to 4096 nodes',
    figure: 'at most 5 %',
    here: { metrics: hpcMetrics },
  },
  {
    source: 'Kudryavtsev and others, HiPC 2012',
    read: 'abstract',
    subject: 'HPC benchmarks without and with NUMA in the guest',
    figure: '10 to 60 % without, 1 to 5 % with',
    here: { metrics: hpcMetrics },
  },
  {
    source: chakthranont,
    read: 'in full',
    subject: 'HPL in KVM guests on 1, 4, 16, 64 and 128 nodes',
    figure: '1, 2, 4, 7 and 6 %',
    here: { metrics: ['hpl-gflops'] },
  },
  {
    source: chakthranont,
    read: 'in full',
    subject: 'STREAM in KVM guests',
    figure: '3 %',
    here: { metrics: streamMetrics },
  },
  {
    source: chakthranont,
    read: 'in full',
    subject: 'PingPong over FDR InfiniBand passed through',
    figure: '5991 MB/s native, 5830 MB/s in the guest',
    here: { metrics: ['pingpong-bandwidth-mbps'] },
  },
  {
    source: 'Zhang and others, Chameleon, 2016',
    read: 'in full',
    subject: 'MPI latency of 8 B between nodes',
    figure: '1.09 us passed through (under 4 % over native), 1.41 us with SR-IOV',
    here: { metrics: ['pingpong-latency-us'] },
  },
  {
    source: 'Younge, Pedretti and others, 2017',
    read: 'abstract',
    subject: 'Applications under KVM on Cray XC',
    figure: 'near native on one node, up to 20 % at 32 nodes',
    here: { metrics: hpcMetrics },
  },
  {
    source: 'Ibrahim and others, CCGrid 2011',
    read: 'abstract',
    subject: 'One guest for each socket; one guest over several NUMA nodes',
    figure: '5 % better than native; 55 % worse on average',
  },
  {
    source: 'CERN, 2015',
    read: 'abstract',
    subject: 'Batch work under KVM',
    figure: 'NUMA in the guest worth about 9 %, pinning 3 %; 5 % of overhead left',
  },
  {
    source: 'Gandhi and others, MICRO 2014',
    read: 'abstract',
    subject: 'References for one nested page walk of 4K pages',
    figure: '24, against 4 natively',
  },
  {
    source: 'Gemini, EuroSys 2023',
    read: 'abstract',
    subject: 'Huge pages in guests',
    figure: 'only huge pages on huge pages help',
    here: { metrics: ['randomaccess-gups'], pages: '2M/2M' },
  },
  {
    source: 'Firecracker, its own promise',
    read: 'as stated',
    subject: 'From the start of a micro-VM to init',
    figure: 'at most 125 ms',
    here: { metrics: ['boot-ms'] },
  },
];
