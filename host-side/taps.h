/*
 * TAP devices for PROGRAM on bridges of the kernel. They are in the network namespace of the cluster, which holder.c
 * keeps, and are gone when PROGRAM closes them. The keeper itself stays out of that namespace, and has it open, so
 * that another holder finds it when the first was killed.
 */
#pragma once

/* What the keeper has open of the cluster: its network namespace, and the user namespace that owns it. */
enum { NETWORK_FD = 64, USER_FD = 65 };

/* One more wire, with a device of this name that joins the bridge. 0 when the words are none, or there are too many. */
int tap_add(const char *bridge, const char *name, const char *mtu);

/* Makes all of them, where the holder is that the file names. 0, or -1 with errno and, in taps_failed, what failed. */
int taps_open(const char *holder_file);

extern char taps_failed[96];
