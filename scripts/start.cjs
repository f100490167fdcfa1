// Starts the bundle beside it with the code that V8 compiled for it before: compiling is most of a short run.
// The cache is a copy of nothing: without it, or with one of another build or another Node.js, lodge is only slower.
const { fstatSync, openSync, readFileSync, renameSync, writeFileSync } = require('node:fs');
const { Module } = require('node:module');
const { Script } = require('node:vm');

const bundle = `${__dirname}/lodge.cjs`;
const cache = `${__dirname}/lodge.cache`;
const file = openSync(bundle, 'r');
const { size, mtimeMs } = fstatSync(file);
// V8 compares little more than the length of the source, so the cache names the file it was made from.
const mark = Buffer.alloc(16);
mark.writeDoubleLE(size, 0);
mark.writeDoubleLE(mtimeMs, 8);

function cachedCode() {
  try {
    const bytes = readFileSync(cache);
    return bytes.subarray(0, 16).equals(mark) ? bytes.subarray(16) : undefined;
  } catch {
    return undefined;
  }
}

// The build makes it of single bytes.
const script = new Script(Module.wrap(readFileSync(file, 'latin1')), {
  filename: bundle,
  cachedData: cachedCode(),
});
// The build runs lodge once with this set: what was compiled by the end is what a run needs.
if (process.env.LODGE_WRITE_CODE_CACHE === '1') {
  process.on('exit', () => {
    writeFileSync(`${cache}.new`, Buffer.concat([mark, script.createCachedData()]));
    renameSync(`${cache}.new`, cache);
  });
}
script.runInThisContext().call(module.exports, module.exports, require, module, bundle, __dirname);
