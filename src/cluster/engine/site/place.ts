/** Where the site file is: the programs that slurmctld runs are given no options. */
export const defaultSiteFile = '/etc/lodge/slurm.yaml';
