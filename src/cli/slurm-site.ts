/** `lodge slurm setup`, and the programs that slurmctld runs for power saving. */

import { lookup } from 'node:dns/promises';
import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import {
  type ConfFault,
  type ConfPlan,
  type ConfPrograms,
  planConf,
  renderConf,
} from '../cluster/engine/site/conf.ts';
import { ownSubnet, sitePorts, siteReach } from '../cluster/engine/site/holder.ts';
import { defaultSiteFile } from '../cluster/engine/site/place.ts';
import { failNodes, lookAtSite, reasonOf, resumeNodes, suspendNodes } from '../cluster/engine/site/power.ts';
import { readSite, type Site } from '../cluster/engine/site/spec.ts';
import { readDocument } from '../document.ts';
import { describeError, LodgeError } from '../errors.ts';
import { trunkKeyBytes } from '../fabric/trunk/secure.ts';
import { foldHostList } from '../host-list.ts';
import { installationDir } from '../installation.ts';
import { type Finding, findingMaker } from '../machine/doctor-checks/finding.ts';
import type { GlobalOptions } from './program.ts';

function siteOf(file: string): Site {
  return readSite(readDocument(file, file), file);
}

/** The programs that slurmctld is to run. */
export function sitePrograms(): ConfPrograms {
  const at = (name: string): string => join(installationDir, 'scripts/slurm', name);
  return { resume: at('resume'), suspend: at('suspend'), resumeFail: at('resume-fail') };
}

/** @returns the exit code: 0 when all is there, 1 when something is missing, differs or is wrong */
export async function slurmSetupVerb(
  asked: string | undefined,
  options: GlobalOptions & { options?: boolean; nodes?: boolean },
): Promise<number> {
  const file = asked ?? defaultSiteFile;
  if (asked === undefined && !existsSync(file)) {
    throw new LodgeError('usage', 'there is no site file', {
      where: file,
      fix: 'write one, as docs/guides/slurm.md says, or name another: lodge slurm setup FILE',
    });
  }
  const site = siteOf(file);
  let found: Awaited<ReturnType<typeof lookAtSite>> | undefined;
  let unasked: unknown;
  try {
    found = await lookAtSite({ waits: false });
  } catch (error) {
    unasked = error;
  }
  const plan = planConf(site, sitePrograms(), found);
  const faults = [...plan.faults, ...hereFaults(site, resolve(file)), ...(await nameFaults(site))];
  if (options.json) {
    process.stdout.write(
      `${JSON.stringify({ file, isChecked: found !== undefined, lines: plan.lines, faults })}\n`,
    );
  } else {
    const part = options.nodes === true ? 'nodes' : options.options === true ? 'options' : 'all';
    process.stdout.write(renderConf(plan, part));
    tell(plan, faults, found !== undefined);
  }
  // Lines against a Slurm that did not answer are as good as they can be, and unchecked.
  if (unasked !== undefined) {
    if (!options.json || !(unasked instanceof LodgeError)) throw unasked;
    process.stderr.write(`${describeError(unasked)}\n`);
    return unasked.exitCode;
  }
  return faults.length > 0 || plan.lines.some(({ state }) => state !== 'there') ? 1 : 0;
}

function tell({ lines }: ConfPlan, faults: readonly ConfFault[], isChecked: boolean): void {
  for (const { what, fix } of faults) process.stderr.write(`lodge: ${what} [slurm-setup]\n  fix: ${fix}\n`);
  if (!isChecked) return;
  const count = (state: string): number => lines.filter((line) => line.state === state).length;
  const [missing, differing] = [count('missing'), count('differs')];
  const text =
    missing + differing === 0
      ? `all ${lines.length} lines are there`
      : `${count('there')} lines are there, ${missing} missing, ${differing} to be written in the place of others; then start slurmctld again, and: scontrol reconfigure`;
  process.stderr.write(`lodge: ${text}\n`);
}

