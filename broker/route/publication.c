/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/publication.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/conn/owed.h"
#include "broker/message.h"
#include "broker/route/index.h"
#include "broker/shard/shard.h"
#include "broker/store/store.h"
#include "cluster/table.h"

static struct publication *of_errand(struct errand *e)
{
    return table_object(e, struct publication, errand);
}

struct shard *publication_shard(const struct node *node, const struct message *message)
{
    return node->shards[index_owner(node->index, message_topic(message))];
}

/* By whoever stored it, later; nobody may wait for it any more. */
static void on_stored(struct shard *s, struct retain_job *job, enum retain_result result)
{
    struct publication *const p = table_object(job, struct publication, job);
    (void)s;
    p->message = job->message;
    p->phase = PUBLICATION_STORED;
    p->result = result == RETAIN_DONE ? PUBLICATION_DONE : PUBLICATION_NOT_STORED;
    errand_put(&p->errand);
}

static enum errand_step store(struct shard *s, struct publication *p)
{
    p->job = (struct retain_job){.done = on_stored, .message = p->message};
    p->phase = PUBLICATION_STORING;
    errand_take(&p->errand);
    const enum retain_result result = publish_retain(s, &p->job);
    if (result == RETAIN_WAIT) {
        return ERRAND_LATER;
    }
    on_stored(s, &p->job, result);
    return ERRAND_MORE;
}

/* They are not refused any more; nobody may wait for them, either. */
static void forget_kept(struct shard *s)
{
    for (struct publication **at = &s->publications; *at != NULL;) {
        struct publication *const p = *at;
        if (!owed_is_kept(s, p->waits, p->ticket)) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        errand_put(&p->errand);
    }
}

void publications_fini(struct shard *s)
{
    for (struct publication *p; (p = s->publications) != NULL;) {
        s->publications = p->next;
        errand_put(&p->errand);
    }
}

static enum errand_step route(struct shard *s, struct publication *p)
{
    p->matched = publish_route(s, p->message, 0);
    p->waits = s->route_waits;
    p->ticket = s->ticket;
    p->phase = PUBLICATION_ROUTED;
    shard_count(s, METRIC_publish_received);
    if (p->matched == 0) {
        shard_count(s, METRIC_publish_unmatched);
    }
    if (s->route_reason != 0) {
        p->result = PUBLICATION_REFUSED;
    }
    forget_kept(s);
    if (p->waits == 0) {
        return ERRAND_DONE;
    }
    errand_take(&p->errand);
    p->next = s->publications;
    s->publications = p;
    return ERRAND_LATER;
}

bool publication_refused(struct shard *s, uint64_t ticket)
{
    for (struct publication *p = s->publications; p != NULL; p = p->next) {
        if (p->ticket == ticket) {
            p->result = PUBLICATION_REFUSED;
            return true;
        }
    }
    return false;
}

static bool is_ready(const struct shard *s, const struct errand *e)
{
    const struct publication *const p = table_object(e, const struct publication, errand);
    if (p->phase != PUBLICATION_ROUTED) {
        return p->phase == PUBLICATION_STORED;
    }
    return owed_is_kept(s, p->waits, p->ticket);
}

static bool is_congested(struct shard *s, const struct publication *p)
{
    uint8_t reason;
    return shard_congested(s) || s->memory_full || publish_is_refused(s, p->message, &reason);
}

static enum errand_step run(struct shard *s, struct errand *e)
{
    struct publication *const p = of_errand(e);
    ASSERT_OWNED(s);
    switch (p->phase) {
    case PUBLICATION_BEGINS:
        if (is_congested(s, p)) {
            p->result = PUBLICATION_CONGESTED;
            return ERRAND_DONE;
        }
        return p->message->retain ? store(s, p) : route(s, p);
    case PUBLICATION_STORING:
        break; /* it is not ready */
    case PUBLICATION_STORED:
        return p->result == PUBLICATION_DONE && p->route ? route(s, p) : ERRAND_DONE;
    case PUBLICATION_ROUTED:
        break;
    }
    return ERRAND_DONE;
}

static void destroy(struct errand *e)
{
    struct publication *const p = of_errand(e);
    message_put(p->message);
    free(p);
}

struct publication *publication_create(struct message *message, bool route)
{
    struct publication *const p = calloc(1, sizeof *p);
    if (p == NULL) {
        message_put(message);
        return NULL;
    }
    p->errand = (struct errand){.run = run, .is_ready = is_ready, .destroy = destroy};
    p->message = message;
    p->route = route;
    return p;
}
