/** The order of the files of a test run. */

import { basename } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Minutes each, however few lines they have. One that began last would leave the other CPUs with nothing to do. */
const longest = ['conformance-tcg', 'conformance-uml', 'kvm', 'study', 'conformance-netns'];

/** As vitest orders them (what took longest before, else the largest), but for those that are known to take long. */
export class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification): boolean =>
      longest.includes(basename(moduleId, '.test.ts'));
    const usual = await super.sort(files);
    return [...usual.filter(isLong), ...usual.filter((file) => !isLong(file))];
  }
}
