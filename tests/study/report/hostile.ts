/** A study in which every text that can be anything is hostile. MADE-UP data for tests. */

import type { Study } from '../../../src/study/samples.ts';
import { sampleStudy } from '../sample-study.ts';

export const hostileText = `<script>alert(1)</script>"'&]]>\u0000\u001b[31m\u202Eabc${'very-long-'.repeat(300)}`;

export function hostileStudy(): Study {
  const study = sampleStudy({ machine: 'uml', repeats: 3 });
  const { head } = study;
  return {
    head: {
      ...head,
      id: hostileText,
      lodgeVersion: hostileText,
      spec: { [hostileText]: hostileText },
      host: {
        ...head.host,
        hostname: hostileText,
        cpuModel: hostileText,
        kernel: hostileText,
        distribution: hostileText,
        virtualization: hostileText,
      },
      packages: { [hostileText]: hostileText },
      sizes: { ...head.sizes, rule: hostileText },
      notMeasured: head.notMeasured.map(({ cell }) => ({ cell, reason: hostileText })),
    },
    samples: study.samples.map((sample) => ({
      ...sample,
      argv: [hostileText, ...sample.argv],
      flags: [hostileText],
      found: { ...sample.found, guestKernel: hostileText },
      ...(sample.outcome === 'failed' ? { error: hostileText } : {}),
    })),
  };
}
