/* SPDX-License-Identifier: Apache-2.0 */
/* What a link tells: to the log, and to whoever it is for; and what it has counted. */
#include "broker/peers/peers_parts.h"

#include "broker/log/log.h"
#include "broker/shard/shard.h"

static const struct peers_events *events_of(const struct lane *l)
{
    return peers_of(l->shard)->peers->conf.events;
}

static struct bytes name_of(const struct lane *l)
{
    return bytes_of(l->name, l->name_len);
}

/* Bytes of a lane that was let go of are not given to its link any more. */
static enum link_taken on_deliver(void *context, const struct node_frame *frame)
{
    struct lane *const l = context;
    return events_of(l)->deliver(l->shard, l->number, frame);
}

static void on_up(void *context, const struct node_hello *hello)
{
    struct lane *const l = context;
    l->up = true;
    l->refused = NODE_CLOSE_NONE;
    l->tls_told = NULL;
    log_event(LOG_INFO, "link_up", LOG_BYTES("node", name_of(l)), LOG_NUMBER("lane", l->shard->id),
              LOG_NUMBER("generation", hello->generation), LOG_BYTES("build", hello->build),
              LOG_TEXT("encrypted", l->tls == NULL ? "no" : "yes"));
    events_of(l)->up(l->shard, l->number);
}

static void on_down(void *context, enum node_close why)
{
    struct lane *const l = context;
    if (l->gone) {
        return; /* it was told when the lane was let go of */
    }
    l->up = false;
    if (why == NODE_CLOSE_SHUTDOWN) {
        log_event(LOG_INFO, "link_down", LOG_BYTES("node", name_of(l)),
                  LOG_NUMBER("lane", l->shard->id), LOG_TEXT("reason", node_close_text(why)));
    } else {
        log_event(LOG_WARNING, "link_down", LOG_BYTES("node", name_of(l)),
                  LOG_NUMBER("lane", l->shard->id), LOG_TEXT("reason", node_close_text(why)));
    }
    events_of(l)->down(l->shard, l->number);
}

static void on_slow(void *context, bool slow)
{
    struct lane *const l = context;
    if (l->gone) {
        return;
    }
    if (slow) {
        log_event(LOG_WARNING, "link_slow", LOG_BYTES("node", name_of(l)),
                  LOG_NUMBER("lane", l->shard->id));
    } else {
        log_event(LOG_INFO, "link_flows", LOG_BYTES("node", name_of(l)),
                  LOG_NUMBER("lane", l->shard->id));
    }
    events_of(l)->slow(l->shard, l->number, slow);
}

static void on_gap(void *context)
{
    struct lane *const l = context;
    log_event(LOG_WARNING, "link_gap", LOG_BYTES("node", name_of(l)),
              LOG_NUMBER("lane", l->shard->id));
    events_of(l)->gap(l->shard, l->number);
}

static void on_restarted(void *context, uint64_t generation)
{
    struct lane *const l = context;
    log_event(LOG_INFO, "link_restarted", LOG_BYTES("node", name_of(l)),
              LOG_NUMBER("lane", l->shard->id), LOG_NUMBER("generation", generation));
    events_of(l)->restarted(l->shard, l->number);
}

static const char *loss_text(enum link_loss why)
{
    switch (why) {
    case LINK_LOSS_RESTARTED:
        return "the node was started anew";
    case LINK_LOSS_STALLED:
        return "it took nothing for too long";
    case LINK_LOSS_TOO_LARGE:
        return "it takes no frames as large as one of them";
    default:
        return "it was declared dead, or is no member any more";
    }
}

static void on_lost(void *context, uint64_t first, uint64_t last, enum link_loss why)
{
    struct lane *const l = context;
    if (l->gone) {
        return;
    }
    log_event(LOG_WARNING, "link_lost", LOG_BYTES("node", name_of(l)),
              LOG_NUMBER("lane", l->shard->id), LOG_NUMBER("frames", last - first + 1),
              LOG_TEXT("reason", loss_text(why)));
    events_of(l)->lost(l->shard, l->number, first, last, why);
}

struct link_events lane_events(struct lane *l)
{
    return (struct link_events){.deliver = on_deliver,
                                .up = on_up,
                                .down = on_down,
                                .slow = on_slow,
                                .gap = on_gap,
                                .restarted = on_restarted,
                                .lost = on_lost,
                                .context = l};
}

/* It is tried again every few seconds: said once, until it is another reason or has worked. */
void lane_log_refused(struct lane *l, enum node_close why)
{
    if (why == l->refused || why == NODE_CLOSE_SHUTDOWN) {
        return;
    }
    l->refused = why;
    log_event(LOG_WARNING, "link_refused", LOG_BYTES("node", name_of(l)),
              LOG_NUMBER("lane", l->shard->id), LOG_TEXT("reason", node_close_text(why)));
}

/* Likewise. */
void lane_log_tls(struct lane *l, const char *why)
{
    shard_count(l->shard, METRIC_link_tls_failed);
    if (why == l->tls_told) {
        return;
    }
    l->tls_told = why;
    log_event(LOG_WARNING, "link_tls_failed", LOG_BYTES("node", name_of(l)),
              LOG_NUMBER("lane", l->shard->id), LOG_TEXT("reason", why));
}

void lane_count(struct lane *l)
{
    struct metrics *const m = &l->shard->metrics;
    const struct link_figures f = link_figures(l->link);
    const struct link_figures *const b = &l->counted;
    metrics_add(m, METRIC_link_connections, f.connections - b->connections);
    metrics_add(m, METRIC_link_refusals, f.refusals - b->refusals);
    metrics_add(m, METRIC_link_frames_received, f.frames_in - b->frames_in);
    metrics_add(m, METRIC_link_frames_put, f.frames_out - b->frames_out);
    metrics_add(m, METRIC_link_passing_received, f.passing_in - b->passing_in);
    metrics_add(m, METRIC_link_passing_put, f.passing_out - b->passing_out);
    metrics_add(m, METRIC_link_frames_resent, f.resent - b->resent);
    metrics_add(m, METRIC_link_duplicates, f.duplicates - b->duplicates);
    metrics_add(m, METRIC_link_passing_dropped, f.passing_dropped - b->passing_dropped);
    metrics_add(m, METRIC_link_skipped, f.skipped - b->skipped);
    metrics_add(m, METRIC_link_lost_restarted, f.lost_restarted - b->lost_restarted);
    metrics_add(m, METRIC_link_lost_stalled, f.lost_stalled - b->lost_stalled);
    metrics_add(m, METRIC_link_lost_given_up, f.lost_given_up - b->lost_given_up);
    metrics_add(m, METRIC_link_lost_too_large, f.lost_too_large - b->lost_too_large);
    metrics_add(m, METRIC_link_stalls, f.stalls - b->stalls);
    metrics_add(m, METRIC_link_gaps_told, f.gaps_told - b->gaps_told);
    metrics_add(m, METRIC_link_gaps_heard, f.gaps_heard - b->gaps_heard);
    l->counted = f;
}
