/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/busy_topics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/message.h"

#define STRIDE_MAX (1u << 20)
#define HINTS      (sizeof((struct busy_sketch *)NULL)->hints)

static_assert(BUSY_TOPICS_MAX <= UINT8_MAX + 1u, "a hint is a byte");

bool busy_topics_init(struct busy_topics *b, uint64_t now_ms)
{
    *b = (struct busy_topics){.countdown = 1,
                              .stride = 1,
                              .random = 1,
                              .looked_ms = now_ms,
                              .began_ms = now_ms,
                              .windows = calloc(2, sizeof b->windows[0])};
    return b->windows != NULL;
}

void busy_topics_fini(struct busy_topics *b)
{
    free(b->windows);
    b->windows = NULL;
}

/* ---- a sketch */

static void clear(struct busy_window *w)
{
    for (unsigned by = 0; by < BUSY_BYS; by++) {
        w->sketches[by].used = 0;
    }
}

static bool is_of(const struct busy_topic *t, const struct message *m)
{
    return t->hash == m->topic_hash && t->len == m->topic_len;
}

static struct busy_topic *find(struct busy_sketch *s, const struct message *m)
{
    uint8_t *const hint = &s->hints[m->topic_hash % HINTS];
    if (*hint < s->used && is_of(&s->all[*hint], m)) {
        return &s->all[*hint];
    }
    for (uint32_t i = 0; i < s->used; i++) {
        if (is_of(&s->all[i], m)) {
            *hint = (uint8_t)i;
            return &s->all[i];
        }
    }
    return NULL;
}

/* A free place, or that of the one with the least, whose count it takes over. */
static struct busy_topic *place_for(struct busy_sketch *s, const struct message *m)
{
    uint64_t error = 0;
    struct busy_topic *t = &s->all[0];
    if (s->used < BUSY_TOPICS_MAX) {
        t = &s->all[s->used++];
    } else {
        for (uint32_t i = 1; i < s->used; i++) {
            t = s->all[i].count < t->count ? &s->all[i] : t;
        }
        error = t->count;
    }
    t->hash = m->topic_hash;
    t->count = t->error = error;
    t->other = 0;
    t->len = m->topic_len;
    const size_t len = t->len < BUSY_TOPIC_TEXT_MAX ? t->len : BUSY_TOPIC_TEXT_MAX;
    memcpy(t->text, m->body, len);
    return t;
}

static void add(struct busy_sketch *s, const struct message *m, uint64_t count, uint64_t other)
{
    struct busy_topic *t = find(s, m);
    if (t == NULL) {
        t = place_for(s, m);
    }
    t->count += count;
    t->other += other;
}

/* ---- which messages */

/* xorshift (Marsaglia, 2003): so that no publisher's rhythm is that of the samples. */
static uint32_t random_of(struct busy_topics *b)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 17;
    b->random ^= b->random << 5;
    return b->random;
}

/* From 1 to twice the stride less one; the stride, on average. */
static void count_down(struct busy_topics *b)
{
    b->countdown = 1 + random_of(b) % (2 * b->stride - 1);
}

void busy_topics_sample(struct busy_topics *b, const struct message *m)
{
    const uint64_t messages = b->stride;
    const uint64_t bytes = b->stride * (uint64_t)m->payload_len;
    struct busy_window *const now = &b->windows[b->current];
    add(&now->sketches[BUSY_BY_MESSAGES], m, messages, bytes);
    add(&now->sketches[BUSY_BY_BYTES], m, bytes, messages);
    if (++b->samples >= BUSY_SAMPLES && b->stride < STRIDE_MAX) {
        b->samples = 0;
        b->stride *= 2;
    }
    count_down(b);
}

/* ---- as time goes by */

static void look(struct busy_topics *b, uint64_t now_ms)
{
    const uint64_t looks = (now_ms - b->looked_ms) / BUSY_LOOK_MS;
    const unsigned halved = (unsigned)(looks < 20 ? looks : 20);
    const uint32_t before = b->stride;
    /* Half as many samples would have been too many as well: it stays. */
    if (b->samples < BUSY_SAMPLES / 2 || looks > 1) {
        b->stride = b->stride >> halved > 0 ? b->stride >> halved : 1;
    }
    b->samples = 0;
    b->looked_ms = now_ms;
    if (b->stride != before) {
        count_down(b);
    }
}

void busy_topics_turn(struct busy_topics *b, uint64_t now_ms)
{
    if (now_ms - b->looked_ms < BUSY_LOOK_MS) {
        return;
    }
    look(b, now_ms);
    const uint64_t age_ms = now_ms - b->began_ms;
    if (age_ms < BUSY_WINDOW_MS) {
        return;
    }
    const bool follows = age_ms < 2 * (uint64_t)BUSY_WINDOW_MS; /* or nothing came for long */
    b->before_ms = follows ? age_ms : 0;
    clear(&b->windows[1 - b->current]);
    if (follows) {
        b->current = 1 - b->current;
    } else {
        clear(&b->windows[b->current]);
    }
    b->began_ms = now_ms;
}
