/**
 * The end of a port that is the declared way out: passt behind the filter of filter.ts. passt is started with the port,
 * and again when it has ended; connections through it end with it.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { FrameParser } from '../frame-parser.ts';
import { readBufferBytes, type SocketIo } from '../guest-end.ts';
import { ipv4Address } from '../ipv4.ts';
import type { UplinkEnd } from '../plan.ts';
import { frameOverheadBytes } from '../port.ts';
import type { PortContext, PortEnd, PortSink } from '../port-end.ts';
import { SlotWriter } from '../slot-writer.ts';
import { UplinkFilter, type Verdict } from './filter.ts';
import { findPasst, passtArguments, passtFd } from './passt.ts';

const firstRetryMs = 500;
const lastRetryMs = 30_000;
/** It is up when it has lived for so long: what it cannot do it says at once. */
const startedAfterMs = 300;
/** The host's own addresses may change. */
const lookAgainEveryMs = 10_000;
const longestComplaint = 500;
const mostAnswersDue = 64;
const endWithinMs = 1000;

export interface UplinkPortEnd extends PortEnd {
  /** Frames by what became of them, in both directions. */
  counts(): Partial<Record<Verdict, number>>;
}

/**
 * @throws LodgeError `missing-program` without passt, `spec-value` for addresses or rules that are none
 */
