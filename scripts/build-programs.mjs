// Builds what `lodge study` measures with: `node scripts/build-programs.mjs DIRECTORY`. Tests call it as well.
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync } from 'node:fs';
import { dirname, join, parse } from 'node:path';
import { fileURLToPath } from 'node:url';

const sources = join(dirname(dirname(fileURLToPath(import.meta.url))), 'study-side');
const directory = process.argv[2];
if (directory === undefined) throw new Error('usage: node scripts/build-programs.mjs DIRECTORY');
mkdirSync(directory, { recursive: true });

// STREAM wants OpenMP and clones of functions for several instruction sets, which a static musl program cannot have.
// Its copying must stay a loop: the C library's memcpy picks its way by the caches it believes in, and a guest's may
// look different.
// `-fno-builtin`: or GCC takes what stands in for malloc to be malloc itself.
const programs = [
  ['yardstick', 'musl-gcc', '-static', '-Os'],
  ['micro', 'musl-gcc', '-static', '-O2'],
  ['noise', 'musl-gcc', '-static', '-O2'],
  ['stream', 'gcc', '-O3', '-fopenmp', '-fno-tree-loop-distribute-patterns'],
  ['advise.so', 'gcc', '-O2', '-fPIC', '-shared', '-fno-builtin'],
];
for (const [name, compiler, ...flags] of programs) {
  const built = join(directory, `${name}.${process.pid}`);
  const all = [
    ...flags,
    '-s',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-o',
    built,
    join(sources, `${parse(name).name}.c`),
  ];
  execFileSync(compiler, all, { stdio: 'inherit' });
  // Replaced whole, because another lodge may be running it at this moment.
  renameSync(built, join(directory, name));
}
