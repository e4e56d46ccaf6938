/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server: the broker's part in a backup of its own directory (protocol.h).
 *
 * A thread of its own, which sleeps in poll() when nobody backs up; one backup at a time, others
 * wait for it. Who may connect is who may read the files: the socket is its owner's (0600).
 *
 * At the bound: where the journal needs the room that is held, the backup is given up, and told;
 * who takes nothing of the checkpoint for BACKUP_STALL_S likewise, as LMDB's file grows meanwhile.
 *
 * Owner: main. The checkpoint and the keeper outlive it.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

struct checkpoint;
struct keeper;

#define BACKUP_STALL_S 60

struct backup_server {
    struct checkpoint *checkpoint; /* NULL: it does not run */
    struct keeper *keeper;
    int dir_fd, listen_fd;
    int end_fd; /* an eventfd: it is to end */
    pthread_t thread;

    pthread_mutex_t lock; /* after the keeper's */
    int stream;           /* that the checkpoint is being written to; -1: it is not */
    bool lost;            /* what is held is not any more, or it ends: nothing is to be written */
};

/* Where it cannot, that is logged; a broker serves without, too. */
void backup_server_start(struct backup_server *b, const char *dir, struct checkpoint *checkpoint,
                         struct keeper *keeper);
void backup_server_stop(
    struct backup_server *b); /* a backup under way is given up; fine with zeros */
