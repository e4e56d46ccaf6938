/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backup_command: `dunlin backup` and `dunlin restore`: a copy of what a node keeps, while it runs,
 * and a directory made of it again. --help says how each is called.
 *
 *   DIR2.dunlin-partial/   what is being written; checked, and then renamed
 *   DIR2/                  node.id, checkpoint/data.mdb, journal/…, and dunlin.backup (manifest.h)
 *
 * A restore cannot rename, as the data directory may be a mount point: until it is over there is a
 * file in it on which no broker starts (data_dir.h).
 */
#pragma once

/* argv[0] is "backup" or "restore". The process's exit status: 0, 1 where it failed, 2 where it was
 * called wrongly. */
int backup_command(int argc, char *const *argv);
int restore_command(int argc, char *const *argv);
