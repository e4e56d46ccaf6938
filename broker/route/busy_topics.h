/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busy_topics: which topics clients publish most to, of the last BUSY_WINDOW_MS to twice that.
 *
 *   message ─ one of `stride` ─▶ the current window: two sketches, by messages and by bytes
 *                                the window before it
 *
 * A sketch is Space-Saving (Metwally, Agrawal, El Abbadi, 2005): who is in it is counted, who is
 * not takes the place of the one with the least, and that count as its own possible error. Whoever
 * has more than one BUSY_TOPICS_MAXth of all is in it. While little is published each message is a
 * sample; so that a stream costs little there are some BUSY_SAMPLES in BUSY_LOOK_MS, each of which
 * counts for `stride`.
 *
 * Owner: the shard. Memory: 150 KiB, of which those pages are real that topics were put into.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/nodiscard.h"

struct message;

#define BUSY_TOPICS_MAX 128u
#define BUSY_TOPIC_TEXT_MAX                                                                        \
    256u /* of a topic's text; what is longer is told from others by hash                          \
          */
#define BUSY_WINDOW_MS 5000u
#define BUSY_LOOK_MS   100u
#define BUSY_SAMPLES   32u

struct busy_topic {
    uint64_t hash;  /* of the topic, whole */
    uint64_t count; /* what the sketch is by; at most so much, */
    uint64_t error; /* and at least so much less */
    uint64_t other; /* bytes, or messages, since it is in the sketch */
    uint16_t len;   /* of the topic, whole */
    uint8_t text[BUSY_TOPIC_TEXT_MAX];
};

struct busy_sketch {
    uint32_t used;
    uint8_t hints[64]; /* by the hash's low bits: where it was found last */
    struct busy_topic all[BUSY_TOPICS_MAX];
};

enum busy_by { BUSY_BY_MESSAGES, BUSY_BY_BYTES, BUSY_BYS };

struct busy_window {
    struct busy_sketch sketches[BUSY_BYS];
};

struct busy_topics {
    uint32_t countdown; /* messages until the next sample */
    uint32_t stride;    /* so many messages for a sample, on average */
    uint32_t samples;   /* since looked_ms */
    uint32_t random;
    uint64_t looked_ms;
    uint64_t began_ms;  /* the current window */
    uint64_t before_ms; /* how long the one before it was; 0: there is none */
    unsigned current;
    struct busy_window *windows; /* [2]: at `current`, and the other */
};

NODISCARD bool busy_topics_init(struct busy_topics *b, uint64_t now_ms); /* false: no memory */
void busy_topics_fini(struct busy_topics *b);

/* As time goes by: once a turn, and before it is read. */
void busy_topics_turn(struct busy_topics *b, uint64_t now_ms);

/* Of busy_topics.c; called by the one below. */
void busy_topics_sample(struct busy_topics *b, const struct message *m);

static inline void busy_topics_count(struct busy_topics *b, const struct message *m)
{
    if (--b->countdown == 0) {
        busy_topics_sample(b, m);
    }
}

/* How long it is that both windows are of, after busy_topics_turn(). */
static inline uint64_t busy_topics_ms(const struct busy_topics *b, uint64_t now_ms)
{
    return now_ms - b->began_ms + b->before_ms;
}
