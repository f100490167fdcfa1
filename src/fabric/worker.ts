/** The fabric's worker thread: `dist/fabric.cjs`. Its event loop is its own, so nothing else delays a frame. */

import { parentPort, workerData } from 'node:worker_threads';
import { cannotOpen } from './apply.ts';
import { openCapture } from './capture/capture.ts';
import type { RequestMessage, WorkerData, WorkerMessage } from './control.ts';
import { openGuestEnd } from './guest-end.ts';
import { FabricService, type Means } from './service.ts';
import { openUplinkEnd } from './uplink/uplink-end.ts';

const means: Means = {
  openEnd: (plan, context, io) => {
    const { end, link } = plan;
    if (end.kind === 'guest') return openGuestEnd(end, context, io);
    if (end.kind === 'uplink') return openUplinkEnd(end, context, io);
    return cannotOpen(end.kind, link.name);
  },
  openCapture,
};

const port = parentPort!;
const post = (message: WorkerMessage, moved: ArrayBuffer[] = []) => port.postMessage(message, moved);
const service = new FabricService(means, (event) => post({ event }), (workerData ?? {}) as WorkerData);

port.on('message', async (message: RequestMessage) => {
  const result = await service.answer(message);
  // A checkpoint is handed over, not copied.
  const saved =
    'answer' in result && result.answer !== null && 'bytes' in result.answer ? result.answer.bytes : null;
  post({ id: message.id, ...result }, saved instanceof Uint8Array ? [saved.buffer] : []);
  if (message.kind === 'stop' && 'answer' in result) port.close();
});