/** What is wrong on this host, where slurmctld and its programs run. */
function hereFaults(site: Site, file: string): ConfFault[] {
  const { spec, nodes } = site;
  const faults: ConfFault[] = [];
  if (file !== defaultSiteFile) {
    faults.push({
      what: `slurmctld's programs read ${defaultSiteFile}, and this is ${file}`,
      fix: `cp ${file} ${defaultSiteFile}, where slurmctld runs`,
    });
  }
  try {
    ownSubnet(siteReach(site, sitePorts(new Map())), spec.fabric?.subnet);
  } catch (error) {
    if (!(error instanceof LodgeError)) throw error;
    faults.push({ what: error.message, fix: error.fix! });
  }
  for (const key of [spec['munge-key'], ...(spec.fabric === undefined ? [] : [spec.fabric.key])]) {
    const stats = statSync(key, { throwIfNoEntry: false });
    if (stats === undefined) continue;
    if (!stats.isFile()) {
      faults.push({ what: `${key} is no file, and so no key`, fix: 'name the file in the site file' });
    } else if (key === spec.fabric?.key && stats.size !== trunkKeyBytes) {
      faults.push({
        what: `${key} has ${stats.size} bytes, and a key of the network between v-nodes has ${trunkKeyBytes}`,
        fix: `head -c ${trunkKeyBytes} /dev/urandom >FILE, once; then on each host: install -D -o SLURMUSER -m 400 FILE ${key}`,
      });
    } else if ((stats.mode & 0o077) !== 0) {
      faults.push({ what: `others than its owner may read ${key}`, fix: `chmod 400 ${key}` });
    }
  }
  if (spec.images.includes('host') && !nodes.some(({ image }) => image === 'host')) {
    faults.push({
      what: "'host' is on the list of images, and no v-node boots it",
      fix: 'take it off the list: what is not needed is not allowed',
    });
  }
  for (const { name, where } of nodes.filter(({ image }) => image === 'host')) {
    if (spec.images.includes('host')) break;
    faults.push({
      what: `${where}: '${name}' boots 'host', which is not on the list of images`,
      fix: "add 'host' to images, or name another image",
    });
  }
  return faults;
}

/** Names of v-nodes that do not lead to their hosts here, where they must; on the other hosts they must, too. */
async function nameFaults({ spec, nodes }: Site): Promise<ConfFault[]> {
  if (spec.fabric === undefined) return [];
  const addresses = new Map<string, string | undefined>();
  const names = new Set(nodes.flatMap(({ name, host }) => [name, host]));
  await Promise.all(
    [...names].map(async (name) => {
      const found = await lookup(name, { family: 4 }).catch(() => undefined);
      addresses.set(name, found?.address);
    }),
  );
  const wrong = nodes.filter(({ name, host }) => {
    const at = addresses.get(host);
    return at === undefined || addresses.get(name) !== at;
  });
  if (wrong.length === 0) return [];
  const lines = wrong.map(({ name, host }) => `${addresses.get(host) ?? `ADDRESS-OF-${host}`} ${name}`);
  return [
    {
      what: `the names ${foldHostList(wrong.map(({ name }) => name).sort())} do not lead to the hosts of these v-nodes, as on all hosts of Slurm they must`,
      fix: `in the DNS, or in /etc/hosts of each:\n${lines.join('\n')}`,
    },
  ];
}

export async function slurmPowerVerb(
  verb: 'resume' | 'suspend' | 'resume-fail',
  list: string,
): Promise<void> {
  if (verb === 'resume') {
    const faults = await resumeNodes(() => siteOf(defaultSiteFile), list);
    for (const fault of faults) process.stderr.write(`lodge: ${fault}\n`);
    if (faults.length > 0) process.exitCode = 125;
    return;
  }
  const site = siteOf(defaultSiteFile);
  if (verb === 'suspend') await suspendNodes(site, list);
  else await failNodes(site, list);
}

/** What the doctor says of a site, where there is a site file. */
export async function siteFindings(): Promise<Finding[]> {
  const finding = findingMaker('Slurm');
  if (!existsSync(defaultSiteFile)) return [];
  const meaning = "guests cannot be nodes of this site's Slurm";
  try {
    const site = siteOf(defaultSiteFile);
    const { lines, faults } = planConf(site, sitePrograms(), await lookAtSite({ waits: false }));
    const left = lines.filter(({ state }) => state !== 'there').length;
    const all = [...faults, ...hereFaults(site, defaultSiteFile), ...(await nameFaults(site))];
    return [
      left === 0
        ? finding(
            'pass',
            'site',
            `slurm.conf has all ${lines.length} lines for v-nodes`,
            'power saving boots them',
          )
        : finding('warn', 'site', `slurm.conf lacks ${left} of ${lines.length} lines for v-nodes`, meaning, {
            advice: 'lodge slurm setup prints them',
          }),
      ...all.map(({ what, fix }) => finding('warn', 'site-fault', what, meaning, { advice: fix })),
    ];
  } catch (error) {
    if (!(error instanceof LodgeError)) throw error;
    return [finding('warn', 'site', reasonOf(error), meaning, { advice: error.fix ?? 'lodge slurm setup' })];
  }
}
