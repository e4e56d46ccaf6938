/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/entry.h"

#include <assert.h>

/* Flags of a subscription and of a delivery. */
#define QOS                 0x03u
#define NO_LOCAL            0x04u
#define RETAIN_AS_PUBLISHED 0x08u
#define OPTIONS             (QOS | NO_LOCAL | RETAIN_AS_PUBLISHED)
#define RETAIN              0x04u
#define DELIVERY            (QOS | RETAIN)

/* ---- parts */

void stored_options_write(struct field_writer *w, const struct stored_options *options)
{
    put_number(w, (uint64_t)options->qos | (options->no_local ? NO_LOCAL : 0u) |
                      (options->retain_as_published ? RETAIN_AS_PUBLISHED : 0u));
    put_number(w, options->identifier);
}

void stored_options_read(struct field_reader *r, struct stored_options *options)
{
    const uint64_t flags = get_number_to(r, OPTIONS);
    r->failed = r->failed || (flags & QOS) == QOS;
    *options = (struct stored_options){
        .identifier = (uint32_t)get_number_to(r, UINT32_MAX),
        .qos = (uint8_t)(flags & QOS),
        .no_local = (flags & NO_LOCAL) != 0,
        .retain_as_published = (flags & RETAIN_AS_PUBLISHED) != 0,
    };
}

void stored_delivery_write(struct field_writer *w, const struct stored_delivery *delivery)
{
    put_number(w, delivery->number);
    put_number(w, (uint64_t)delivery->qos | (delivery->retain ? RETAIN : 0u));
    put_number(w, delivery->group);
    put_run(w, delivery->identifiers);
}

static bool are_identifiers(struct bytes identifiers)
{
    struct field_reader r = {.rest = identifiers};
    while (!r.failed && r.rest.len > 0) {
        (void)get_number_to(&r, UINT32_MAX);
    }
    return !r.failed;
}

void stored_delivery_read(struct field_reader *r, struct stored_delivery *delivery)
{
    const uint64_t number = get_number_to(r, UINT64_MAX - 1);
    const uint64_t flags = get_number_to(r, DELIVERY);
    *delivery = (struct stored_delivery){
        .number = number,
        .qos = (uint8_t)(flags & QOS),
        .retain = (flags & RETAIN) != 0,
        .group = get_number(r),
        .identifiers = get_run(r),
    };
    r->failed = r->failed || delivery->qos < 1 || delivery->qos > 2 ||
                !are_identifiers(delivery->identifiers);
}

void stored_will_write(struct field_writer *w, const struct stored_will *will)
{
    put_run(w, will->message);
    if (will->message.len > 0) {
        put_number(w, will->delay_s);
        put_number(w, will->has_expiry);
        put_number(w, will->expiry_s);
    }
}

void stored_will_read(struct field_reader *r, struct stored_will *will)
{
    struct stored_message message;
    *will = (struct stored_will){.message = get_run(r)};
    if (will->message.len > 0) {
        r->failed = r->failed || !stored_message_read(will->message, &message);
        will->delay_s = (uint32_t)get_number_to(r, UINT32_MAX);
        will->has_expiry = get_number_to(r, 1) != 0;
        will->expiry_s = (uint32_t)get_number_to(r, UINT32_MAX);
    }
}

/* ---- to write */

static void put_queued(struct field_writer *w, const struct entry *e)
{
    put_run(w, e->queued.message);
    put_number(w, e->queued.origin);
    put_number(w, e->queued.exchange);
    put_number(w, e->queued.packet_id);
    put_raw(w, e->queued.recipients);
}

