/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/sys_topics.h"

#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/admin/process.h"
#include "broker/config/config.h"
#include "broker/counters.h"
#include "broker/message.h"
#include "broker/node.h"
#include "broker/route/index.h"
#include "broker/route/retained.h"
#include "broker/shard/shard.h"
#include "broker/version.h"

#define ROOT        "$SYS/broker/"
#define TEXT_BYTES  48u
#define TOPIC_BYTES 64u

/* Of each turn: there may be many who subscribe to all of them. */
#define TOPICS_PER_TURN 4u

enum sys_kind { FIGURE, MAXIMUM, LOAD_1, LOAD_5, LOAD_15, VERSION, UPTIME };

static const struct {
    const char *name; /* below ROOT */
    enum sys_kind kind;
} topics[] = {
    {"version", VERSION},
    {"uptime", UPTIME},
#define SYS_FIGURE(topic, value)  {topic, FIGURE},
#define SYS_MAXIMUM(topic, value) {topic, MAXIMUM},
#define SYS_LOAD(topic, value)                                                                     \
    {topic "/1min", LOAD_1}, {topic "/5min", LOAD_5}, {topic "/15min", LOAD_15},
#include "broker/tbl/sys_topic.h"
};

#define TOPICS (sizeof topics / sizeof topics[0])

struct sys_topics {
    unsigned owner;    /* the shard */
    bool begun;        /* some are published, and the rest will be */
    uint64_t began_ms; /* of the broker */
    uint64_t read_ms;  /* when they were read last */
    size_t next;       /* to be published; TOPICS: all are */
    struct sys_topic {
        uint64_t figure;       /* as it was read last; of a load, the counter's */
        double load;           /* a minute */
        char told[TEXT_BYTES]; /* what is retained; "": nothing is */
        char text[TEXT_BYTES]; /* what is to be; "": nothing */
    } of[TOPICS];
};

struct sys_topics *sys_topics_create(const struct node *node)
{
    struct sys_topics *const sys = calloc(1, sizeof *sys);
    if (sys != NULL) {
        sys->owner = index_owner(node->index, bytes_text(ROOT));
        sys->began_ms = node->clock_ms();
        sys->next = TOPICS;
    }
    return sys;
}

void sys_topics_destroy(struct sys_topics *sys)
{
    free(sys);
}

/* ---- figures that no counter is */

static uint64_t away(const struct node *node)
{
    const uint64_t sessions = counters_now(&node->sessions);
    const uint64_t clients = counters_now(&node->clients);
    return sessions > clients ? sessions - clients : 0;
}

static uint64_t connects(const struct node *node)
{
    return counters_sum(node, METRIC_connect_accepted) + counters_sum(node, METRIC_connect_refused);
}

static uint64_t heap(const struct node *node)
{
    return atomic_load_explicit(&node->heap_bytes, memory_order_relaxed);
}

void sys_topics_tell_heap(struct node *node)
{
    atomic_store_explicit(&node->heap_bytes, process_allocated(), memory_order_relaxed);
}

static void read_figures(const struct node *node, uint64_t figures[TOPICS])
{
    size_t n = 2; /* behind version and uptime */
#define SYS_FIGURE(topic, value)  figures[n++] = (value);
#define SYS_MAXIMUM(topic, value) figures[n++] = (value);
#define SYS_LOAD(topic, value)                                                                     \
    figures[n] = (value);                                                                          \
    figures[n + 1] = figures[n + 2] = figures[n];                                                  \
    n += 3;
#include "broker/tbl/sys_topic.h"
}

/* ---- texts */

/* The growth a minute since the last time, `elapsed_ms` ago, counts for as much of the average as
 * that is of the time that it is over (as the kernel's load average has it). */
static void tell_load(struct sys_topic *t, uint64_t counter, uint64_t elapsed_ms, double minutes)
{
    if (elapsed_ms > 0) {
        const double passed = (double)elapsed_ms / 60000;
        const double now = (double)(counter - t->figure) / passed;
        t->load = now + exp(-passed / minutes) * (t->load - now);
    }
    t->figure = counter;
    snprintf(t->text, sizeof t->text, "%.2f", t->load);
}

static void tell_figure(struct sys_topic *t, uint64_t figure)
{
    t->figure = figure;
    snprintf(t->text, sizeof t->text, "%" PRIu64, figure);
}

