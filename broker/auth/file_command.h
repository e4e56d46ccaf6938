/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file_command: the frame of a command that changes a small file of the broker's, or looks at it
 * (dunlin passwd, dunlin ban, dunlin admin-key): words and flags, what is said when the file will
 * not, and the status.
 *
 *   file_command_take() ─▶ the command judges what it was given ─▶ file_command_begins()
 *       ─▶ it does it, mostly by file_command_edit() ─▶ file_command_end()
 *
 * Owner: the caller, on its stack. Memory: none; what was given is borrowed from argv.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "broker/auth/locked_file.h"
#include "broker/config/config_error.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define FILE_COMMAND_WORDS_MAX 4u

/* One of the two pointers is NULL. */
struct file_flag {
    const char *name;
    bool *given;
    const char **value; /* NULL before; what stands behind the flag */
};

struct file_command {
    const char *name; /* as in "dunlin NAME" */
    const char *help;
    const struct file_flag *flags; /* besides --help, -h and --create */
    size_t flag_count;
    size_t bytes_max; /* of the file */
    const char *file; /* by file_command_tell() */
    bool makes;       /* where there is none --create would make one; likewise */

    /* What was given: */
    bool help_wanted, create;
    const char *words[FILE_COMMAND_WORDS_MAX];
    unsigned word_count; /* also those that found no room */

    struct config_error error; /* what is wrong */
};

/* false: it is in c->error, or help is wanted. Behind -- there are no flags. What is no flag may be
 * a password, and is not repeated unless it looks like one of them. */
NODISCARD bool file_command_take(struct file_command *c, int argc, char *const *argv);

/* false: what there is to say was said, and *status is to be exited with. */
NODISCARD bool file_command_begins(const struct file_command *c, int *status);
int file_command_end(const struct file_command *c, bool done); /* the status */

/* Into c->error. sys_errno 0: errno has nothing to say. */
void file_command_tell(struct file_command *c, enum locked_file_err err, int sys_errno);

/* What is to stand in the file in the place of `text`, of *len bytes and to be freed; NULL: it
 * stays, and why is in c->error. */
typedef char *file_command_edit_fn(struct file_command *c, void *context, struct bytes text,
                                   size_t *len);

/* Locked, and replaced at once. false: why is in c->error. */
NODISCARD bool file_command_edit(struct file_command *c, file_command_edit_fn *edit, void *context);
