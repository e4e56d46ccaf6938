/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/broker/ledger.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QOS_LEVELS 3u

struct entry {
    uint8_t publisher, topic, qos;
    bool accepted, retain, any_order;
    uint64_t said_at, said_last_at, accepted_at; /* moments; 0: never */
    uint32_t owed;                               /* bit per client */
    uint32_t heard;                              /* bit per client, at any QoS */
    uint32_t heard_two;                          /* … at QoS 2 */
    bool group_heard_two;
    uint8_t group_member; /* that heard it */
};

/* What one publisher said on one topic at one QoS, in order, repeats included. */
struct stream {
    uint32_t *messages;
    uint32_t count, capacity;
};

struct ledger {
    struct entry *entries;
    uint32_t count, capacity;
    uint64_t moment; /* the last one */
    struct stream streams[LEDGER_CLIENTS][LEDGER_TOPICS][QOS_LEVELS];
    /* How much of the stream has gone by: [client][publisher][topic][qos][by a queue] */
    uint32_t at[LEDGER_CLIENTS][LEDGER_CLIENTS][LEDGER_TOPICS][QOS_LEVELS][2];
};

__attribute__((format(printf, 1, 2), noreturn)) static void broken(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("a promise is broken: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

static void *grown(void *array, uint32_t count, uint32_t *capacity, size_t element)
{
    if (count < *capacity) {
        return array;
    }
    *capacity = *capacity == 0 ? 64 : 2 * *capacity;
    void *larger = realloc(array, *capacity * element);
    if (larger == NULL) {
        abort();
    }
    return larger;
}

struct ledger *ledger_create(void)
{
    struct ledger *l = calloc(1, sizeof *l);
    if (l == NULL) {
        abort();
    }
    return l;
}

void ledger_destroy(struct ledger *l)
{
    struct stream *const streams = &l->streams[0][0][0];
    for (size_t i = 0; i < sizeof l->streams / sizeof *streams; i++) {
        free(streams[i].messages);
    }
    free(l->entries);
    free(l);
}

static struct stream *stream_of(struct ledger *l, const struct entry *e)
{
    return &l->streams[e->publisher][e->topic][e->qos];
}

void ledger_say_again(struct ledger *l, uint32_t message)
{
    struct stream *s = stream_of(l, &l->entries[message]);
    s->messages = grown(s->messages, s->count, &s->capacity, sizeof s->messages[0]);
    s->messages[s->count++] = message;
    l->entries[message].said_last_at = ++l->moment;
}

uint32_t ledger_say(struct ledger *l, unsigned publisher, unsigned topic, unsigned qos,
                    uint32_t owed)
{
    l->entries = grown(l->entries, l->count, &l->capacity, sizeof l->entries[0]);
    l->entries[l->count] = (struct entry){.publisher = (uint8_t)publisher,
                                          .topic = (uint8_t)topic,
                                          .said_at = l->moment + 1,
                                          .qos = (uint8_t)qos,
                                          .owed = qos > 0 ? owed : 0};
    ledger_say_again(l, l->count);
    return l->count++;
}

void ledger_say_retained(struct ledger *l, uint32_t message)
{
    l->entries[message].retain = true;
}

void ledger_any_order(struct ledger *l, uint32_t message)
{
    l->entries[message].any_order = true;
}

void ledger_accepted(struct ledger *l, uint32_t message, bool matched)
{
    struct entry *e = &l->entries[message];
    e->accepted = true;
    e->accepted_at = ++l->moment;
    if (!matched && e->owed != 0) {
        broken("message %u matched nobody, though clients 0x%x are subscribed", message, e->owed);
    }
}

void ledger_forgive(struct ledger *l, unsigned client)
{
    for (uint32_t i = 0; i < l->count; i++) {
        l->entries[i].owed &= ~(1u << client);
    }
}

void ledger_reconnected(struct ledger *l, unsigned client)
{
    for (unsigned p = 0; p < LEDGER_CLIENTS; p++) {
        for (unsigned t = 0; t < LEDGER_TOPICS; t++) {
            for (unsigned q = 0; q < QOS_LEVELS; q++) {
                l->at[client][p][t][q][1] = 0;
            }
        }
    }
}

void ledger_crashed(struct ledger *l, uint32_t kept)
{
    for (uint32_t i = 0; i < l->count; i++) {
        struct entry *e = &l->entries[i];
        e->heard_two &= kept;
        e->group_heard_two = e->group_heard_two && (kept >> e->group_member & 1) != 0;
    }
    memset(l->at, 0, sizeof l->at);
}

static void check_order(struct ledger *l, const struct heard *h)
{
    const struct entry *e = &l->entries[h->message];
    const struct stream *s = stream_of(l, e);
    uint32_t *at = &l->at[h->client][e->publisher][e->topic][e->qos][h->qos > 0];
    while (*at < s->count && s->messages[*at] != h->message) {
        ++*at;
    }
    if (*at == s->count) {
        broken("client %u heard message %u (of client %u, topic %u, QoS %u, here %u) out of order",
               h->client, h->message, e->publisher, e->topic, e->qos, h->qos);
    }
    ++*at;
}

void ledger_heard(struct ledger *l, const struct heard *h)
{
    if (h->message >= l->count) {
        broken("client %u heard message %u, which nobody said", h->client, h->message);
    }
    struct entry *e = &l->entries[h->message];
    const uint32_t bit = 1u << h->client;
    if (h->qos > e->qos) {
        broken("message %u was said at QoS %u and heard at %u", h->message, e->qos, h->qos);
    }
    const bool again = h->shared ? e->group_heard_two : (e->heard_two & bit) != 0;
    if (h->qos == 2 && again) {
        broken("client %u heard message %u (of client %u, topic %u) twice at QoS 2", h->client,
               h->message, e->publisher, e->topic);
    }
    if (h->qos == 2) {
        e->heard_two |= bit;
        e->group_heard_two = e->group_heard_two || h->shared;
        e->group_member = (uint8_t)h->client;
    }
    e->heard |= bit;
    if (h->ordered && !e->any_order) {
        check_order(l, h);
    }
}

void ledger_settle(const struct ledger *l)
{
    for (uint32_t i = 0; i < l->count; i++) {
        const struct entry *e = &l->entries[i];
        if (e->accepted && (e->owed & ~e->heard) != 0) {
            broken("message %u (of client %u, topic %u, QoS %u) never came to clients 0x%x", i,
                   e->publisher, e->topic, e->qos, e->owed & ~e->heard);
        }
    }
}

void ledger_check_retained(const struct ledger *l, unsigned topic, uint32_t message)
{
    const struct entry *const is = message == LEDGER_NONE ? NULL : &l->entries[message];
    if (is != NULL && (message >= l->count || is->topic != topic || !is->retain)) {
        broken("message %u is retained on topic %u, and was not said there so", message, topic);
    }
    for (uint32_t i = 0; i < l->count; i++) {
        const struct entry *e = &l->entries[i];
        if (!e->retain || e->topic != topic || !e->accepted || message == i) {
            continue;
        }
        if (is == NULL) {
            broken("message %u was to be retained on topic %u, and nothing is", i, topic);
        }
        if (is->accepted && is->accepted_at < e->said_at && is->said_last_at < e->said_at) {
            broken("message %u is retained on topic %u, and not %u, which came later", message,
                   topic, i);
        }
    }
}
