/* SPDX-License-Identifier: Apache-2.0 */
/*
 * story: the rings of all shards as one capture file, in the order of time. What is no packet is a
 * line of text: accepted, connected, closed, dropped, malformed.
 *
 * Owner: whoever calls; the rings must not be written meanwhile, or may be in a process that is
 * about to end. No call here allocates or locks: a signal handler may make it.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/config/config.h"
#include "proto/nodiscard.h"

#define STORY_SHARDS_MAX 64u

struct node;
struct note;
struct note_ring;

struct story {
    const struct note_ring *rings[STORY_SHARDS_MAX]; /* [0..shards); NULL: of that one nothing */
    unsigned shards;
    uint16_t ports[CONFIG_LISTENERS_MAX]; /* [0..listeners): of each listener */
    unsigned listeners;
    int64_t wall_offset_ms; /* clock on the wall, since 1970, less the records' */
    const char *program;    /* name and version */
};

/* false: it could not be written, and nothing more is tried. */
typedef bool story_sink(void *context, const void *bytes, size_t len);

/* All but the rings. */
void story_of(struct story *s, const struct node *node);

NODISCARD bool story_tell(const struct story *s, story_sink *sink, void *context);

/* The same, by and by, of notes that come from elsewhere; a pause: there
 * was none until then. */
NODISCARD bool story_begin(const struct story *s, story_sink *sink, void *context);
NODISCARD bool story_note(const struct story *s, unsigned shard, const struct note *note,
                          story_sink *sink, void *context);
NODISCARD bool story_pause(const struct story *s, uint64_t at_ms, story_sink *sink, void *context);
