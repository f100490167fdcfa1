import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Qmp, type QmpEvent } from '../../../../src/guest/vmm/qemu/qmp.ts';

const greeting = '{"QMP": {"version": {}, "capabilities": ["oob"]}}\r\n';

let directory: string;
let path: string;
let server: Server;
let sockets: Socket[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'lodge-qmp-'));
  path = join(directory, 'qmp.sock');
  sockets = [];
});

afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server?.close();
  rmSync(directory, { recursive: true });
});

/** A monitor that answers each command with what `answer` gives, or not at all. */
function listen(
  answer: (command: string, id: number) => string | undefined,
  hello = greeting,
): Promise<void> {
  server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.write(hello);
    let text = '';
    socket.on('data', (piece: Buffer) => {
      const lines = (text + piece.toString()).split('\n');
      text = lines.pop()!;
      for (const line of lines) {
        const { execute, id } = JSON.parse(line);
        const reply = execute === 'qmp_capabilities' ? `{"return": {}, "id": ${id}}` : answer(execute, id);
        if (reply !== undefined) socket.write(`${reply}\r\n`);
      }
    });
  });
  return new Promise((resolve) => server.listen(path, resolve));
}

const run = (id: number): string => `{"return": {"status": "running", "running": true}, "id": ${id}}`;

describe('the monitor', () => {
  it('answers commands, out of order and in pieces too', async () => {
    const late: string[] = [];
    await listen((command, id) => {
      if (command === 'stop') {
        late.push(`{"return": {}, "id": ${id}}`);
        return undefined;
      }
      const reply = `${run(id)}\r\n${late.join('\r\n')}`;
      for (const part of reply.match(/.{1,7}/gs) ?? []) sockets[0]!.write(part);
      return '';
    });
    const qmp = await Qmp.connect(path);
    const stopped = qmp.execute('stop');
    expect(await qmp.execute('query-status')).toEqual({ status: 'running', running: true });
    expect(await stopped).toEqual({});
    qmp.close();
  });

  it('is waited for', async () => {
    const connected = Qmp.connect(path, { timeoutMs: 5000 });
    setTimeout(() => void listen((_, id) => run(id)), 60);
    const qmp = await connected;
    qmp.close();
  });

  it('is not waited for when nobody wants it any more', async () => {
    await expect(Qmp.connect(path, { signal: AbortSignal.timeout(30) })).rejects.toMatchObject({
      code: 'vmm-failed',
      where: path,
    });
  });

  it('hands on events until told not to', async () => {
    await listen((_, id) => {
      sockets[0]!.write(
        '{"timestamp": {"seconds": 2, "microseconds": 500000}, "event": "GUEST_PANICKED", "data": {"action": "pause"}}\r\n',
      );
      return run(id);
    });
    const qmp = await Qmp.connect(path);
    const events: QmpEvent[] = [];
    const stopListening = qmp.on('GUEST_PANICKED', (event) => events.push(event));
    await qmp.execute('query-status');
    stopListening();
    await qmp.execute('query-status');
    expect(events).toEqual([{ event: 'GUEST_PANICKED', data: { action: 'pause' }, timestampMs: 2500 }]);
    qmp.close();
  });

  it('names the command and the class of a refusal', async () => {
    await listen((_, id) => `{"error": {"class": "GenericError", "desc": "not now"}, "id": ${id}}`);
    const qmp = await Qmp.connect(path);
    await expect(qmp.execute('cont')).rejects.toMatchObject({
      code: 'vmm-failed',
      message: "QEMU refused 'cont': not now (GenericError)",
    });
    qmp.close();
  });

  it('is given up on after a time, and takes a late answer without harm', async () => {
    const late: (() => void)[] = [];
    await listen((command, id) => {
      if (command !== 'stop') return run(id);
      late.push(() => sockets[0]!.write(`{"return": {}, "id": ${id}}\r\n`));
      return undefined;
    });
    const qmp = await Qmp.connect(path);
    await expect(qmp.execute('stop', undefined, { timeoutMs: 30 })).rejects.toThrow("'stop' within 30 ms");
    // On a busy machine the command may still be on its way.
    await vi.waitFor(() => expect(late).toHaveLength(1));
    late[0]!();
    expect(await qmp.execute('query-status')).toMatchObject({ running: true });
    qmp.close();
  });

  it('tells all who wait when it ends', async () => {
    await listen(() => {
      sockets[0]!.destroy();
      return undefined;
    });
    const qmp = await Qmp.connect(path);
    const both = await Promise.allSettled([qmp.execute('quit'), qmp.execute('query-status')]);
    for (const { status } of both) expect(status).toBe('rejected');
    await qmp.closed;
    expect(qmp.isClosed).toBe(true);
    await expect(qmp.execute('cont')).rejects.toThrow('QEMU closed its monitor');
  });

  it('tells all who wait when it is closed from here', async () => {
    await listen(() => undefined);
    const qmp = await Qmp.connect(path);
    const waiting = qmp.execute('stop');
    qmp.close();
    await expect(waiting).rejects.toThrow('the connection to the monitor was closed');
  });

  it('is no monitor when it does not greet', async () => {
    await listen(() => undefined, '');
    await expect(Qmp.connect(path, { timeoutMs: 50 })).rejects.toThrow("'greeting' within");
  });

  it.each([
    ['not JSON', 'hello\n', 'which is not JSON'],
    ['no object', '[1]\n', 'which is no message'],
  ])('is dropped when it sends what is %s', async (_, garbage, reason) => {
    await listen(() => garbage);
    const qmp = await Qmp.connect(path);
    await expect(qmp.execute('stop')).rejects.toThrow(reason);
  });

  it('is dropped when a line does not end', async () => {
    await listen(() => {
      for (let i = 0; i < 17; i++) sockets[0]!.write(Buffer.alloc(2 ** 20, 0x20));
      return undefined;
    });
    const qmp = await Qmp.connect(path);
    await expect(qmp.execute('stop')).rejects.toThrow('a line of over 16777216 bytes');
  });
});