export function openUplinkEnd(
  end: UplinkEnd,
  { subnet, mtuBytes }: PortContext,
  io: SocketIo,
): UplinkPortEnd {
  const program = findPasst();
  const argv = passtArguments(end.gateway, subnet, end.publish);
  const filter = new UplinkFilter({ end, subnet, mtuBytes, isHostAddress: hostAddresses() });
  const { packet } = filter;
  const incoming = Buffer.alloc(packet.bytes.length);
  const counts = new Map<Verdict, number>();
  const { pool } = io.fabric;
  let sink: PortSink | undefined;
  let child: ChildProcess | undefined;
  let stream: Socket | undefined;
  let writer: SlotWriter | undefined;
  let isConnected = false;
  let isPaused = false;
  let isStopped = false;
  let retryMs = firstRetryMs;
  let timer: NodeJS.Timeout | undefined;
  let lastReason: string | undefined;
  let answersDue = 0;

  function count(verdict: Verdict): void {
    counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
    if (verdict === 'pass' || verdict === 'answer' || verdict === 'ignored') return;
    sink?.dropped(verdict === 'giant' ? 'giant' : verdict === 'malformed' ? 'malformed' : 'denied', 1);
  }

  function take(buffer: Buffer, offset: number, length: number): void {
    const verdict = filter.incoming(buffer, offset, length, performance.now());
    count(verdict);
    if (verdict !== 'pass') return;
    // While the fabric takes it, frames may come the other way, through the filter and its memory.
    const passed = packet.length;
    packet.bytes.copy(incoming, 0, 0, passed);
    sink?.frame(incoming, 0, passed);
  }

  const parser = new FrameParser(
    pool,
    {
      frame: take,
      frames(buffer, offset, bytes) {
        let at = 0;
        while (bytes - at >= 4) {
          const length = buffer.readUInt32BE(offset + at);
          if (length > bytes - at - 4) break;
          take(buffer, offset + at + 4, length);
          at += 4 + length;
        }
        return at;
      },
      dropped: (reason, frames) => sink?.dropped(reason, frames),
    },
    mtuBytes + frameOverheadBytes,
  );

  function begin(): void {
    let complaint = '';
    const started = spawn(program, argv, {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      env: {},
      cwd: '/',
    });
    child = started;
    // A pair of sockets; passt has the other one.
    const socket = started.stdio[passtFd] as Socket | null;
    stream = socket ?? undefined;
    started.stderr?.on('data', (text: Buffer) => {
      complaint = (complaint + text.toString()).slice(-longestComplaint);
    });
    started.on('error', (error) => {
      complaint = error.message;
      ended(started, complaint);
    });
    started.on('close', () => ended(started, wordsOf(complaint)));
    if (socket === null || started.pid === undefined) return;
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => received(socket, chunk));
    if (isPaused) socket.pause();
    writer = new SlotWriter(io, (piece, done) => socket.write(piece, () => socket.destroyed || done()));
    timer = setTimeout(() => {
      isConnected = true;
      retryMs = firstRetryMs;
      sink?.connected();
    }, startedAfterMs);
  }

  function received(socket: Socket, chunk: Buffer): void {
    for (let at = 0; at < chunk.length; at += readBufferBytes) {
      if (isStopped || stream !== socket) return;
      const bytes = chunk.copy(io.readBuffer, 0, at, Math.min(chunk.length, at + readBufferBytes));
      if (parser.feed(io.fabric.readBufferOffset, bytes)) continue;
      sink?.framingLost('passt sent what is no stream of frames; it is started again');
      socket.destroy();
      return;
    }
  }

  function ended(which: ChildProcess, complaint: string): void {
    if (child !== which) return;
    child = undefined;
    stream?.destroy();
    stream = undefined;
    clearTimeout(timer);
    parser.reset();
    writer?.release();
    writer = undefined;
    filter.flows.clear();
    if (isStopped) return;
    const reason = complaint === '' ? 'passt has ended' : `passt has ended: ${complaint}`;
    if (isConnected) {
      isConnected = false;
      sink?.disconnected(reason);
    } else if (reason !== lastReason) sink?.disconnected(reason);
    lastReason = reason;
    timer = setTimeout(begin, retryMs);
    retryMs = Math.min(lastRetryMs, 2 * retryMs);
  }

  return {
    start(given) {
      sink = given;
      begin();
    },
    send(buffer, offset, length) {
      if (!isConnected || isStopped) return false;
      const verdict = filter.outgoing(buffer, offset, length, performance.now());
      count(verdict);
      if (verdict === 'answer') answerLater();
      return verdict !== 'pass' || (give() && (!filter.isTwice || give()));
    },
    pause() {
      isPaused = true;
      stream?.pause();
    },
    resume() {
      isPaused = false;
      stream?.resume();
    },
    stop() {
      isStopped = true;
      sink = undefined;
      clearTimeout(timer);
      // It ends when its socket is closed; what does not is ended.
      stream?.destroy();
      const last = child;
      last?.kill();
      setTimeout(() => last?.kill('SIGKILL'), endWithinMs).unref();
    },
    counts: () => Object.fromEntries(counts),
  };

  /** Gives passt what lies in the filter. @returns false when it has no room */
  function give(): boolean {
    const at = writer?.reserve(4 + packet.length) ?? -1;
    if (at < 0) return false;
    pool.view.setUint32(at, packet.length);
    packet.bytes.copy(pool.bytes, at + 4, 0, packet.length);
    writer!.filled(4 + packet.length);
    return true;
  }

  /** Not from within `send`: the fabric is at work on the frame that is answered. */
  function answerLater(): void {
    // A guest that asks faster than this is told again when it asks again.
    if (answersDue >= mostAnswersDue) return;
    answersDue++;
    const answer = Buffer.from(packet.bytes.subarray(0, packet.length));
    setImmediate(() => {
      answersDue--;
      sink?.frame(answer, 0, answer.length);
    });
  }
}

/** What passt said, in one line, without what it says each time. */
function wordsOf(complaint: string): string {
  return complaint
    .split('\n')
    .filter(
      (line) => !/^(Failed to send \d+ bytes to syslog|Don't run as root)/.test(line) && line.trim() !== '',
    )
    .join('; ')
    .replace(/\p{Cc}/gu, '');
}

/** Tells whether an address is the host's own; looks again now and then. */
function hostAddresses(): (address: number) => boolean {
  let known = new Set<number>();
  let lookedMs = Number.NEGATIVE_INFINITY;
  return (address) => {
    if (performance.now() - lookedMs > lookAgainEveryMs) {
      lookedMs = performance.now();
      const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
      known = new Set(all.filter(({ family }) => family === 'IPv4').map((one) => ipv4Address(one.address)));
    }
    return known.has(address);
  };
}
