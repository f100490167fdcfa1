/** A {@link startHost} in a process of its own, for trunk.test.ts: options come as the first message. */

import { type Host, type HostOptions, startHost } from './host.ts';

let host: Host;
process.on('message', async (message: { start?: HostOptions; send?: { network: string; frame: string } }) => {
  if (message.start !== undefined) {
    const options = { ...message.start, key: Buffer.from(message.start.key as unknown as string, 'hex') };
    host = await startHost(options);
    host.onReceived = (network, frame) => process.send!({ network, frame: frame.toString('hex') });
    process.send!({ port: host.trunks.port });
  }
  if (message.send !== undefined) host.send(message.send.network, Buffer.from(message.send.frame, 'hex'));
});
process.on('disconnect', () => process.exit());
