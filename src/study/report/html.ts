/** The report of a study as one file that needs nothing else. Pure. */

import type { Study } from '../samples.ts';
import { type CellVerdict, verdictsOf } from '../verdicts.ts';
import { guestEnvironments } from './answer.ts';
import { computeSection, messageSection, overheadFigure, randomAccessSection } from './figure-sections.ts';
import { type Findings, findingsOf } from './findings.ts';
import type { Content } from './html-elements.ts';
import { renderPage, type Section } from './page.ts';
import { machineSection, notMeasuredSection, repeatSection, troubleSection } from './record-sections.ts';
import { answerSection, costSection, publishedSection } from './verdict-sections.ts';
import { verdictSection } from './verdict-tables.ts';

/** @param verdicts of this study; worked out when they are not given */
export function renderHtml(study: Study, verdicts: readonly CellVerdict[] = verdictsOf(study)): string {
  return renderFindings(findingsOf(study, verdicts));
}

export function renderFindings(findings: Findings): string {
  const { host, createdAt } = findings.study.head;
  const sections: (Omit<Section, 'content'> & { content: Content })[] = [
    { id: 'verdicts', title: 'Verdicts', content: verdictSection(findings, overheadFigure(findings)) },
    { id: 'compute', title: 'Compute and memory bandwidth', content: computeSection(findings) },
    { id: 'random-access', title: 'Random access and page walks', content: randomAccessSection(findings) },
    { id: 'messages', title: 'Messages', content: messageSection(findings) },
    { id: 'costs', title: 'Small costs', content: costSection(findings) },
    { id: 'not-measured', title: 'Not measured', content: notMeasuredSection(findings) },
    { id: 'trouble', title: 'Failed and flagged runs', content: troubleSection(findings) },
    { id: 'published', title: 'Published figures', content: publishedSection(findings) },
    { id: 'machine', title: 'Machine', content: machineSection(findings) },
    { id: 'repeat', title: 'To repeat it', content: repeatSection(findings) },
  ];
  return renderPage({
    title: titleOf(findings.study),
    kind: `lodge study · ${host.hostname} · ${host.cpuModel} · ${createdAt.slice(0, 10)}`,
    lead: answerSection(findings),
    sections: sections.filter(({ content }) => content !== undefined),
  });
}

/** The question that the study answers; when it cannot, the title says so. */
export function titleOf(study: Study): string {
  const { hostname } = study.head.host;
  const environments = guestEnvironments(study);
  if (environments.length === 0) return `How fast ${hostname} is, without any guest`;
  const title = `What a guest costs on ${hostname}`;
  if (!environments.includes('tcg')) return title;
  const which = environments.length === 1 ? 'Emulated timings' : 'Guest (tcg): emulated timings';
  return `${title}. ${which}, which say nothing about virtualization overhead`;
}
