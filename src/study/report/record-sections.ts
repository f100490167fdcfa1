/** What a report keeps of a study: what was not measured, what failed, the machine, how to do it again. Pure. */

import { stringify } from 'yaml';
import { shellLine } from '../../shell-words.ts';
import { formatSize, formatTime } from '../../units.ts';
import { type Cell, keyOfCell, nameOfSeries, type PageSize } from '../cells.ts';
import { flagMeanings } from '../judge-run.ts';
import type { Found, Sample, Study } from '../samples.ts';
import { coresText } from './answer.ts';
import type { Findings } from './findings.ts';
import { type Content, factTable, type Html, html, table } from './html-elements.ts';
import { formatNumber } from './numbers.ts';
import { compareSeries } from './series.ts';
import { capitalised } from './text.ts';
import { leftOutNotes } from './warnings.ts';

/** Cells that this machine cannot give, each with its reason; those of one series and reason share a row. */
export function notMeasuredSection({ study }: Findings): Content {
  const rows = new Map<string, { cell: Cell; cells: Cell[]; reason: string }>();
  for (const { cell, reason } of study.head.notMeasured) {
    const key = `${nameOfSeries(cell)} ${reason}`;
    const row = rows.get(key);
    if (row === undefined) rows.set(key, { cell, cells: [cell], reason });
    else row.cells.push(cell);
  }
  if (rows.size === 0)
    return html`<p>Every cell that the study asks for can be measured on this machine.</p>`;
  return table(
    'Cells of the design that this machine cannot give.',
    [{ title: 'Series' }, { title: 'Benchmarks and cores' }, { title: 'Reason' }],
    [
      {
        rows: [...rows.values()]
          .sort((a, b) => compareSeries(a.cell, b.cell))
          .map(({ cell, cells, reason }) => [
            nameOfSeries(cell),
            benchmarksText(cells),
            html`<span class="reason">${reason}</span>`,
          ]),
      },
    ],
  );
}

/** `hpcc 1, 2; stream 1 cores`. */
function benchmarksText(cells: readonly Cell[]): string {
  const byBenchmark = new Map<string, number[]>();
  for (const { benchmark, cores } of cells)
    byBenchmark.set(benchmark, [...(byBenchmark.get(benchmark) ?? []), cores]);
  return [...byBenchmark]
    .map(([benchmark, cores]) => {
      const counts = [...new Set(cores)].sort((a, b) => a - b);
      return `${benchmark}: ${counts.length === 1 ? coresText(counts[0]!) : `${counts.join(', ')} cores`}`;
    })
    .join('; ');
}

/** Runs that failed, and runs that are kept with a flag. */
export function troubleSection({ study }: Findings): Content {
  const failed = study.samples.filter(({ outcome }) => outcome === 'failed');
  const flagged = study.samples.filter(({ flags, outcome }) => outcome === 'ok' && flags.length > 0);
  return [
    failed.length === 0
      ? html`<p>No run failed.</p>`
      : table(
          'Runs that failed; they are in no statistics.',
          [
            { title: 'Series' },
            { title: 'Benchmark' },
            { title: 'Cores', isNumber: true },
            { title: 'Repeat', isNumber: true },
            { title: 'Why' },
          ],
          [
            {
              rows: failed.map((sample) => [
                ...runCells(sample),
                html`<span class="reason">${sample.error ?? 'no reason was written down'}</span>`,
              ]),
            },
          ],
        ),
    leftOutNotes(study).map((note) => html`<p class="warning">${capitalised(note)}.</p>`),
    flagged.length === 0
      ? html`<p>No run was flagged.</p>`
      : table(
          'Runs with a flag; they count like others.',
          [
            { title: 'Series' },
            { title: 'Benchmark' },
            { title: 'Cores', isNumber: true },
            { title: 'Repeat', isNumber: true },
            { title: 'Flag' },
          ],
          [{ rows: flagged.map((sample) => [...runCells(sample), flagCell(sample)]) }],
        ),
  ];
}

function runCells({ cell, repeat, isWarmUp }: Sample): Content[] {
  return [nameOfSeries(cell), cell.benchmark, cell.cores, isWarmUp ? `warm-up ${repeat}` : repeat];
}

