/**
 * What programs need that their ELF headers do not say: plugins, helpers, data. A table: to teach lodge a new
 * family of programs, add a row.
 */

export interface Family {
  name: string;
  /** The family is there when the path of a taken file, its links resolved, matches. */
  when: RegExp;
  /**
   * Files and whole directories to take where they exist. `{dir}` is the directory of the file that matched, `{1}`
   * a group of the match, `*` anything within one name.
   */
  take?: string[];
  /** Programs to take if they are on the PATH. */
  programs?: string[];
  /** Arguments with which the program itself prints the directories it searches, one in a line. */
  asks?: string[];
}

export const families: readonly Family[] = [
  {
    name: 'glibc',
    when: /\/libc(?:\.so\.6|-2\.\d+\.so)$/,
    take: [
      // Loaded by name: user look-up, cancelling of threads.
      '{dir}/libnss_files.so*',
      '{dir}/libnss_dns.so*',
      '{dir}/libnss_compat.so*',
      '{dir}/libgcc_s.so.1',
      '{dir}/gconv/gconv-modules*',
      '{dir}/gconv/UTF-*.so',
      '{dir}/gconv/UNICODE.so',
      '{dir}/gconv/ISO8859-1.so',
      '{dir}/gconv/ISO8859-15.so',
      '/usr/lib/locale/C.utf8',
    ],
  },
  {
    name: 'Open MPI',
    when: /\/libopen-pal\.so\.[\d.]+$/,
    take: [
      '{dir}/openmpi',
      '{dir}/../share/openmpi',
      '{dir}/../etc/openmpi*',
      '{dir}/../etc/pmix*',
      '{dir}/../../share/openmpi',
      '{dir}/libmca_common_*.so*',
      '/usr/share/openmpi',
      '/etc/openmpi',
    ],
    // mpiexec refuses to start without a remote shell, even for ranks of one host.
    programs: ['orted', 'prted', 'prterun', 'ssh'],
  },
  {
    name: 'MPICH',
    when: /\/libmpich?\.so\.12[\d.]*$/,
    programs: ['hydra_pmi_proxy', 'hydra_nameserver', 'ssh'],
  },
  {
    name: 'PMIx',
    when: /\/libpmix\.so\.[\d.]+$/,
    take: ['{dir}/pmix', '{dir}/../share/pmix*', '{dir}/../etc/pmix*'],
  },
  { name: 'hwloc', when: /\/libhwloc\.so\.[\d.]+$/, take: ['{dir}/hwloc', '{dir}/../share/hwloc'] },
  { name: 'UCX', when: /\/libucs\.so\.[\d.]+$/, take: ['{dir}/ucx', '{dir}/../etc/ucx', '/etc/ucx'] },
  { name: 'libfabric', when: /\/libfabric\.so\.[\d.]+$/, take: ['{dir}/libfabric'] },
  {
    name: 'verbs',
    when: /\/libibverbs\.so\.[\d.]+$/,
    take: ['{dir}/libibverbs', '/etc/libibverbs.d'],
  },
  { name: 'Slurm', when: /\/libslurm[\w-]*\.so[\d.]*$/, take: ['{dir}/slurm*', '{dir}/slurm-wlm'] },
  {
    name: 'Python',
    when: /\/((?:python|pypy)\d[\d.]*)$/,
    take: ['/etc/{1}'],
    asks: ['-c', 'import sys\nfor p in sys.path[1:] + [sys.prefix + "/pyvenv.cfg"]: print(p)'],
  },
  {
    name: 'Perl',
    when: /\/perl(?:5[\d.]*)?$/,
    asks: ['-e', 'print "$_\\n" for grep { !ref && $_ ne "." } @INC'],
  },
  {
    // A program installed by npm: its link leads into its package.
    name: 'Node package',
    when: /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//,
    take: ['{1}'],
  },
  {
    name: 'OpenSSL',
    when: /\/libcrypto\.so\.[\d.]+$/,
    take: ['{dir}/ossl-modules', '{dir}/engines-3', '/etc/ssl/openssl.cnf', '/usr/lib/ssl/openssl.cnf'],
  },
  { name: 'ncurses', when: /\/libtinfo\.so\.[\d.]+$/, take: ['/lib/terminfo', '/etc/terminfo'] },
];

