/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shard/visit.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/conn/conn.h"
#include "broker/conn/life.h"
#include "broker/io/io.h"
#include "broker/peers/peers.h"
#include "broker/route/publish.h"
#include "broker/shard/claim.h"
#include "broker/shard/latency.h"
#include "broker/shard/mailbox.h"
#include "broker/shard/shard.h"
#include "broker/shard/wheel.h"

/* To be delivered in one visit. A wake-up costs as much as about three small sends, and buys a
 * second processor; so with many it pays (docs/performance.md, "Placement"). */
#define VISIT_DELIVERIES 16u

static post_fn *const post_handlers[POST_TYPES] = {
    [POST_DELIVER] = publish_on_deliver,
    [POST_DELIVER_SHARED] = publish_on_deliver_shared,
};

/* What the owner does once a turn, as far as a delivery depends on it. The configuration and the
 * rules are those that the visitor may use until its own turn ends. */
static void look_around(const struct shard *s, struct shard *to)
{
    to->now_ms = s->now_ms;
    metrics_add(&to->metrics, METRIC_notes_skipped, recorder_turn(&to->recorder, s->now_ms));
    to->config = s->config;
    to->acl_generation = s->acl_generation;
    to->acl = s->acl;
    to->memory_full = s->memory_full;
    to->memory_share = s->memory_share;
}

/* Passes on what has come; false: there is more, or something else, for the owner. */
static bool deliver_mail(struct shard *to)
{
    size_t left = VISIT_DELIVERIES;
    for (unsigned from = 0; from < to->node->shard_count; from++) {
        struct mailbox *box = to->post.in[from];
        const struct post_head *record;
        size_t len;
        while (box != NULL && (record = mailbox_peek(box, &len)) != NULL) {
            post_fn *const handler = post_handlers[record->type];
            if (handler == NULL) {
                return false;
            }
            const size_t deliveries = publish_deliveries(to, record);
            if (deliveries > left) {
                return false;
            }
            left -= deliveries;
            handler(to, from, record);
            mailbox_release(box);
            shard_count(to, METRIC_mail_visited);
        }
    }
    return true;
}

static void flush(struct shard *to)
{
    struct conn *const last = to->dirty.last;
    for (bool more = last != NULL; more;) {
        struct conn *c = conn_list_take(&to->dirty, CONN_DIRTY);
        more = c != last;
        if (!conn_flush_at_once(c)) {
            conn_list_add(&to->dirty, c, CONN_DIRTY);
        }
    }
}

/* False: something is left that only the owner can do. */
static bool visit(struct shard *s, struct shard *to)
{
    const uint64_t next_timer_ms = wheel_next_ms(to->wheel);
    shard_self = to;
    look_around(s, to);
    const bool all = deliver_mail(to);
    flush(to);
    latency_sent(to, to->node->clock_us());
    shard_self = s;
    /* A delivery sends no mail and sets no timer: the owner need not look sooner than it would. */
    assert(post_is_shown(to) && wheel_next_ms(to->wheel) == next_timer_ms);
    (void)next_timer_ms;
    return all && to->dirty.first == NULL && to->ready.first == NULL && to->due_first == NULL &&
           !kept_has_news(to) && !peers_are_waiting(to);
}

static void wake(struct shard *s, struct shard *to)
{
    const uint64_t sleep = latency_sleep_of(to);
    if (claim_wake(&to->claim)) {
        latency_wake_asked(to, sleep, s->node->clock_us());
        io_wake(s->io, to->io);
    }
}

void visit_or_wake(struct shard *s, struct shard *to)
{
    if (!claim_is_free(&to->claim)) {
        return;
    }
    /* What its clients have sent before this mail came is to be heard before it: a DISCONNECT. */
    if (s->post.out[to->id].shown > VISIT_DELIVERIES || io_has_news(to->io) ||
        !claim_visit(&to->claim)) {
        wake(s, to);
        return;
    }
    const uint64_t sleep = latency_sleep_of(to);
    if (claim_end_visit(&to->claim, !visit(s, to))) {
        latency_wake_asked(to, sleep, s->node->clock_us());
        io_wake(s->io, to->io);
    } else if (!post_is_empty(to)) { /* it came while we were about to leave */
        wake(s, to);
    }
}