void entry_write(struct field_writer *w, const struct entry *e)
{
    put_number(w, e->type);
    switch (e->type) {
    case ENTRY_OPENED:
        put_number(w, e->serial);
        put_run(w, e->opened.client_id);
        put_number(w, e->opened.expiry_s);
        stored_will_write(w, &e->opened.will);
        break;
    case ENTRY_CLOSED:
        put_number(w, e->serial);
        put_number(w, e->closed.expiry_s);
        put_number(w, e->closed.ends_ms);
        put_number(w, e->closed.sent_end);
        put_number(w, e->closed.will_due_ms);
        break;
    case ENTRY_ENDED:
    case ENTRY_WILL_OVER:
        put_number(w, e->serial);
        break;
    case ENTRY_WILL_GONE:
    case ENTRY_WILL_RETAINED:
        put_number(w, e->serial);
        put_number(w, e->will.number);
        break;
    case ENTRY_WILL_DUE:
        put_number(w, e->serial);
        put_number(w, e->will.number);
        put_run(w, e->will.message);
        break;
    case ENTRY_SUBSCRIBED:
        put_number(w, e->serial);
        put_run(w, e->subscribed.filter);
        stored_options_write(w, &e->subscribed.options);
        break;
    case ENTRY_UNSUBSCRIBED:
        put_number(w, e->serial);
        put_run(w, e->subscribed.filter);
        break;
    case ENTRY_DISPATCHED:
        put_number(w, e->queued.stream);
        put_number(w, e->queued.operation);
        put_queued(w, e);
        break;
    case ENTRY_QUEUED:
        put_queued(w, e);
        break;
    case ENTRY_DONE:
        put_raw(w, e->done);
        break;
    case ENTRY_RELEASED:
        put_number(w, e->serial);
        put_number(w, e->released);
        break;
    case ENTRY_RECEIVED:
    case ENTRY_BEGUN:
        put_number(w, e->serial);
        put_number(w, e->received.packet_id);
        put_number(w, e->received.exchange);
        break;
    case ENTRY_FREED:
        put_number(w, e->serial);
        put_number(w, e->received.packet_id);
        break;
    case ENTRY_RETAINED:
        put_run(w, e->message);
        break;
    case ENTRY_UNRETAINED:
        put_run(w, e->topic);
        break;
    case ENTRY_BURIED:
        put_run(w, e->buried.topic);
        stored_version_write(w, &e->buried.version);
        break;
    case ENTRY_SEALED:
        put_number(w, e->term);
        break;
    case ENTRY_TYPES:
        assert(false);
    }
}

void entry_write_recipient(struct field_writer *w, uint64_t serial,
                           const struct stored_delivery *delivery)
{
    put_number(w, serial);
    stored_delivery_write(w, delivery);
}

void entry_write_done(struct field_writer *w, uint64_t serial, uint64_t number)
{
    put_number(w, serial);
    put_number(w, number);
}

/* ---- to read */

bool entry_next_recipient(struct bytes *rest, uint64_t *serial, struct stored_delivery *delivery)
{
    struct field_reader r = {.rest = *rest};
    if (rest->len == 0) {
        return false;
    }
    *serial = get_number(&r);
    stored_delivery_read(&r, delivery);
    *rest = r.rest;
    return !r.failed;
}

bool entry_next_done(struct bytes *rest, uint64_t *serial, uint64_t *number)
{
    struct field_reader r = {.rest = *rest};
    if (rest->len == 0) {
        return false;
    }
    *serial = get_number(&r);
    *number = get_number(&r);
    *rest = r.rest;
    return !r.failed;
}

/* All that is left is the entry's list, and sound. */
static struct bytes list_of_recipients(struct field_reader *r)
{
    const struct bytes all = r->rest;
    while (!r->failed && r->rest.len > 0) {
        struct stored_delivery delivery;
        (void)get_number(r);
        stored_delivery_read(r, &delivery);
    }
    return all;
}

static struct bytes list_of_done(struct field_reader *r)
{
    const struct bytes all = r->rest;
    while (!r->failed && r->rest.len > 0) {
        (void)get_number(r);
        (void)get_number(r);
    }
    return all;
}

static struct bytes message_run(struct field_reader *r)
{
    struct stored_message message;
    const struct bytes run = get_run(r);
    r->failed = r->failed || !stored_message_read(run, &message);
    return run;
}

