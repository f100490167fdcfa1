/** A process that uses a store, for tests with several: `store-process STORE put FIRST COUNT`, `store-process STORE hang`. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openStore } from '../../src/image/store.ts';

const [directory, verb, first = '0', count = '0'] = process.argv.slice(2);
const store = openStore(directory);

async function putMany(): Promise<void> {
  for (let number = Number(first); number < Number(first) + Number(count); number++) {
    const { id } = await store.put('test', `number ${number}`, async (into) => {
      writeFileSync(join(into, 'data'), Buffer.alloc(300_000, number));
      writeFileSync(join(into, 'more'), String(number));
    });
    await store.name(`n${number}`, id);
    await store.remember(`key ${number}`, [id], number);
    process.stdout.write(`${id}\n`);
  }
}

async function hang(): Promise<void> {
  await store.put('test', 'never', async (into) => {
    writeFileSync(join(into, 'data'), 'half of it');
    process.stdout.write('filling\n');
    await new Promise((resolve) => setTimeout(resolve, 60_000));
  });
}

void (verb === 'hang' ? hang() : putMany());