static void tell(struct sys_topics *sys, size_t i, uint64_t figure, uint64_t now_ms)
{
    struct sys_topic *const t = &sys->of[i];
    const uint64_t elapsed_ms = sys->begun ? now_ms - sys->read_ms : 0;
    switch (topics[i].kind) {
    case VERSION:
        snprintf(t->text, sizeof t->text, "dunlin version %s", DUNLIN_VERSION);
        break;
    case UPTIME:
        snprintf(t->text, sizeof t->text, "%" PRIu64 " seconds", (now_ms - sys->began_ms) / 1000);
        break;
    case FIGURE:
        tell_figure(t, figure);
        break;
    case MAXIMUM:
        tell_figure(t, figure > t->figure ? figure : t->figure);
        break;
    case LOAD_1:
        tell_load(t, figure, elapsed_ms, 1);
        break;
    case LOAD_5:
        tell_load(t, figure, elapsed_ms, 5);
        break;
    case LOAD_15:
        tell_load(t, figure, elapsed_ms, 15);
        break;
    }
}

/* The heap is not known to every allocator. */
static bool is_unknown(const struct node *node, size_t i)
{
    return heap(node) == 0 && strncmp(topics[i].name, "heap/", 5) == 0;
}

static void read_all(struct sys_topics *sys, const struct node *node, uint64_t now_ms)
{
    uint64_t figures[TOPICS] = {0};
    read_figures(node, figures);
    for (size_t i = 0; i < TOPICS; i++) {
        if (!is_unknown(node, i)) {
            tell(sys, i, figures[i], now_ms);
        }
    }
    sys->begun = true;
    sys->read_ms = now_ms;
    sys->next = 0;
}

/* They are no longer wanted. */
static void take_back(struct sys_topics *sys)
{
    for (size_t i = 0; i < TOPICS; i++) {
        sys->of[i].text[0] = '\0';
    }
    sys->begun = false;
    sys->next = 0;
}

/* ---- and messages */

/* What is retained is as it should be. */
static bool is_told(const struct sys_topic *t)
{
    return strcmp(t->told, t->text) == 0;
}

static void name_topic(char topic[TOPIC_BYTES], size_t i)
{
    snprintf(topic, TOPIC_BYTES, ROOT "%s", topics[i].name);
}

/* The API may delete what is retained. Then it is to be told anew. */
static void look(struct shard *s, size_t i)
{
    struct sys_topic *const t = &s->node->sys_topics->of[i];
    char topic[TOPIC_BYTES];
    name_topic(topic, i);
    if (t->told[0] != '\0' && retained_get(s->retained, bytes_text(topic)) == NULL) {
        t->told[0] = '\0';
    }
}

static void publish(struct shard *s, size_t i)
{
    struct sys_topic *const t = &s->node->sys_topics->of[i];
    char topic[TOPIC_BYTES];
    name_topic(topic, i);
    struct message *const m =
        message_create(bytes_text(topic), bytes_of(NULL, 0), bytes_text(t->text));
    if (m == NULL) {
        shard_count(s, METRIC_drop_no_memory);
        return; /* the next time it will differ still */
    }
    m->retain = true;
    memcpy(t->told, t->text, sizeof t->told);
    shard_due(s, m, 0, 0, 0);
}

void sys_topics_turn(struct shard *s)
{
    struct sys_topics *const sys = s->node->sys_topics;
    if (s->id != sys->owner || s->ending) {
        return;
    }
    const uint64_t interval_ms = (uint64_t)s->config->mqtt.sys_interval_s * 1000;
    if (interval_ms == 0 && sys->begun) {
        take_back(sys);
    } else if (interval_ms > 0 && sys->next == TOPICS &&
               (!sys->begun || s->now_ms >= sys->read_ms + interval_ms)) {
        read_all(sys, s->node, s->now_ms);
    }
    for (unsigned n = 0; sys->next < TOPICS && n < TOPICS_PER_TURN; sys->next++) {
        look(s, sys->next);
        if (!is_told(&sys->of[sys->next])) {
            publish(s, sys->next);
            n++;
        }
    }
}

bool sys_topics_are_waiting(const struct shard *s)
{
    const struct sys_topics *const sys = s->node->sys_topics;
    return s->id == sys->owner && sys->next < TOPICS && !s->ending;
}
