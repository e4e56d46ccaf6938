/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backup/tree.h"

#include <errno.h>
#include <ftw.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "broker/directory.h"

#define DESCRIPTORS 8

static int take_away(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type;
    return at->level == 0 || remove(path) == 0 ? 0 : errno;
}

int tree_clear(const char *path)
{
    const int found = nftw(path, take_away, DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
    return found < 0 ? errno : found;
}

static int sync_if_dir(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)at;
    return type == FTW_DP ? directory_sync(path) : 0;
}

int tree_sync(const char *path)
{
    const int found = nftw(path, sync_if_dir, DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
    return found < 0 ? errno : found;
}

int tree_sync_parent(const char *path)
{
    char *const copy = strdup(path);
    const int err = copy == NULL ? ENOMEM : directory_sync(dirname(copy));
    free(copy);
    return err;
}
