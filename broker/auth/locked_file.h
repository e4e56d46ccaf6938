/* SPDX-License-Identifier: Apache-2.0 */
/*
 * locked_file: a small file that several may want to change: one at a time, and each reader, also
 * one after a crash, finds it as it was before a change or as it is after it.
 *
 *   open: lock ─▶ read ─▶ replace: write beside, fsync, rename, fsync the directory ─▶ close
 *
 * The lock is flock() on the file itself. As a rename gives the name to another file, who gets the
 * lock looks whether it still has the one that bears the name, and begins anew if not.
 * The file beside is called .NAME.dunlin; one that a crash left is removed by the next change.
 * The new one has the owner, group and mode of the old. A symbolic link is followed: what it leads
 * to is replaced. Not kept: extended attributes, ACLs, further hard links.
 *
 * Owner: the caller, on its stack.
 * At the bound: LOCKED_FILE_BUSY after LOCKED_FILE_WAIT_MS.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define LOCKED_FILE_WAIT_MS 10000u

enum locked_file_err {
    LOCKED_FILE_OK = 0,
    LOCKED_FILE_ABSENT,
    LOCKED_FILE_EXISTS, /* where a new one was asked for */
    LOCKED_FILE_UNREACHABLE,
    LOCKED_FILE_IRREGULAR, /* a directory, a device, … */
    LOCKED_FILE_BUSY,
    LOCKED_FILE_UNREADABLE,
    LOCKED_FILE_TOO_LARGE,
    LOCKED_FILE_FOREIGN,    /* the new file could not be given the owner of the old */
    LOCKED_FILE_UNWRITABLE, /* the old one is as it was, or already the new one, but maybe not
                               through a loss of power */
    LOCKED_FILE_NO_MEMORY,
};

enum locked_file_how {
    LOCKED_FILE_OLD, /* it exists */
    LOCKED_FILE_NEW, /* it does not; it is made, empty and with mode 0600, and goes again if the
                        change does not come about */
};

struct locked_file {
    int dir;
    int fd;
    char *path; /* without symbolic links; name points into it */
    char *name;
    char *beside;
    struct stat was;
    bool created;
};

const char *locked_file_err_text(enum locked_file_err err);

/* On anything but LOCKED_FILE_OK nothing is to be closed; *sys_errno is 0 where errno has nothing
 * to say. */
NODISCARD enum locked_file_err locked_file_open(struct locked_file *f, const char *path,
                                                enum locked_file_how how, int *sys_errno);
/* *text is to be freed; it is len bytes and then a NUL. */
NODISCARD enum locked_file_err locked_file_read(struct locked_file *f, size_t bytes_max,
                                                char **text, size_t *len, int *sys_errno);
/* Once. */
NODISCARD enum locked_file_err locked_file_replace(struct locked_file *f, struct bytes text,
                                                   int *sys_errno);
void locked_file_close(struct locked_file *f);
