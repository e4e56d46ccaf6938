/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/revive_session.h"

#include <stdlib.h>

#include "broker/config/config.h"
#include "broker/message.h"
#include "broker/session/backlog.h"
#include "broker/session/kept.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"

#define NEVER UINT64_MAX

bool revive_session_fill(struct session *session, const struct session_record *record)
{
    session->expiry_s = record->expiry_s;
    session->out.next_number = record->next_number;
    session->kept->stored_end = record->next_number;
    session->kept->exchange = record->exchange;
    struct field_reader received = {.rest = record->received};
    while (received.rest.len > 0) {
        if (session_receive(session, (uint16_t)get_number(&received)) == PACKET_IDS_NO_MEMORY) {
            return false;
        }
    }
    struct bytes begun = record->begun;
    uint16_t packet_id;
    uint64_t exchange;
    while (session_record_next_begun(&begun, &packet_id, &exchange)) {
        if (!kept_begun_before(session, packet_id, exchange)) {
            return false;
        }
    }
    return true;
}

bool revive_session_will(struct session *session, const struct stored_will *stored)
{
    session_will_forget(session);
    if (stored->message.len == 0) {
        return true;
    }
    struct will *const will = calloc(1, sizeof *will);
    if (will == NULL) {
        return false;
    }
    *will = (struct will){.message = kept_message_make(session->shard, stored->message),
                          .expiry_s = stored->expiry_s,
                          .has_expiry = stored->has_expiry,
                          .delay_s = stored->delay_s,
                          .due_ms = NEVER};
    if (will->message == NULL) {
        free(will);
        return false;
    }
    will->message->publisher = session->serial;
    session->will = will;
    return true;
}

struct subscribe_options revive_options(const struct stored_options *stored)
{
    return (struct subscribe_options){.identifier = stored->identifier,
                                      .qos = stored->qos,
                                      .no_local = stored->no_local,
                                      .retain_as_published = stored->retain_as_published};
}

bool revive_filter_read(struct bytes value, struct bytes *filter, struct subscribe_options *options)
{
    struct field_reader f = {.rest = value};
    struct stored_options stored;
    *filter = get_run(&f);
    stored_options_read(&f, &stored);
    *options = revive_options(&stored);
    return fields_are_over(&f) && filter->len > 0 && filter->len <= UINT16_MAX;
}

/* As much as the window allows, beyond what is done and was not written as such any more. */
uint32_t revive_perhaps_sent_max(const struct session *session)
{
    return session->shard->config->limits.inflight_max + KEPT_DONE_AHEAD_MAX;
}

static uint64_t perhaps_sent(struct session *session)
{
    uint64_t at = 0;
    uint32_t left = revive_perhaps_sent_max(session);
    for (const struct delivery *d; (d = outqueue_walk(&session->out, &at)) != NULL; left--) {
        if (left == 0) {
            return d->number;
        }
    }
    return session->out.next_number;
}

void revive_queue_restored(struct session *session, bool connected, uint64_t sent_end)
{
    outqueue_restored(&session->out, connected ? perhaps_sent(session) : sent_end);
}

static void name_groups(struct session *session, struct outqueue *q, uint64_t end)
{
    uint64_t at = 0;
    for (struct delivery *d; (d = outqueue_walk(q, &at)) != NULL && d->number < end;) {
        if (d->of_group) { /* until now, the name of its group */
            d->group_id = local_group_id(session, d->group_id);
            d->of_group = d->group_id != 0;
        }
    }
}

void revive_name_groups(struct session *session, uint64_t end)
{
    const struct kept *const kept = session->kept;
    name_groups(session, &session->out, end);
    if (kept->backlog != NULL && kept->backlog->after != NULL) {
        name_groups(session, kept->backlog->after, end);
    }
}
