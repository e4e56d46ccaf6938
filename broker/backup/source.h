/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source: a data directory that is being backed up, from outside: of a broker that runs, which is
 * asked to hold still what is needed (protocol.h); or of none, and then it is locked.
 *
 *   source_open() ─▶ source_checkpoint() ─▶ source_journals() ─▶ source_held() ─▶ source_close()
 *
 * In that order: nothing in the checkpoint is newer than what the journals have on disk; and what
 * they have beyond it stays, as no segment goes from the first step to the last.
 *
 * Owner: the command, one thread. Problems are told in `error`, and answered with false.
 */
#pragma once

#include <stdbool.h>

#include "broker/data_dir.h"
#include "broker/store/checkpoint.h"
#include "proto/nodiscard.h"

struct config_error;

struct source {
    const char *dir; /* borrowed */
    int dir_fd;
    int lock_fd;    /* -1: a broker runs */
    int control_fd; /* to it; -1: none runs */
    char node_id[NODE_ID_TEXT];
};

NODISCARD bool source_open(struct source *s, const char *dir, struct config_error *error);

/* Writes the checkpoint to that file. */
NODISCARD bool source_checkpoint(struct source *s, int fd, struct config_error *error);

/* Into the directory `to`, of the store that the checkpoint is of. */
NODISCARD bool source_journals(struct source *s, const char *to,
                               const uint8_t store_id[CHECKPOINT_ID_BYTES],
                               struct config_error *error);

/* Nothing of what has been copied had gone before it was. */
NODISCARD bool source_held(struct source *s, struct config_error *error);

void source_close(struct source *s); /* also when opening it failed */
