/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load/options.h"
#include "bench/load/stamp.h"

#define SHARED_WINDOW 65536u /* messages that members of a group may be apart */

/* NULL when out of memory. */
__attribute__((format(printf, 1, 2))) static char *text_of(const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    const int len = vasprintf(&text, format, args);
    va_end(args);
    return len < 0 ? NULL : text;
}

static enum plan_err reserve(struct plan *p, uint64_t publishers, uint64_t tracks, uint64_t clients)
{
    if (publishers > STAMP_PUBLISHERS_MAX || tracks > UINT32_MAX || clients > UINT32_MAX) {
        return PLAN_TOO_MANY;
    }
    p->publishers = calloc(publishers + 1, sizeof *p->publishers);
    p->tracks = calloc(tracks + 1, sizeof *p->tracks);
    p->clients = calloc(clients + 1, sizeof *p->clients);
    const bool enough = p->publishers != NULL && p->tracks != NULL && p->clients != NULL;
    return enough ? PLAN_OK : PLAN_NO_MEMORY;
}

static enum plan_err add_track(struct plan *p, uint32_t first, uint32_t count, uint64_t window)
{
    struct track *const t = &p->tracks[p->track_count++];
    *t = (struct track){.first = first, .count = count, .window = window};
    t->sequences = calloc(count + 1u, sizeof *t->sequences);
    t->bits = calloc(count + 1u, window / 8);
    return t->sequences != NULL && t->bits != NULL ? PLAN_OK : PLAN_NO_MEMORY;
}

/* Its topic is TOPIC/0000012; all are of the same length. */
static enum plan_err add_publisher(struct plan *p, const struct options *o, uint32_t copies,
                                   uint32_t worker, uint32_t channel)
{
    const uint32_t number = p->publisher_count++;
    char *const topic = text_of("%s/%07u", o->topic, number);
    p->publishers[number] = (struct publisher){.topic = topic, .copies = copies};
    p->clients[p->client_count++] = (struct plan_client){
        .publisher = number, .track = PLAN_NONE, .worker = worker, .channel = channel};
    return topic != NULL ? PLAN_OK : PLAN_NO_MEMORY;
}

/* Takes over the filter; NULL is out of memory. */
static enum plan_err add_subscriber(struct plan *p, char *filter, uint32_t track, uint32_t worker,
                                    uint32_t channel)
{
    struct plan_client *const c = &p->clients[p->client_count++];
    *c = (struct plan_client){
        .publisher = PLAN_NONE, .track = track, .worker = worker, .channel = channel};
    c->filter = filter;
    return filter != NULL ? PLAN_OK : PLAN_NO_MEMORY;
}

static void add_idle(struct plan *p, const struct options *o)
{
    for (uint64_t i = 0; i < o->idle; i++) {
        p->clients[p->client_count++] = (struct plan_client){
            .publisher = PLAN_NONE, .track = PLAN_NONE, .worker = (uint32_t)(i % o->threads)};
    }
}

static uint64_t foreign_clients(const struct options *o)
{
    return (o->foreign + o->foreign_per_client - 1) / o->foreign_per_client;
}

/* The first of them is the churner. */
static void add_foreign(struct plan *p, const struct options *o)
{
    for (uint64_t i = 0; i < foreign_clients(o); i++) {
        const uint64_t first = i * o->foreign_per_client, left = o->foreign - first;
        p->clients[p->client_count++] = (struct plan_client){
            .publisher = PLAN_NONE,
            .track = PLAN_NONE,
            .worker = (uint32_t)(i % o->threads),
            .foreign_first = o->foreign_same ? 0 : first,
            .foreign_count =
                (uint32_t)(left < o->foreign_per_client ? left : o->foreign_per_client),
            .is_churner = i == 0 && o->churn_rate > 0,
        };
    }
}

/* Publisher i to subscriber i, both with the same worker. */
static enum plan_err add_pair(struct plan *p, const struct options *o, uint32_t i)
{
    const uint32_t worker = i % (uint32_t)o->threads;
    const char *const below = o->topics > 1 ? "/+" : "";
    enum plan_err err = add_track(p, i, 1, SEQUENCE_WINDOW_MIN);
    if (err == PLAN_OK) {
        err = add_subscriber(p, text_of("%s/%07u%s", o->topic, i, below), i, worker, i);
    }
    return err == PLAN_OK ? add_publisher(p, o, 1, worker, i) : err;
}

