/**
 * A fabric in a process of its own, for bench/fabric.mjs: `node fabric-host.mjs WORKER PLAN`, PLAN as JSON. Prints
 * `ready` when all ports are connected; answers lines of JSON `{kind, ask}` on its input with lines of JSON; ends when
 * its input does.
 */
import { createInterface } from 'node:readline';
import { Worker } from 'node:worker_threads';

const [file, plan] = process.argv.slice(2);
const worker = new Worker(file);
const waiting = [];
worker.on('message', (message) => {
  if ('event' in message) return;
  waiting.shift()(message);
});
worker.on('error', (error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});

function ask(kind, question) {
  return new Promise((resolve) => {
    waiting.push(resolve);
    worker.postMessage({ id: waiting.length, kind, ask: question });
  });
}

const applied = await ask('apply', { plan: JSON.parse(plan) });
if (applied.error !== undefined) throw new Error(applied.error.message);
for (;;) {
  const { answer } = await ask('status', {});
  if (answer.connectedPorts === answer.ports) break;
  await new Promise((resolve) => setTimeout(resolve, 20));
}
process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const { kind, ask: question } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(await ask(kind, question))}\n`);
}
await ask('stop', {});
