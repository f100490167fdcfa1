/** Namespaces, held to what every driver is held to. A file for each, so that they can be tried beside each other. */

import { describe } from 'vitest';
import { defineConformance } from './conformance.ts';
import { thisHost } from './this-host.ts';

describe('netns', () => defineConformance('netns', { openHost: async () => thisHost, crowd: 50 }));
