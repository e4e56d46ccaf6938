/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watched_file: a file of the operator's that is kept as it is on disk: read at the start, again
 * when it has changed and then stopped changing, and at SIGHUP. What is made of it, and what comes
 * of a mistake in it, is for those who read it.
 *
 * Owner: the main thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "broker/file_stamp.h"
#include "proto/nodiscard.h"

struct watched_file {
    char *name; /* "" or NULL: there is none to look after */
    struct file_watch watch;
};

/* To be read now, for the first time. false: no memory; told. */
NODISCARD bool watched_file_open(struct watched_file *f, const char *name);
void watched_file_close(struct watched_file *f); /* fine with zeros */

static inline bool watched_file_is_there(const struct watched_file *f)
{
    return f->name != NULL && f->name[0] != '\0';
}

/* Is it to be read again? `all`: whether it has changed or not. */
bool watched_file_is_due(struct watched_file *f, bool all);