static enum plan_err plan_pair(struct plan *p, const struct options *o)
{
    const uint64_t pairs = o->publishers;
    enum plan_err err = reserve(p, pairs, pairs, 2 * pairs + o->idle + foreign_clients(o));
    if (err == PLAN_OK) {
        add_foreign(p, o);
        add_idle(p, o);
    }
    for (uint32_t i = 0; err == PLAN_OK && i < pairs; i++) {
        err = add_pair(p, o, i);
    }
    return err;
}

/* The same, but the subscribers are there before and after, and not meanwhile. */
static enum plan_err plan_offline(struct plan *p, const struct options *o)
{
    const enum plan_err err = plan_pair(p, o);
    for (uint32_t i = 0; i < p->client_count; i++) {
        struct plan_client *const c = &p->clients[i];
        c->is_late = c->was_before = c->track != PLAN_NONE;
    }
    return err;
}

/* In which order retained messages come is not promised. */
static enum plan_err plan_retained(struct plan *p, const struct options *o)
{
    const uint32_t publishers = (uint32_t)o->publishers, subscribers = (uint32_t)o->subscribers;
    uint64_t window = SEQUENCE_WINDOW_MIN;
    while (window < o->topics) {
        window *= 2;
    }
    enum plan_err err = reserve(p, publishers, subscribers, (uint64_t)publishers + subscribers);
    for (uint32_t i = 0; err == PLAN_OK && i < subscribers; i++) {
        err = add_track(p, 0, publishers, window);
        p->tracks[i].any_order = true;
        if (err == PLAN_OK) {
            err = add_subscriber(p, text_of("%s/#", o->topic), i, i % (uint32_t)o->threads, 0);
            p->clients[p->client_count - 1].is_late = true;
        }
    }
    for (uint32_t i = 0; err == PLAN_OK && i < publishers; i++) {
        err = add_publisher(p, o, subscribers, i % (uint32_t)o->threads, 0);
    }
    return err;
}

/* All publishers to all subscribers: fan-in with one of these, fan-out with one of those. */
static enum plan_err plan_all_to_all(struct plan *p, const struct options *o)
{
    const uint32_t publishers = (uint32_t)o->publishers, subscribers = (uint32_t)o->subscribers;
    enum plan_err err = reserve(p, publishers, subscribers, (uint64_t)publishers + subscribers);
    for (uint32_t i = 0; err == PLAN_OK && i < subscribers; i++) {
        err = add_track(p, 0, publishers, SEQUENCE_WINDOW_MIN);
        if (err == PLAN_OK) {
            err = add_subscriber(p, text_of("%s/#", o->topic), i, i % (uint32_t)o->threads, 0);
        }
    }
    for (uint32_t i = 0; err == PLAN_OK && i < publishers; i++) {
        err = add_publisher(p, o, subscribers, i % (uint32_t)o->threads, 0);
    }
    return err;
}

/* One group, so one track; and as that has one owner, all members are with the first worker. */
static enum plan_err plan_shared(struct plan *p, const struct options *o)
{
    const uint32_t publishers = (uint32_t)o->publishers, members = (uint32_t)o->subscribers;
    enum plan_err err = reserve(p, publishers, 1, (uint64_t)publishers + members);
    if (err == PLAN_OK) {
        err = add_track(p, 0, publishers, SHARED_WINDOW);
        p->tracks[0].any_order = true;
    }
    for (uint32_t i = 0; err == PLAN_OK && i < members; i++) {
        err = add_subscriber(p, text_of("$share/bench/%s/#", o->topic), 0, 0, 0);
    }
    for (uint32_t i = 0; err == PLAN_OK && i < publishers; i++) {
        err = add_publisher(p, o, 1, i % (uint32_t)o->threads, 0);
    }
    return err;
}

