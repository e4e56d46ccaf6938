/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/remote/gap.h"

#include <stdbool.h>

#include "broker/conn/conn.h"
#include "broker/conn/life.h"
#include "broker/log/log.h"
#include "broker/remote/remote_parts.h"
#include "broker/route/local.h"
#include "broker/session/session.h"
#include "proto/reason.h"

struct post_gap {
    struct post_head head;
};

static bool is_owed(struct session *session)
{
    for (uint32_t i = 0; i < session->filters.count; i++) {
        const uint64_t place = pointer_set_places(&session->filters)[i];
        if (local_options(session, pointer_at(place)).qos > 0) {
            return true;
        }
    }
    return false;
}

static void disconnect(struct shard *s)
{
    uint64_t count = 0;
    for (struct conn *c = s->all.first; c != NULL; c = c->links[CONN_ALL].next) {
        if (c->phase == CONN_CONNECTED && is_owed(c->session)) {
            count++;
            conn_close(c, MQTT_REASON_UNSPECIFIED_ERROR, SESSION_WILL_PUBLISH);
        }
    }
    metrics_add(&s->metrics, METRIC_gap_disconnected, count);
    log_event(LOG_WARNING, "gap", LOG_NUMBER("shard", s->id), LOG_NUMBER("disconnected", count),
              LOG_TEXT("meaning", "messages from another node may have been lost"));
}

void gap_told(struct shard *s, unsigned peer)
{
    /* Answers to what it was sent may have been among them. Nobody is told that it has arrived. */
    forward_over(s, peer, MQTT_REASON_UNSPECIFIED_ERROR);
    disconnect(s);
    for (unsigned to = 0; to < s->node->shard_count; to++) {
        if (to != s->id) {
            (void)post_reserve(s, to, POST_GAP, sizeof(struct post_gap));
            post_commit(s, to);
        }
    }
}

void gap_on_gap(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    (void)record;
    disconnect(s);
}
