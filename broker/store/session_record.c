/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/session_record.h"

#include <assert.h>
#include <string.h>

#include "broker/message.h"
#include "broker/session/outqueue.h"
#include "broker/store/record_key.h"

#define VERSION          2u /* 1 is without `begun`, which is empty */
#define DELIVERY_VERSION 2u /* 1 is without `bytes` */

/* As outqueue_delivery_bytes() has it. */
uint64_t delivery_record_bytes(struct bytes message, struct bytes identifiers)
{
    struct stored_message m = {.qos = 0};
    const bool is_one = stored_message_read(message, &m);
    const uint64_t bytes = sizeof(struct message) + m.topic.len + m.properties.len + m.payload.len +
                           (m.version.stamp > 0 ? sizeof(struct retained_version) : 0);
    assert(is_one);
    struct field_reader f = {.rest = identifiers};
    uint32_t count = 0;
    while (!f.failed && f.rest.len > 0) {
        (void)get_number(&f);
        count++;
    }
    return count <= 1 ? bytes : bytes + sizeof(struct delivery_more) + count * sizeof(uint32_t);
}

void session_record_write(struct field_writer *w, const struct session_record *r)
{
    put_number(w, r->begun.len > 0 ? VERSION : 1);
    put_run(w, r->client_id);
    put_number(w, r->expiry_s);
    put_number(w, r->connected);
    put_number(w, r->ends_ms);
    put_number(w, r->next_number);
    put_number(w, r->sent_end);
    put_number(w, r->exchange);
    stored_will_write(w, &r->will);
    put_number(w, r->will_due_ms);
    put_run(w, r->received);
    if (r->begun.len > 0) {
        put_run(w, r->begun);
    }
}

bool session_record_next_begun(struct bytes *rest, uint16_t *packet_id, uint64_t *exchange)
{
    struct field_reader f = {.rest = *rest};
    if (rest->len == 0) {
        return false;
    }
    *packet_id = get_packet_id(&f);
    *exchange = get_number(&f);
    *rest = f.rest;
    return !f.failed;
}

bool session_record_read(struct bytes in, struct session_record *r)
{
    struct field_reader f = {.rest = in};
    const uint64_t version = get_number(&f);
    const bool known = version >= 1 && version <= VERSION;
    *r = (struct session_record){.client_id = get_run(&f)};
    r->expiry_s = (uint32_t)get_number_to(&f, UINT32_MAX);
    r->connected = get_number_to(&f, 1) != 0;
    r->ends_ms = get_number(&f);
    r->next_number = get_number(&f);
    r->sent_end = get_number(&f);
    r->exchange = get_number(&f);
    stored_will_read(&f, &r->will);
    r->will_due_ms = get_number(&f);
    r->received = get_run(&f);
    struct field_reader received = {.rest = r->received};
    while (!received.failed && received.rest.len > 0) {
        (void)get_packet_id(&received);
    }
    r->begun = version >= 2 ? get_run(&f) : bytes_of(NULL, 0);
    struct field_reader begun = {.rest = r->begun};
    while (!begun.failed && begun.rest.len > 0) {
        (void)get_packet_id(&begun);
        (void)get_number(&begun);
    }
    return known && fields_are_over(&f) && !received.failed && !begun.failed &&
           (r->begun.len > 0) == (version >= 2) && r->client_id.len <= UINT16_MAX;
}

void delivery_record_write(struct field_writer *w, const struct delivery_record *r)
{
    put_number(w, DELIVERY_VERSION);
    put_number(w, r->body);
    put_number(w, r->bytes);
    stored_delivery_write(w, &r->delivery);
}

bool delivery_record_read(struct bytes in, struct delivery_record *r)
{
    struct field_reader f = {.rest = in};
    const uint64_t version = get_number(&f);
    r->body = get_number(&f);
    r->bytes = version < DELIVERY_VERSION ? 0 : get_number(&f);
    stored_delivery_read(&f, &r->delivery);
    return version >= 1 && version <= DELIVERY_VERSION && fields_are_over(&f) &&
           (r->body != 0 || r->delivery.qos == 2);
}

struct bytes delivery_record_reference(struct bytes value, uint8_t *scratch)
{
    struct delivery_record r;
    if (!delivery_record_read(value, &r) || r.body == 0) {
        return bytes_of(NULL, 0);
    }
    const struct record_key key = record_key_of('b', r.body);
    memcpy(scratch, key.at, key.len);
    return bytes_of(scratch, key.len);
}
