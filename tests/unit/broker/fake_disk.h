/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_disk: a directory that outlives the fake_node that keeps its sessions in it: it can be
 * opened by another one, after a clean end, or after a crash that has lost what was under way.
 *
 *   fake_disk_create() ─▶ fake_disk_open(node) ─▶ … ─▶ fake_disk_crash() or _close() ─▶ open …
 *
 * and, where there is one of it: fake_disk_begin() ─▶ fake_disk_again() ─▶ … ─▶ fake_disk_end().
 *
 * The threads of checkpoint and keeper are real ones; fake_disk_wait(), after each turn, waits for
 * what they were asked for, so that everything still happens in an order that follows from the
 * calls. What the checkpoint's thread has answered can be withheld, as by a slow disk.
 *
 * Owner: one thread. Memory: files, in memory where there is /dev/shm.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/persistence.h"
#include "tests/unit/broker/fake_node.h"

struct shard;

struct fake_disk {
    char dir[64];
    char setting[80]; /* "data.dir=…", for fake_node_create() */
    struct persistence persistence;
    struct fake_node *n;           /* that has it open; NULL: none has */
    bool held;                     /* no answer of the checkpoint's thread is told */
    int answers[INDEX_SHARDS_MAX]; /* that are withheld; 0: none */
};

void fake_disk_create(struct fake_disk *disk);                             /* empty */
void fake_disk_copy(struct fake_disk *disk, const struct fake_disk *from); /* nobody has it open */
void fake_disk_destroy(struct fake_disk *disk);

/* Before the node has had a client; it was given the disk's setting. */
void fake_disk_open(struct fake_disk *disk, struct fake_node *n);

/* An empty one, and a clock; for a test that goes on with fake_disk_again(). */
void fake_disk_begin(struct fake_disk *disk);

/* A node with those settings, and the disk's, has it open from now on. */
struct fake_node *fake_disk_again(struct fake_disk *disk, unsigned shards,
                                  const char *const settings[]);

void fake_disk_end(struct fake_disk *disk); /* a clean one; it is checked, and goes */

void fake_disk_wait(struct fake_disk *disk);            /* for the threads */
bool fake_disk_has_news(const struct shard *s);         /* which the shard has not looked at */
void fake_disk_hold(struct fake_disk *disk, bool hold); /* writes, and answers */

/* Both destroy the node. A crash: of what is being written those sectors are there of which kept()
 * says so (io_fake_files_lose()). */
void fake_disk_crash(struct fake_disk *disk, bool (*kept)(void *context, uint64_t sector),
                     void *context);
void fake_disk_close(struct fake_disk *disk);

/* All that is said is on disk, and nobody is owed an answer that says so. */
bool fake_disk_is_quiet(const struct fake_disk *disk);

/*
 * A hash of all that a node keeps: sessions with their subscriptions, queues, and handshakes, by
 * client identifier, and retained messages, by topic. The same whatever the number of shards. Of
 * those sessions for which by_time() says no, without what follows from when their connections
 * ended. NULL: yes, for all.
 */
uint64_t fake_disk_state(struct fake_node *n,
                         bool (*by_time)(void *context, struct bytes client_id), void *context);

/* Is in the checkpoint what has to be, and nothing that nothing refers to? Aborts with a sentence
 * otherwise. Nobody has it open, and the last end was a clean one. */
void fake_disk_check(const struct fake_disk *disk);
