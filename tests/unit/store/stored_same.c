/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store/stored_same.h"

bool stored_same_message(const struct stored_message *a, const struct stored_message *b)
{
    return bytes_equal(a->topic, b->topic) && bytes_equal(a->properties, b->properties) &&
           bytes_equal(a->payload, b->payload) && a->qos == b->qos && a->retain == b->retain &&
           a->has_expiry == b->has_expiry && (!a->has_expiry || a->expires_ms == b->expires_ms);
}

bool stored_same_delivery(const struct stored_delivery *a, const struct stored_delivery *b)
{
    return a->number == b->number && a->qos == b->qos && a->retain == b->retain &&
           a->group == b->group && bytes_equal(a->identifiers, b->identifiers);
}

static bool same_options(const struct stored_options *a, const struct stored_options *b)
{
    return a->identifier == b->identifier && a->qos == b->qos && a->no_local == b->no_local &&
           a->retain_as_published == b->retain_as_published;
}

static bool same_will(const struct stored_will *a, const struct stored_will *b)
{
    return bytes_equal(a->message, b->message) &&
           (a->message.len == 0 || (a->delay_s == b->delay_s && a->has_expiry == b->has_expiry &&
                                    a->expiry_s == b->expiry_s));
}

static bool same_recipients(struct bytes a, struct bytes b)
{
    uint64_t serial_a = 0, serial_b = 0;
    struct stored_delivery delivery_a, delivery_b;
    for (;;) {
        const bool more = entry_next_recipient(&a, &serial_a, &delivery_a);
        if (more != entry_next_recipient(&b, &serial_b, &delivery_b)) {
            return false;
        }
        if (!more) {
            return true;
        }
        if (serial_a != serial_b || !stored_same_delivery(&delivery_a, &delivery_b)) {
            return false;
        }
    }
}

static bool same_done(struct bytes a, struct bytes b)
{
    uint64_t serial_a = 0, serial_b = 0, number_a = 0, number_b = 0;
    for (;;) {
        const bool more = entry_next_done(&a, &serial_a, &number_a);
        if (more != entry_next_done(&b, &serial_b, &number_b)) {
            return false;
        }
        if (!more) {
            return true;
        }
        if (serial_a != serial_b || number_a != number_b) {
            return false;
        }
    }
}

static bool same_rest(const struct entry *a, const struct entry *b)
{
    switch (a->type) {
    case ENTRY_OPENED:
        return bytes_equal(a->opened.client_id, b->opened.client_id) &&
               a->opened.expiry_s == b->opened.expiry_s &&
               same_will(&a->opened.will, &b->opened.will);
    case ENTRY_CLOSED:
        return a->closed.expiry_s == b->closed.expiry_s && a->closed.ends_ms == b->closed.ends_ms &&
               a->closed.sent_end == b->closed.sent_end &&
               a->closed.will_due_ms == b->closed.will_due_ms;
    case ENTRY_SUBSCRIBED:
        return bytes_equal(a->subscribed.filter, b->subscribed.filter) &&
               same_options(&a->subscribed.options, &b->subscribed.options);
    case ENTRY_UNSUBSCRIBED:
        return bytes_equal(a->subscribed.filter, b->subscribed.filter);
    case ENTRY_DISPATCHED:
        if (a->queued.stream != b->queued.stream || a->queued.operation != b->queued.operation) {
            return false;
        }
        __attribute__((fallthrough));
    case ENTRY_QUEUED:
        return bytes_equal(a->queued.message, b->queued.message) &&
               a->queued.origin == b->queued.origin && a->queued.exchange == b->queued.exchange &&
               a->queued.packet_id == b->queued.packet_id &&
               same_recipients(a->queued.recipients, b->queued.recipients);
    case ENTRY_DONE:
        return same_done(a->done, b->done);
    case ENTRY_RELEASED:
        return a->released == b->released;
    case ENTRY_RECEIVED:
    case ENTRY_BEGUN:
        return a->received.packet_id == b->received.packet_id &&
               a->received.exchange == b->received.exchange;
    case ENTRY_FREED:
        return a->received.packet_id == b->received.packet_id;
    case ENTRY_SEALED:
        return a->term == b->term;
    case ENTRY_RETAINED:
        return bytes_equal(a->message, b->message);
    case ENTRY_UNRETAINED:
        return bytes_equal(a->topic, b->topic);
    case ENTRY_BURIED:
        return bytes_equal(a->buried.topic, b->buried.topic) &&
               retained_version_compare(&a->buried.version, &b->buried.version) == 0;
    case ENTRY_WILL_DUE:
        return a->will.number == b->will.number && bytes_equal(a->will.message, b->will.message);
    case ENTRY_WILL_GONE:
    case ENTRY_WILL_RETAINED:
        return a->will.number == b->will.number;
    case ENTRY_ENDED:
    case ENTRY_WILL_OVER:
        return true;
    case ENTRY_TYPES:
        break;
    }
    return false;
}

bool stored_same_entry(const struct entry *a, const struct entry *b)
{
    return a->type == b->type && a->serial == b->serial && same_rest(a, b);
}

bool stored_same_session(const struct session_record *a, const struct session_record *b)
{
    return bytes_equal(a->client_id, b->client_id) && a->expiry_s == b->expiry_s &&
           a->connected == b->connected && a->ends_ms == b->ends_ms &&
           a->next_number == b->next_number && a->sent_end == b->sent_end &&
           a->exchange == b->exchange && same_will(&a->will, &b->will) &&
           a->will_due_ms == b->will_due_ms && bytes_equal(a->received, b->received) &&
           bytes_equal(a->begun, b->begun);
}
