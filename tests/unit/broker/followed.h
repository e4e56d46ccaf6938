/* SPDX-License-Identifier: Apache-2.0 */
/*
 * followed: what a node said of its sessions while it ran, as a node that follows it would hear of
 * it: entries of each partition, with the serial numbers of partitions that several nodes have; and
 * what a checkpoint of it had, likewise.
 *
 * A broker on its own numbers sessions for itself, so both are renumbered here. It says an
 * operation in several entries without saying so (ENTRY_MORE_FOLLOWS): that is added, too. And a
 * retained message that it queues for a new subscription has the operation that stored it, though
 * it is none: that is taken away.
 *
 * Owner: the test. What cannot happen aborts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/store/records_memory.h"
#include "broker/store/serial.h"
#include "proto/bytes.h"

struct checkpoint;

struct followed_entry {
    uint64_t index; /* in its partition, from 1 on, without gaps */
    uint8_t *bytes;
    size_t len;
};

struct followed_partition {
    struct followed_entry *entries;
    size_t count, capacity;
};

struct followed {
    struct followed_partition partitions[SERIAL_PARTITIONS];
    struct {
        uint64_t serial;
        unsigned partition;
    } * sessions; /* that ever were */
    struct {
        uint64_t serial, number;
    } * replayed; /* deliveries */
    size_t sessions_count, sessions_capacity;
    size_t replayed_count, replayed_capacity;
};

/* A delivery that is about to be written is of a retained message, for a new subscription. */
void followed_add_replayed(struct followed *f, uint64_t serial, uint64_t number);

/* One that was written, in order. */
void followed_add(struct followed *f, unsigned partition, uint64_t index, struct bytes entry);

/* All are there: they are as a follower hears of them. */
void followed_renumber(struct followed *f);
void followed_fini(struct followed *f);

struct bytes followed_entry(const struct followed *f, unsigned partition, uint64_t index);

/* What the checkpoint has; applied[] is up to where. */
void followed_load(const struct followed *f, struct checkpoint *cp, struct records_memory *m,
                   uint64_t applied[SERIAL_PARTITIONS]);

/* The other way: instead of all sessions of the checkpoint those of the records. */
void followed_store(const struct records_memory *m, struct checkpoint *cp);

/* All of `from`, into one that is empty. */
void followed_clone(struct records_memory *to, const struct records_memory *from);

/* Each delivery has its body, and each body as many as are counted. Aborts with a sentence. */
void followed_check(const struct records_memory *m);