/* A topic, a filter, a client identifier: short enough for the wire. */
static struct bytes name_run(struct field_reader *r, size_t least)
{
    const struct bytes run = get_run(r);
    r->failed = r->failed || run.len < least || run.len > UINT16_MAX;
    return run;
}

static struct retained_version version_rest(struct field_reader *r)
{
    struct retained_version version = {.stamp = 0};
    if (!r->failed && r->rest.len >= STORED_VERSION_BYTES) {
        version = stored_version_read(r->rest.at);
        r->rest = bytes_of(r->rest.at + STORED_VERSION_BYTES, r->rest.len - STORED_VERSION_BYTES);
    }
    r->failed = r->failed || version.stamp == 0;
    return version;
}

static void read_queued(struct field_reader *r, struct entry *e)
{
    e->queued.message = message_run(r);
    e->queued.origin = get_number(r);
    e->queued.exchange = get_number(r);
    e->queued.packet_id = (uint16_t)get_number_to(r, UINT16_MAX);
    e->queued.recipients = list_of_recipients(r);
}

static void read_rest(struct field_reader *r, struct entry *e)
{
    switch (e->type) {
    case ENTRY_OPENED:
        e->opened.client_id = name_run(r, 0);
        e->opened.expiry_s = (uint32_t)get_number_to(r, UINT32_MAX);
        stored_will_read(r, &e->opened.will);
        break;
    case ENTRY_CLOSED:
        e->closed.expiry_s = (uint32_t)get_number_to(r, UINT32_MAX);
        e->closed.ends_ms = get_number(r);
        e->closed.sent_end = get_number(r);
        e->closed.will_due_ms = get_number(r);
        break;
    case ENTRY_SUBSCRIBED:
        e->subscribed.filter = name_run(r, 1);
        stored_options_read(r, &e->subscribed.options);
        break;
    case ENTRY_UNSUBSCRIBED:
        e->subscribed.filter = name_run(r, 1);
        break;
    case ENTRY_DISPATCHED:
        e->queued.stream = get_number(r);
        e->queued.operation = get_number(r);
        read_queued(r, e);
        break;
    case ENTRY_QUEUED:
        read_queued(r, e);
        break;
    case ENTRY_DONE:
        e->done = list_of_done(r);
        break;
    case ENTRY_RELEASED:
        e->released = get_number(r);
        break;
    case ENTRY_RECEIVED:
    case ENTRY_BEGUN:
        e->received.packet_id = get_packet_id(r);
        e->received.exchange = get_number(r);
        break;
    case ENTRY_FREED:
        e->received.packet_id = get_packet_id(r);
        break;
    case ENTRY_RETAINED:
        e->message = message_run(r);
        break;
    case ENTRY_UNRETAINED:
        e->topic = name_run(r, 1);
        break;
    case ENTRY_BURIED:
        e->buried.topic = name_run(r, 1);
        e->buried.version = version_rest(r);
        break;
    case ENTRY_SEALED:
        e->term = get_number(r);
        break;
    case ENTRY_WILL_DUE:
        e->will.number = get_number(r);
        e->will.message = message_run(r);
        break;
    case ENTRY_WILL_GONE:
    case ENTRY_WILL_RETAINED:
        e->will.number = get_number(r);
        break;
    case ENTRY_ENDED:
    case ENTRY_WILL_OVER:
    case ENTRY_TYPES:
        break;
    }
}

bool entry_read(struct bytes in, struct entry *e)
{
    struct field_reader r = {.rest = in};
    const uint64_t type = get_number_to(&r, ENTRY_TYPES - 1);
    if (type == 0) {
        return false;
    }
    *e = (struct entry){.type = (enum entry_type)type};
    const bool of_session = !entry_is_queued(e) && type != ENTRY_DONE && type != ENTRY_RETAINED &&
                            type != ENTRY_UNRETAINED && type != ENTRY_BURIED &&
                            type != ENTRY_SEALED;
    e->serial = of_session ? get_number(&r) : 0;
    read_rest(&r, e);
    return fields_are_over(&r);
}