function flagCell({ flags, found }: Sample): Html {
  const texts = flags.map((flag) => {
    const drift = flag === 'clock-drift' && found.clockDrift !== undefined ? ` (${driftText(found)})` : '';
    const text = Object.hasOwn(flagMeanings, flag) ? `: ${flagMeanings[flag]}` : '';
    return `${flag}${text}${drift}`;
  });
  return html`<span class="reason">${texts.join('; ')}</span>`;
}

function driftText({ clockDrift }: Found): string {
  if (clockDrift === undefined) return '–';
  const percent = (fraction: number) => formatNumber(Number((fraction * 100).toPrecision(2)));
  return `${clockDrift.fraction > 0 ? '+' : ''}${percent(clockDrift.fraction)} ± ${percent(clockDrift.uncertainty)}\u202F%`;
}

export function machineSection({ study }: Findings): Content {
  const { host } = study.head;
  return factTable('The machine that the study ran on.', [
    ['Host', host.hostname],
    ['CPU', host.cpuModel],
    ['Sockets', host.sockets],
    ['NUMA nodes', host.numaNodes],
    ['Cores', host.cores],
    ['Hardware threads', host.threads],
    ['Memory', formatSize(host.memoryBytes)],
    ['Kernel', host.kernel],
    ['Distribution', host.distribution],
    ['Virtualization', host.virtualization ?? 'none: the host itself is no guest'],
  ]);
}

/** Everything that is needed to do it again, and what was really there. */
export function repeatSection({ study }: Findings): Content {
  const { head } = study;
  const { sizes } = head;
  const counts = Object.keys(sizes.guestMemoryBytes).concat(Object.keys(sizes.hpl)).map(Number);
  const cores = [...new Set(counts)].sort((a, b) => a - b);
  const hasStream = head.cells.some(({ benchmark }) => benchmark === 'stream');
  const kernels = [...new Set(study.samples.flatMap(({ found }) => found.guestKernel ?? []))];
  return [
    factTable('What made these figures.', [
      ['Study', html`${head.id}, begun ${head.createdAt}`],
      ['lodge', head.lodgeVersion],
      ['Seed', String(head.seed)],
      ['Host kernel', head.host.kernel],
      ['Guest kernels', kernels.length === 0 ? 'none seen' : kernels.join(', ')],
      [
        'Benchmarks from',
        head.image === undefined
          ? 'this host'
          : html`image ${head.image.name}<br><code>${head.image.id}</code>`,
      ],
      ['Packages', Object.entries(head.packages).map(([name, version]) => html`${name} ${version}<br>`)],
      ...(hasStream
        ? ([['STREAM arrays', `${formatNumber(sizes.streamElements)} elements each`]] as const)
        : []),
      ['Rule of sizes', sizes.rule],
    ]),
    table(
      'Sizes by number of cores.',
      [
        { title: 'Cores', isNumber: true },
        { title: 'HPL N', isNumber: true },
        { title: 'NB', isNumber: true },
        { title: 'P × Q', isNumber: true },
        { title: 'Memory of a guest', isNumber: true },
      ],
      [
        {
          rows: cores.map((count) => {
            const hpl = sizes.hpl[count];
            const memoryBytes = sizes.guestMemoryBytes[count];
            return [
              count,
              hpl === undefined ? '–' : formatNumber(hpl.n),
              hpl === undefined ? '–' : hpl.nb,
              hpl === undefined ? '–' : `${hpl.p} × ${hpl.q}`,
              memoryBytes === undefined ? '–' : formatSize(memoryBytes),
            ];
          }),
        },
      ],
    ),
    html`<h3>The spec</h3><p>Saved as <code>study.yaml</code>, it is run again with <code>lodge study --spec study.yaml</code>.</p><pre>${specText(head.spec)}</pre>`,
    placementTable(study),
    commandTable(study),
  ];
}

function specText(spec: unknown): string {
  try {
    return stringify(spec, { lineWidth: 0 });
  } catch {
    return String(spec);
  }
}

