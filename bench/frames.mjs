/** As much of the agent protocol (docs/reference/agent-protocol.md) as it takes to run one command: for the bare peer. */

const types = {
  SYNC: 1,
  HELLO: 2,
  CONFIGURE: 3,
  CONFIGURED: 4,
  EXEC: 5,
  STARTED: 6,
  DATA: 8,
  EXIT: 13,
  READ: 15,
  CONTENT: 16,
  HALT: 17,
  HALTED: 18,
};

function frame(type, session, payload) {
  const header = Buffer.alloc(12);
  header[0] = 0x4c;
  header[1] = type;
  header.writeUInt32LE(session, 4);
  header.writeUInt32LE(payload.length, 8);
  return Buffer.concat([header, payload]);
}

function texts(words) {
  return Buffer.from(words.map((word) => `${word}\0`).join(''));
}

function numbers(...values) {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt32LE(value, 4 * i);
  return bytes;
}

/** A guard against hanging: a boot under TCG is part of it. */
const answerWithinMs = 120_000;

/** Speaks over a connected socket: `ask` sends a frame and gives the payload of the next one of the type awaited. */
export class Peer {
  #socket;
  #bytes = Buffer.alloc(0);
  #waiting = [];

  constructor(socket) {
    this.#socket = socket;
    socket.on('data', (piece) => this.#take(piece));
  }

  sync() {
    const hello = Buffer.concat([Buffer.from('lodge-sync-v1\0\0\0'), Buffer.alloc(8, 7)]);
    return this.#ask(types.SYNC, 0, hello, types.HELLO);
  }

  async configure(steps) {
    const answer = await this.#ask(types.CONFIGURE, 0, Buffer.concat(steps.map(texts)), types.CONFIGURED);
    if (answer.readUInt32LE(0) !== 0) throw new Error(`the guest could not be set up: ${answer.subarray(8)}`);
  }

  read(path) {
    return this.#ask(types.READ, 0, texts([path]), types.CONTENT);
  }

  /** Runs a command as root and gives its exit code. */
  async run(argv, environment, cwd) {
    const head = Buffer.alloc(4);
    const request = [
      ...[numbers(0, 0, 0, 1 << 20), head, numbers(0o022), numbers(1, 0, argv.length, environment.length)],
      texts([cwd, ...argv, ...environment]),
    ];
    const exit = await this.#ask(types.EXEC, 1, Buffer.concat(request), types.EXIT);
    return exit.readUInt32LE(0);
  }

  halt(graceMs) {
    return this.#ask(types.HALT, 0, numbers(0, graceMs), types.HALTED);
  }

  #ask(type, session, payload, answer) {
    return new Promise((resolve, reject) => {
      const overdue = setTimeout(() => {
        reject(new Error(`no answer to a frame of type ${type} within ${answerWithinMs / 1000} s`));
      }, answerWithinMs);
      const done = (answered) => {
        clearTimeout(overdue);
        resolve(answered);
      };
      this.#waiting.push({ answer, resolve: done });
      this.#socket.write(frame(type, session, payload));
    });
  }

  #take(piece) {
    this.#bytes = Buffer.concat([this.#bytes, piece]);
    for (;;) {
      let at = 0;
      while (this.#bytes[at] === 0) at++;
      this.#bytes = this.#bytes.subarray(at);
      if (this.#bytes.length < 12) return;
      const length = 12 + this.#bytes.readUInt32LE(8);
      if (this.#bytes.length < length) return;
      const type = this.#bytes[1];
      const payload = this.#bytes.subarray(12, length);
      this.#bytes = this.#bytes.subarray(length);
      if (this.#waiting[0]?.answer === type) this.#waiting.shift().resolve(payload);
    }
  }
}
