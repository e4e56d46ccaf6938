/* SPDX-License-Identifier: Apache-2.0 */
/*
 * persistence: what the process keeps on disk, from the start to the end: the checkpoint and the
 * journals are read, the shards get their stores, and at a clean end all is in the checkpoint.
 *
 *   DIR/checkpoint/   sessions, queued and retained messages (store/checkpoint.h)
 *   DIR/journal/      what has happened since (cluster/journal)
 *
 * Owner: main.
 */
#pragma once

#include <stdbool.h>

#include "broker/backup/server.h"
#include "broker/route/index.h"
#include "proto/nodiscard.h"

struct checkpoint;
struct config;
struct keeper;
struct node;
struct store;

struct persistence {
    struct node *node; /* NULL: nothing is kept */
    struct checkpoint *checkpoint;
    struct keeper *keeper;
    struct store *stores[INDEX_SHARDS_MAX];
    uint32_t
        batch_bytes; /* of a journal, at least; for tests, which have small ones. 0: as usual */
    struct backup_server backups;
};

/* Before the shards run; the data directory is open. false: it has been logged. */
NODISCARD bool persistence_open(struct persistence *p, struct node *node,
                                const struct config *config);

/* The log says what the list `topics` risks, at the start and when it was read again. */
void persistence_tell_topics(const struct persistence *p, const struct config *config);

/* The shards have ended: what is only in memory goes to the checkpoint, and the node has stores no
 * more. */
void persistence_save(struct persistence *p);

void persistence_close(struct persistence *p); /* the node is destroyed; fine when never opened */
