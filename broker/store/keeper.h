/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper: a thread that makes the segments of all shards' journals ready, and takes away those that
 * are not needed any more; since both may wait for the disk, and a shard does not.
 *
 *   shard ── wanted, needed ─▶ keeper_look() ─▶ keeper: files ── ready, descriptor ─▶ shard, woken
 *
 * What cannot be made (the disk is full, …) is tried again every second; meanwhile the slot says
 * why. Owner: main. Memory: a few descriptors a shard.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/nodiscard.h"

struct keeper;

/* Between one shard and the keeper. */
struct keeper_slot {
    /* The shard's to write, release; the keeper reads, acquire. */
    _Atomic uint64_t wanted; /* number of the segment to be made ready; 0: none */
    _Atomic uint64_t needed; /* lower ones may go */

    /* The keeper's to write, `ready` last and with release. */
    int descriptor;            /* of segment `ready`; the keeper's to close when it is not needed */
    _Atomic uint64_t ready;    /* the segment that was made last; 0: none */
    _Atomic int error;         /* errno of why `wanted` is not made; 0: nothing is wrong */
    _Atomic uint64_t segments; /* files that there are */
};

struct keeper_conf {
    const char *dir;
    unsigned shards;
    uint64_t segment_bytes;
    uint64_t segments_max; /* of each shard; at the bound none is made: ENOSPC */
    void (*wake)(void *context, unsigned shard); /* there is something new in its slot */
    void *context;
};

/* 0 or an errno. */
NODISCARD int keeper_create(struct keeper **out, const struct keeper_conf *conf);
struct keeper_slot *keeper_slot_of(struct keeper *k, unsigned shard);

NODISCARD int keeper_start(struct keeper *k); /* 0 or an errno */

/*
 * Until it is released no segment is removed or used again, as somebody copies them. It is given up
 * where a journal needs the room: when a shard has segments_max files, or another cannot be made;
 * lost() is called then, by the keeper's thread, once: short, and never waits.
 * One at a time. It waits for what the keeper is about, the making of a segment for example.
 */
void keeper_hold(struct keeper *k, void (*lost)(void *context), void *context);
bool keeper_release(struct keeper *k); /* false: it was given up before */

void keeper_look(struct keeper *k);    /* a slot says something new; any thread; short */
void keeper_stop(struct keeper *k);    /* the thread is over; fine when it never ran */
void keeper_destroy(struct keeper *k); /* closes what is open; NULL is fine */
