/* SPDX-License-Identifier: Apache-2.0 */
/*
 * data_dir: the node's directory on disk: one process at a time, and an identity that outlives it.
 *
 *   DIR/dunlin.lock   locked while a broker runs on it
 *   DIR/node.id       a UUID, made at the first start: which node this is, whatever its name
 *
 * Owner: the main thread.
 */
#pragma once

#include "proto/nodiscard.h"

#define NODE_ID_TEXT 37u /* 36 characters and NUL */

enum data_dir_err {
    DATA_DIR_OK = 0,
    DATA_DIR_UNREACHABLE, /* it cannot be made, or not be written to */
    DATA_DIR_IN_USE,      /* another process has it */
    DATA_DIR_BAD_ID,      /* node.id does not hold a UUID */
    DATA_DIR_NONE,        /* there is no node.id */
    DATA_DIR_UNFINISHED,  /* a restore has begun to fill it, and not ended */
};

/* There while it is being filled. */
#define DATA_DIR_UNFINISHED_MARK "restore.unfinished"

struct data_dir {
    int lock_fd; /* -1: not open */
    char node_id[NODE_ID_TEXT];
};

/* Makes the directory if it is missing (not its parents), locks it, reads or makes the identity.
 * *sys_errno is set when DATA_DIR_UNREACHABLE. */
NODISCARD enum data_dir_err data_dir_open(struct data_dir *d, const char *path, int *sys_errno);

/* Which node it is of; nothing is made or locked. */
NODISCARD enum data_dir_err data_dir_identify(int dir, char node_id[NODE_ID_TEXT]);

void data_dir_close(struct data_dir *d); /* fine with lock_fd = -1 */

const char *data_dir_err_text(enum data_dir_err err); /* with the remedy */
