import { describe, expect, test } from 'vitest';
import { planConf, renderConf } from '../../../../src/cluster/engine/site/conf.ts';
import { digest, recordedSite, sampleSite, siteText } from './sample.ts';

const programs = { resume: '/p/resume', suspend: '/p/suspend', resumeFail: '/p/resume-fail' };

function stateOfLines(text = siteText, found = recordedSite()) {
  return planConf(sampleSite(text), programs, found);
}

const wholeConf = `# guests have no copy of the configuration that could get old: their slurmd asks slurmctld for it.
# A change of this line needs slurmctld to be started again
SlurmctldParameters=enable_configless
# sinfo shows v-nodes that are powered down, too; otherwise nobody would know of them
PrivateData=cloud
# guests are let out to these ports of srun, and not to all there are
SrunPortRange=30001-32000
# boots v-nodes when there is work for them, each in a holder job on its host
ResumeProgram=/p/resume
# ends the holder job, and the guest with it
SuspendProgram=/p/suspend
# says why a v-node did not come up in time, and gives its host back
ResumeFailProgram=/p/resume-fail
# a guest on n01, whose slurmd is reached there at port 17001
NodeName=v01 NodeAddr=n01 Port=17001 CPUs=2 RealMemory=1638 Feature=lodge,on-n01,el9 State=CLOUD
# a guest on n02, whose slurmd is reached there at port 17002
NodeName=v02 NodeAddr=n02 Port=17002 CPUs=2 RealMemory=1638 Feature=lodge,on-n02,el9 State=CLOUD
# a guest on n01, whose slurmd is reached there at port 17003
NodeName=v03 NodeAddr=n01 Port=17003 CPUs=2 RealMemory=1638 Feature=lodge,on-n01,el9 State=CLOUD
# a guest on n02, whose slurmd is reached there at port 17004
NodeName=v04 NodeAddr=n02 Port=17004 CPUs=2 RealMemory=1638 Feature=lodge,on-n02,el9 State=CLOUD
# the v-nodes. Power saving is of this partition alone: no other node is ever powered down by these lines.
# With SLURM_PARTITION=virtual,HOSTS the same line of srun goes to a host and to a guest
PartitionName=virtual Nodes=v[01-04] DefMemPerCPU=819 MaxTime=INFINITE SuspendTime=600 SuspendTimeout=30 ResumeTimeout=120 State=UP
`;

/** As the recorded Slurm has it. */
const matching = `networks: [10.99.0.0/24]
images: [${digest}]
suspend-time: 10s
resume-timeout: 40s
nodes: {'v[01-02]': {hosts: 'n[01-02]', image: compute, cpus: 1, memory: 250M}}
`;

function withConfig(changes: Record<string, string>) {
  const found = recordedSite();
  return { ...found, config: new Map([...found.config, ...Object.entries(changes)]) };
}

