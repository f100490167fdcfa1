import { expect, it } from 'vitest';
import { startEnvironment } from '../src/start-environment.ts';

it('keeps the certificates from Node.js, for start.cjs to give them back', () => {
  expect(startEnvironment({ A: '1', NODE_EXTRA_CA_CERTS: '/our.pem' })).toEqual({
    A: '1',
    LODGE_NODE_EXTRA_CA_CERTS: '/our.pem',
  });
  expect(startEnvironment({ A: '1' })).toEqual({ A: '1' });
});