/** Pages and CPUs: asked for, and found. */
function placementTable(study: Study): Html {
  const rows = samplesByCell(study).map(({ cell, samples }) => {
    const founds = samples.map(({ found }) => found);
    const worst = founds
      .filter(({ clockDrift }) => clockDrift !== undefined)
      .sort((a, b) => Math.abs(b.clockDrift!.fraction) - Math.abs(a.clockDrift!.fraction))[0];
    return [
      nameOfSeries(cell),
      cell.benchmark,
      cell.cores,
      cell.placement === 'mirror' ? 'pinned' : 'left to the kernel',
      distinctText(founds.map(({ cpus }) => (cpus.length === 0 ? 'not pinned' : cpus.join(',')))),
      cell.pages.own,
      distinctText(founds.map(({ ownPages }) => pagesText(ownPages, cell.pages.own))),
      cell.environment === 'native' ? '–' : (cell.pages.host ?? 'not chosen'),
      cell.environment === 'native'
        ? '–'
        : distinctText(founds.map(({ hostPages }) => pagesText(hostPages, cell.pages.host))),
      worst === undefined ? '–' : driftText(worst),
    ];
  });
  return html`<details><summary>Placement and pages of each cell: asked for, and found</summary>${table(
    'Over all runs of a cell. Of pages, the most memory seen in each kind.',
    [
      { title: 'Series' },
      { title: 'Benchmark' },
      { title: 'Cores', isNumber: true },
      { title: 'Placement asked' },
      { title: 'CPUs found' },
      { title: 'Own pages asked' },
      { title: 'Own pages found' },
      { title: 'Host pages asked' },
      { title: 'Host pages found' },
      { title: 'Worst clock drift', isNumber: true },
    ],
    [{ rows }],
  )}</details>`;
}

/** The memory in each kind of page, large kinds first; `asked` names the size behind a pool of huge pages. */
function pagesText(pages: Found['ownPages'], asked: PageSize | undefined): string {
  if (pages === undefined) return 'not looked at';
  const { hugetlbBytes, transparentBytes, smallBytes } = pages;
  const huge = asked === '1G' || asked === '2M' ? asked : 'huge';
  const parts = [
    hugetlbBytes > 0 ? `${huge} ${formatSize(hugetlbBytes)}` : undefined,
    transparentBytes > 0 ? `thp ${formatSize(transparentBytes)}` : undefined,
    smallBytes > 0 ? `4K ${formatSize(smallBytes)}` : undefined,
  ].filter((part) => part !== undefined);
  return parts.length === 0 ? 'none' : parts.join(', ');
}

function commandTable(study: Study): Html {
  const rows = samplesByCell(study).map(({ cell, samples }) => {
    const commands = [...new Set(samples.map(({ argv }) => shellLine(argv)))];
    const totalMs = samples.reduce(
      (sum, { elapsedMs }) => sum + (Number.isFinite(elapsedMs) ? elapsedMs : 0),
      0,
    );
    return [
      nameOfSeries(cell),
      cell.benchmark,
      cell.cores,
      samples.length,
      formatTime(totalMs),
      commands.map(
        (command, i) => html`${i > 0 ? html`<br>` : undefined}<code class="command">${command}</code>`,
      ),
    ];
  });
  return html`<details><summary>Exact commands, by cell</summary>${table(
    'As they were run in their environment. Runs with warm-ups and failed ones.',
    [
      { title: 'Series' },
      { title: 'Benchmark' },
      { title: 'Cores', isNumber: true },
      { title: 'Runs', isNumber: true },
      { title: 'Time in all', isNumber: true },
      { title: 'Command' },
    ],
    [{ rows }],
  )}</details>`;
}

function samplesByCell({ samples }: Study): { cell: Cell; samples: Sample[] }[] {
  const byCell = new Map<string, { cell: Cell; samples: Sample[] }>();
  for (const sample of samples) {
    const key = keyOfCell(sample.cell);
    const entry = byCell.get(key);
    if (entry === undefined) byCell.set(key, { cell: sample.cell, samples: [sample] });
    else entry.samples.push(sample);
  }
  return [...byCell.values()].sort(
    (a, b) =>
      compareSeries(a.cell, b.cell) ||
      a.cell.benchmark.localeCompare(b.cell.benchmark) ||
      a.cell.cores - b.cell.cores,
  );
}

function distinctText(texts: readonly string[]): string {
  return [...new Set(texts)].join(' or ');
}
