import { describe, expect, it } from 'vitest';
import { type LogLook, logText } from '../../src/cli/log-text.ts';

const log = Buffer.from('\u001b[1mLinux\u001b[m "6.1"\r\n\n\tbad \xff\nlogin:', 'latin1');

function shown(look: LogLook): string {
  return logText('v1', log, look).toString();
}

describe('a log', () => {
  it('is shown without control characters, or as it is to the byte', () => {
    expect(shown({})).toBe('Linux "6.1"\n\n\tbad \ufffd\nlogin:');
    expect(logText('v1', log, { raw: true })).toBe(log);
  });

  it('has the name of its guest on each line beside others', () => {
    expect(shown({ isOneOfMany: true })).toBe('v1: Linux "6.1"\nv1: \nv1: \tbad \ufffd\nv1: login:\n');
  });

  it('is a value on each line as JSON, of one guest as of many', () => {
    const values = (look: LogLook): unknown[] => {
      const lines = shown({ ...look, json: true }).split('\n');
      expect(lines.pop()).toBe('');
      return lines.map((line): unknown => JSON.parse(line));
    };
    const lines = ['Linux "6.1"', '', '\tbad \ufffd', 'login:'];
    expect(values({})).toEqual(lines.map((line) => ({ guest: 'v1', line })));
    expect(values({ isOneOfMany: true })).toEqual(values({}));
    expect(values({ raw: true })[0]).toEqual({ guest: 'v1', line: '\u001b[1mLinux\u001b[m "6.1"\r' });
  });

  it('of which nothing is there yet is nothing', () => {
    for (const look of [{}, { json: true }, { isOneOfMany: true }, { raw: true }])
      expect(logText('v1', Buffer.alloc(0), look).toString()).toBe('');
  });
});
