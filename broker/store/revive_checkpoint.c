/* SPDX-License-Identifier: Apache-2.0 */
/* The checkpoint, read as a whole: what the journals are then read on top of. */
#include "broker/message.h"
#include "broker/node.h"
#include "broker/replicated/graves.h"
#include "broker/session/backlog.h"
#include "broker/session/kept.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/store/difference.h"
#include "broker/store/record_key.h"
#include "broker/store/revival.h"
#include "broker/store/revive_session.h"
#include "broker/store/serial.h"
#include "broker/store/session_record.h"
#include "broker/store/stored_message.h"

#define NEVER UINT64_MAX

/* Of a partition that other nodes have, too: it is put together when this node is to lead it
 * (broker/partitions). */
static bool is_elsewhere(struct bytes key)
{
    return key.len >= 9 && !serial_is_local(record_key_number(key, 1));
}

static bool on_session(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    if (is_elsewhere(key)) {
        return true;
    }
    struct session_record record;
    if (key.len != 9 || !session_record_read(value, &record)) {
        return revival_unknown(r);
    }
    struct revived_session *const v = revival_open(r, record_key_number(key, 1), record.client_id);
    if (v == NULL || !revival_set_will(r, v->session, &record.will) ||
        !revive_session_fill(v->session, &record)) {
        return revival_out_of_memory(r);
    }
    revival_count_serial(r, record.exchange);
    v->connected = record.connected;
    v->ends_ms = record.ends_ms;
    v->will_due_ms = record.will_due_ms;
    v->sent_end = v->reach = record.sent_end;
    return true;
}

static bool on_filter(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    if (is_elsewhere(key)) {
        return true;
    }
    struct subscribe_options options;
    struct bytes filter;
    if (key.len != 25 || !revive_filter_read(value, &filter, &options)) {
        return revival_unknown(r);
    }
    struct revived_session *const v = revival_find(r, record_key_number(key, 1));
    if (v != NULL && !revival_subscribe(r, v->session, filter, &options)) {
        return revival_out_of_memory(r);
    }
    return true;
}

/* It stays on disk until somebody wants it. */
static bool on_delivery(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    if (is_elsewhere(key)) {
        return true;
    }
    struct delivery_record record;
    if (key.len != 17 || !delivery_record_read(value, &record) ||
        record_key_number(key, 9) != record.delivery.number) {
        return revival_unknown(r);
    }
    const uint64_t number = record.delivery.number;
    struct revived_session *const v = revival_find(r, record_key_number(key, 1));
    revival_count_serial(r, record.body);
    if (v == NULL) {
        difference_orphan(r->node->shards[0], record_key_number(key, 1), number);
        return true;
    }
    if (record.bytes > r->result.message_bytes_max) {
        r->result.message_bytes_max = (uint32_t)record.bytes;
    }
    r->sizes_unknown = r->sizes_unknown || (record.body != 0 && record.bytes == 0);
    struct outqueue *const q = &v->session->out;
    if (number >= q->next_number) {
        /* The session ended while its queue was being taken, before it was put itself: the journal
         * says so, and what is here goes with it then. */
        q->next_number = v->session->kept->stored_end = number + 1;
    }
    if (!backlog_stored(v->session, number, record.bytes)) {
        return revival_out_of_memory(r);
    }
    if (record.body == 0 && v->reach <= number) {
        v->reach = number + 1; /* it was sent, and so were those before it */
    }
    if (record.delivery.group != 0) {
        v->reach = NEVER; /* those of groups, and what comes after them, are in memory */
    }
    r->result.deliveries++;
    return true;
}

/* How large the largest may be, where deliveries do not tell. */
static bool on_body(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    if (key.len != 9) {
        return revival_unknown(r);
    }
    if (value.len > r->result.message_bytes_max) {
        r->result.message_bytes_max = (uint32_t)value.len;
    }
    return true;
}

static bool on_retained(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    struct stored_message stored;
    if (key.len != 17 || !stored_message_read(value, &stored)) {
        return revival_unknown(r);
    }
    struct message *const m = revival_message(r, value);
    bool no_memory = m == NULL;
    if (!no_memory) {
        revival_set_retained(r, m, &no_memory);
        message_put(m);
    }
    return !no_memory || revival_out_of_memory(r);
}

static bool on_grave(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    if (key.len != 17 || value.len <= STORED_VERSION_BYTES) {
        return revival_unknown(r);
    }
    const struct retained_version version = stored_version_read(value.at);
    const struct bytes topic =
        bytes_of(value.at + STORED_VERSION_BYTES, value.len - STORED_VERSION_BYTES);
    if (version.stamp == 0 || topic.len > UINT16_MAX) {
        return revival_unknown(r);
    }
    return graves_bury(&r->node->graves, topic, &version) || revival_out_of_memory(r);
}

static bool on_floor(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    struct field_reader f = {.rest = value};
    r->node->graves.floor = get_number(&f);
    return (key.len == 9 && fields_are_over(&f)) || revival_unknown(r);
}

static bool on_applied(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    struct field_reader f = {.rest = value};
    const uint64_t index = get_number(&f);
    const uint64_t place = key.len == 9 ? record_key_number(key, 1) : NEVER;
    if (!fields_are_over(&f) || place >= sizeof r->result.applied / sizeof r->result.applied[0]) {
        return revival_unknown(r);
    }
    r->result.applied[place] = index;
    return true;
}

static bool on_place(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    const uint64_t place = key.len == 9 ? record_key_number(key, 1) : NEVER;
    if (place >= PARTITIONS && place != NEVER) {
        return true; /* broker/meta reads it */
    }
    return (place < PARTITIONS && place_read(value, &r->node->places[place])) || revival_unknown(r);
}

static bool on_least(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    struct field_reader f = {.rest = value};
    r->least = get_number(&f);
    revival_count_serial(r, r->least);
    return (key.len == 9 && fields_are_over(&f)) || revival_unknown(r);
}

typedef bool each_fn(void *context, struct bytes key, struct bytes value);

static enum checkpoint_err each(struct revival *r, struct checkpoint *cp, char letter, each_fn *fn)
{
    const enum checkpoint_err err = checkpoint_each(cp, bytes_of(&letter, 1), fn, r);
    return err == CHECKPOINT_OK && r->problem != NULL ? CHECKPOINT_CORRUPT : err;
}

static void reach_sent(struct revival *r, struct revived_session *v)
{
    if (r->problem == NULL && v->reach > 0) {
        (void)revival_reach(r, v, v->reach == NEVER ? NEVER : v->reach - 1);
    }
}

enum checkpoint_err revive_checkpoint(struct revival *r, struct checkpoint *cp)
{
    static const struct {
        char letter;
        each_fn *fn;
    } parts[] = {{'n', on_least},  {'p', on_applied},  {'s', on_session},
                 {'f', on_filter}, {'q', on_delivery}, {'r', on_retained},
                 {'t', on_grave},  {'h', on_floor},    {'g', on_place}};
    enum checkpoint_err err = CHECKPOINT_OK;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && err == CHECKPOINT_OK; i++) {
        err = each(r, cp, parts[i].letter, parts[i].fn);
        revival_settle(r);
    }
    if (err == CHECKPOINT_OK && r->sizes_unknown) {
        err = each(r, cp, 'b', on_body);
    }
    if (err == CHECKPOINT_OK) {
        revival_each(r, reach_sent, false);
    }
    return err == CHECKPOINT_OK && r->problem != NULL ? CHECKPOINT_CORRUPT : err;
}
