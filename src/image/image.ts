/** What a guest boots from, as the planner sees it: plain values, every path absolute, every file already checked. */

/** A Linux kernel that lodge boots directly, with its modules. */
export interface Kernel {
  /** Content address: sha256 (hex) of the kernel file. */
  id: string;
  /** As somebody asked for it, for messages. */
  file?: string;
  /** As `uname -r` prints it: `6.1.0-56-amd64`. */
  release: string;
  /** ELF with a PVH entry (unpacked vmlinux), which QEMU boots without decompressing it in the guest. */
  vmlinuxPath: string;
  /** The directory that holds `kernel/`, `modules.dep`, …: on the guest it is /lib/modules/RELEASE. */
  modulesPath?: string;
  source: 'host' | 'debian' | 'file';
}

/** A root file system that is never written: what the guest writes goes to a throw-away layer. */
export type Root =
  /** The host's own root, shared. */
  | { kind: 'host' }
  /** A file with a file system in it, given to the guest as a read-only disk. */
  | { kind: 'block'; filesystem: 'squashfs' | 'erofs'; path: string };

/** How commands run in an image by default, as recipes and OCI images say. */
export interface CommandDefaults {
  env?: Record<string, string>;
  cwd?: string;
  /** Whom commands run as, in the image's own users: `NAME`, `UID`, with `:GROUP`. Absent: whoever runs lodge. */
  user?: string;
  /** Put before the command's arguments. */
  entrypoint?: string[];
  /** Run when no command is given. */
  command?: string[];
}

export type Firmware = 'bios' | 'uefi';

export type Image =
  /** Linux with lodge's init and agent: commands can be run in it. Without `kernel`, the default kernel is used. */
  | { kind: 'linux'; name: string; id: string; root: Root; kernel?: Kernel; defaults?: CommandDefaults }
  /** Any kernel QEMU can load by itself (bzImage, multiboot, PVH ELF): console, logs and power only. */
  | {
      kind: 'kernel';
      name: string;
      kernelPath: string;
      initrdPath?: string;
      format: 'bzimage' | 'multiboot' | 'pvh';
    }
  /** A disk that the machine's firmware boots; the guest writes to a throw-away layer. */
  | { kind: 'disk'; name: string; path: string; format: 'raw' | 'qcow2'; firmware: Firmware }
  | { kind: 'iso'; name: string; path: string; firmware: Firmware };
