/** The fabric's worker thread: `dist/fabric.cjs`. Its event loop is its own, so nothing else delays a frame. */

import { parentPort, workerData } from 'node:worker_threads';
import { filterOf, openCapture } from './capture/capture.ts';
import type { FabricEvent, RequestMessage, WorkerData, WorkerMessage } from './control.ts';
import { openGuestEnd } from './guest-end.ts';
import { FabricService, type Means } from './service.ts';
import { hostTrunks } from './trunk/host-trunks.ts';
import { openUplinkEnd } from './uplink/uplink-end.ts';

const port = parentPort!;
const post = (message: WorkerMessage, moved: ArrayBuffer[] = []) => port.postMessage(message, moved);
const tell = (event: FabricEvent) => post({ event });
const trunks = hostTrunks(tell);

const means: Means = {
  openEnd: ({ end }, context, io) => {
    switch (end.kind) {
      case 'guest':
        return openGuestEnd(end, context, io);
      case 'uplink':
        return openUplinkEnd(end, context, io);
      case 'trunk':
        return trunks.end(end.host, context.network);
    }
  },
  openCapture,
  filterOf,
  trunks,
};

const service = new FabricService(means, tell, (workerData ?? {}) as WorkerData);

port.on('message', async (message: RequestMessage) => {
  const result = await service.answer(message);
  // A checkpoint is handed over, not copied.
  const saved =
    'answer' in result && result.answer !== null && 'bytes' in result.answer ? result.answer.bytes : null;
  post({ id: message.id, ...result }, saved instanceof Uint8Array ? [saved.buffer] : []);
  if (message.kind === 'stop' && 'answer' in result) port.close();
});