describe('lines of slurm.conf', () => {
  test('for a Slurm of which nothing is known, each with its reason', () => {
    const plan = planConf(sampleSite(), programs, undefined);
    expect(renderConf(plan, 'all')).toBe(wholeConf);
    expect(renderConf(plan, 'options') + renderConf(plan, 'nodes')).toBe(wholeConf);
  });

  test('only what is missing, and what is to be replaced', () => {
    const text = renderConf(stateOfLines(), 'all');
    expect(text).not.toContain('SlurmctldParameters');
    expect(text).not.toContain('PrivateData');
    expect(text).toContain('SrunPortRange=30001-32000\n');
    expect(text).toContain(
      `# In the place of: NodeName=v01 NodeAddr=n01 Port=17001 CPUs=1 RealMemory=200 Feature=lodge,on-n01 State=CLOUD
NodeName=v01 NodeAddr=n01 Port=17001 CPUs=2 RealMemory=1638 Feature=lodge,on-n01,el9 State=CLOUD
`,
    );
    expect(text).toContain(
      '# In the place of: PartitionName=virtual Nodes=v[01-02] SuspendTime=10 ResumeTimeout=40\n',
    );
  });

  test('what is there is not printed again', () => {
    const found = withConfig({
      ResumeProgram: '/p/resume',
      SuspendProgram: '/p/suspend',
      ResumeFailProgram: '/p/resume-fail',
      SrunPortRange: '60001-63000',
    });
    const plan = stateOfLines(matching, found);
    expect(plan.faults).toEqual([]);
    expect(plan.lines.filter(({ state }) => state !== 'there')).toEqual([]);
    expect(renderConf(plan, 'all')).toBe('');
    // The file of the nodes is whole each time that it is made.
    expect(renderConf(plan, 'nodes')).toMatch(
      /^NodeName=v01 [\s\S]*^NodeName=v02 [\s\S]*^PartitionName=virtual /m,
    );
  });

  test('the order of the site file is not that of Slurm, and no difference', () => {
    const { lines } = stateOfLines(matching.replace("'v[01-02]'", "'v02,v01'"));
    expect(lines.find(({ line }) => line.startsWith('PartitionName='))).toMatchObject({ state: 'there' });
  });

  test('options that are there stay', () => {
    const found = withConfig({ SlurmctldParameters: 'cloud_dns,power_save_interval=5', PrivateData: 'none' });
    const { lines } = stateOfLines(siteText, found);
    expect(lines.slice(0, 2)).toMatchObject([
      { line: 'SlurmctldParameters=cloud_dns,power_save_interval=5,enable_configless', state: 'differs' },
      { line: 'PrivateData=cloud', state: 'missing' },
    ]);
  });

  test('with a network between v-nodes, these are reached by names of their own', () => {
    const { lines, faults } = stateOfLines(`${siteText}fabric: {}\n`);
    expect(lines[0]).toMatchObject({
      line: 'SlurmctldParameters=enable_configless,cloud_dns',
      state: 'differs',
      is: 'SlurmctldParameters=enable_configless',
    });
    expect(lines[0]!.reason).toContain('cloud_dns');
    expect(renderConf({ lines }, 'nodes')).toContain(
      '# a guest on n02, where the name v02 leads to; its slurmd is reached there at port 17002\nNodeName=v02 NodeAddr=v02 Port=17002 ',
    );
    expect(faults).toEqual([]);
    const there = withConfig({ SlurmctldParameters: 'cloud_dns,enable_configless' });
    expect(stateOfLines(`${siteText}fabric: {}\n`, there).lines[0]!.state).toBe('there');
  });

  test('ports between v-nodes are none of srun', () => {
    const text = `${siteText}fabric: {first-port: 31999}\n`;
    // Also where srun is yet to be told which are its own.
    expect(stateOfLines(text).faults[0]!.what).toContain('are among those of srun (30001-32000)');
    expect(stateOfLines(text, withConfig({ SrunPortRange: '60001-63000' })).faults).toEqual([]);
    // Nor of the daemons on hosts.
    const daemons = withConfig({ SlurmdPort: '17002', SlurmctldPort: '6810-6817' });
    expect(
      stateOfLines(`${siteText}fabric: {first-port: 6817}\n`, daemons).faults.map(({ what }) => what),
    ).toEqual([
      'ports of the network between v-nodes, from 6817 on, are among those of slurmctld (6810-6817)',
      'ports of slurmd in v-nodes, from 17001 on, are among those of slurmd on hosts (17002)',
    ]);
  });

  test("a site's own ResumeProgram is told, not lost", () => {
    const { lines } = stateOfLines(siteText, withConfig({ ResumeProgram: '/site/resume' }));
    const line = lines.find((one) => one.line.startsWith('ResumeProgram='));
    expect(line).toMatchObject({ state: 'differs', is: 'ResumeProgram=/site/resume' });
  });

  test('in a tree of switches v-nodes are where their hosts are', () => {
    const text = siteText.replace('v[01-04]', 'v[03-04]');
    const { lines } = stateOfLines(text, withConfig({ TopologyPlugin: 'topology/tree' }));
    expect(lines.filter(({ file }) => file === 'topology.conf')).toMatchObject([
      { line: 'SwitchName=s1 Nodes=n01,v[01,03]', state: 'differs' },
      { line: 'SwitchName=s2 Nodes=n02,v[02,04]', state: 'differs' },
    ]);
    // In slurm.conf such a line is an error.
    expect(renderConf({ lines }, 'all')).toContain(
      '# In topology.conf:\n# SwitchName=s1 Nodes=n01,v[01,03]\n',
    );
  });
});

describe('what no line mends', () => {
  test('hosts that Slurm does not know, and v-nodes larger than theirs', () => {
    const { faults } = stateOfLines(
      siteText.replace("'n[01-02]'", "'n[02-03]'").replace('cpus: 2', 'cpus: 5'),
    );
    expect(faults.map(({ what }) => what)).toEqual([
      "slurm.yaml:6:3: 'v01' is larger than its host: 5 CPUs and 2496M of 4 CPUs and 4096M of n02",
      "slurm.yaml:6:3: 'v03' is larger than its host: 5 CPUs and 2496M of 4 CPUs and 4096M of n02",
      "slurm.yaml:6:3: Slurm knows no node 'n03'",
    ]);
  });

  test('the partition of the hosts', () => {
    expect(stateOfLines(`${siteText}partition: phys\n`).faults.map(({ what }) => what)).toEqual([
      "partition 'phys' has n[01-02], which are no v-nodes",
    ]);
  });

  test('a Slurm that is too old, or has another way to prove who one is', () => {
    const { faults } = stateOfLines(
      siteText,
      withConfig({ SLURM_VERSION: '20.11.9', AuthType: 'auth/slurm' }),
    );
    expect(faults.map(({ what }) => what).join('\n')).toMatch(/20\.11\.9[\s\S]*auth\/slurm/);
  });
});