/** In directories that are taken whole, what no program reads when it runs. */
export const leftOut: readonly RegExp[] = [
  /\.(?:a|la|o|pc)$/,
  /\/lib\/python[\d.]+\/(?:test|idlelib|ensurepip|lib2to3\/tests)$/,
  /\/lib\/python[\d.]+\/config-[^/]+$/,
  /\/perl\/[\d.]+\/CORE$/,
];

/** Never taken whole because of a rule: they hold a good part of the host. */
export const sharedDirectories = /^\/(?:[^/]*|usr\/(?:local\/)?[^/]*|usr\/lib\/[^/]*-linux-[^/]*)$/;

/** Never taken, even when a rule or a directory holds it: secrets, and what the guest's kernel provides. */
export const neverTaken: readonly RegExp[] = [
  /^\/(?:proc|sys|dev)(?:\/|$)/,
  /^\/etc\/g?shadow-?$/,
  /^\/etc\/(?:sudoers|sudoers\.d|munge|krb5\.keytab|security\/opasswd)(?:\/|$)/,
  /^\/etc\/ssh\/ssh_host_[^/]*_key$/,
  /^\/etc\/ssl\/private(?:\/|$)/,
];

/** Programs that every closure has, where the host has them: a shell, and what people and `lodge cp` expect. */
export const basicPrograms: readonly string[] =
  `sh bash tar env id uname hostname true false test [ echo printf cat head tail tee wc cut sort uniq tr seq
   ls cp mv rm ln mkdir rmdir mkfifo mknod touch chmod chown chgrp stat readlink realpath basename dirname pwd
   df du dd sync sleep timeout date nproc nice nohup kill ps grep sed find xargs mount umount dmesg
   sha256sum md5sum mktemp stty tty who whoami getconf getent gzip`.split(/\s+/);

/** Files of /etc that libraries read, as they are on the host. */
export const basicFiles: readonly string[] = [
  '/etc/nsswitch.conf',
  '/etc/ld.so.conf',
  '/etc/ld.so.conf.d',
  '/etc/ld.so.cache',
  '/etc/host.conf',
  '/etc/protocols',
  '/etc/services',
  '/etc/localtime',
  '/etc/os-release',
  '/etc/shells',
  '/etc/inputrc',
  '/etc/debian_version',
];

/** Directories that a root has, with their modes. */
export const basicDirectories: readonly (readonly [path: string, mode: number])[] = [
  ['/dev', 0o755],
  ['/etc', 0o755],
  ['/home', 0o755],
  ['/mnt', 0o755],
  ['/opt', 0o755],
  ['/proc', 0o555],
  ['/root', 0o700],
  ['/run', 0o755],
  ['/srv', 0o755],
  ['/sys', 0o555],
  ['/tmp', 0o1777],
  ['/usr', 0o755],
  ['/var', 0o755],
  ['/var/lib', 0o755],
  ['/var/log', 0o755],
  ['/var/tmp', 0o1777],
];

/** Links of the root that merged and unmerged distributions have, kept as the host has them. */
export const basicLinks: readonly string[] = ['/bin', '/sbin', '/lib', '/lib64', '/var/run', '/var/lock'];

/** Changes with these tables, and by hand when what is done with them changes: older images are not used then. */
export const rulesId: string = JSON.stringify(
  [
    1,
    families,
    leftOut,
    sharedDirectories,
    neverTaken,
    basicPrograms,
    basicFiles,
    basicDirectories,
    basicLinks,
  ],
  (_, value: unknown) => (value instanceof RegExp ? value.source : value),
);
