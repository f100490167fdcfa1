import { describe, expect, it } from 'vitest';
import { describeError, LodgeError, retold } from '../src/errors.ts';
import { fixWith, key, spellFix } from '../src/fix.ts';
import { bodyOfError, errorOfBody } from '../src/server/api.ts';

describe('a fix that speaks of keys of a spec', () => {
  const use = fixWith`use ${key('accelerator', 'kvm')} or tcg`;
  const fix = fixWith`leave out ${key('mount-type')}, or ${use}`;
  const inFlags = 'leave out --mount-type, or use --accelerator kvm or tcg';
  const flag = (words: { key: string; value?: string }) => [`--${words.key}`, words.value].join(' ').trim();

  it('is spelled by whoever knows where the spec was written', () => {
    expect(spellFix(fix)).toBe('leave out mount-type, or use accelerator: kvm or tcg');
    expect(spellFix(fix, flag)).toBe(inFlags);
    expect(spellFix('as it is', flag)).toBe('as it is');
  });
  it('keeps its parts where an error is told otherwise, and over the API', () => {
    const error = new LodgeError('driver-cannot', 'no', { fix, asked: ['volumes', 1] });
    expect(describeError(error)).toContain('fix: leave out mount-type, or use');
    const body = JSON.parse(JSON.stringify(bodyOfError(retold(error, { message: 'not so' }))));
    expect(body.fix).toBe('leave out mount-type, or use accelerator: kvm or tcg');
    const again = errorOfBody(body);
    expect(spellFix(again.fixWords!, flag)).toBe(inFlags);
    expect(again).toMatchObject({ message: 'not so', asked: ['volumes', 1] });
    expect(bodyOfError(new LodgeError('usage', 'no', { fix: 'do' }))).not.toHaveProperty('fixWords');
  });
});