static enum plan_err plan_pub(struct plan *p, const struct options *o)
{
    enum plan_err err = reserve(p, o->publishers, 0, o->publishers);
    for (uint32_t i = 0; err == PLAN_OK && i < o->publishers; i++) {
        err = add_publisher(p, o, 0, i % (uint32_t)o->threads, 0);
    }
    return err;
}

/* Those of `dunlin-bench pub` in another process, with the same --topic. */
static enum plan_err plan_sub(struct plan *p, const struct options *o)
{
    enum plan_err err = reserve(p, 0, o->subscribers, o->subscribers);
    for (uint32_t i = 0; err == PLAN_OK && i < o->subscribers; i++) {
        err = add_track(p, 0, (uint32_t)o->publishers, SEQUENCE_WINDOW_MIN);
        if (err == PLAN_OK) {
            p->tracks[i].from_first_seen = true;
            err = add_subscriber(p, text_of("%s/#", o->topic), i, i % (uint32_t)o->threads, 0);
        }
    }
    return err;
}

static enum plan_err plan_connections(struct plan *p, const struct options *o)
{
    const enum plan_err err = reserve(p, 0, 0, o->idle);
    if (err == PLAN_OK) {
        add_idle(p, o);
    }
    return err;
}

/* clang-format off */
const struct scenario scenarios[] = {
    {"pair", "publisher i to subscriber i",
     plan_pair, SCENARIO_FLOW, {.publishers = 100}},
    {"fan-in", "all publishers to one subscriber with a wildcard",
     plan_all_to_all, SCENARIO_FLOW, {.publishers = 100, .subscribers = 1}},
    {"fan-out", "one publisher to all subscribers",
     plan_all_to_all, SCENARIO_FLOW, {.publishers = 1, .subscribers = 100}},
    {"shared", "all publishers to one shared subscription",
     plan_shared, SCENARIO_FLOW, {.publishers = 100, .subscribers = 100}},
    {"wildcard", "pairs beside a great many filters of others",
     plan_pair, SCENARIO_FLOW, {.publishers = 100, .foreign = 100000}},
    {"idle", "a few pairs beside many connections that do nothing",
     plan_pair, SCENARIO_FLOW, {.publishers = 10, .idle = 1000}},
    {"pub", "publishers only",
     plan_pub, SCENARIO_FLOW, {.publishers = 100}},
    {"sub", "subscribers only: of a `pub` elsewhere with the same --topic",
     plan_sub, SCENARIO_FLOW, {.publishers = 100, .subscribers = 1}},
    {"conn", "connections that are opened and held (see --connect-rate)",
     plan_connections, SCENARIO_CONNECT, {.idle = 1000}},
    {"storm", "the same, all at once",
     plan_connections, SCENARIO_CONNECT, {.idle = 5000, .connecting = 1000000}},
    {"churn", "--idle connections, each opened and closed again and again",
     plan_connections, SCENARIO_CHURN, {.idle = 50}},
    {"retained", "retained messages are stored, then subscribers come for them",
     plan_retained, SCENARIO_LATE,
     {.publishers = 10, .subscribers = 1, .qos = 1, .topics = 1000, .retain = true}},
    {"offline", "messages for subscribers that are away, who then come back",
     plan_offline, SCENARIO_LATE, {.publishers = 100, .qos = 1, .count = 100}},
};
/* clang-format on */
const unsigned scenario_count = sizeof scenarios / sizeof scenarios[0];

const struct scenario *scenario_find(const char *name)
{
    for (unsigned i = 0; i < scenario_count; i++) {
        if (strcmp(scenarios[i].name, name) == 0) {
            return &scenarios[i];
        }
    }
    return NULL;
}

void plan_free(struct plan *p)
{
    for (uint32_t i = 0; i < p->publisher_count; i++) {
        free(p->publishers[i].topic);
    }
    for (uint32_t i = 0; i < p->track_count; i++) {
        free(p->tracks[i].sequences);
        free(p->tracks[i].bits);
    }
    for (uint32_t i = 0; i < p->client_count; i++) {
        free(p->clients[i].filter);
    }
    free(p->publishers);
    free(p->tracks);
    free(p->clients);
    *p = (struct plan){0};
}
