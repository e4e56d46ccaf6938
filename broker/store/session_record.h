/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_record: a session, and a delivery in its queue, as values of the checkpoint. Times are
 * milliseconds since 1970, UINT64_MAX: never. Pure; any bytes are fair input.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/store/checkpoint.h"
#include "broker/store/entry.h"
#include "broker/store/fields.h"
#include "proto/nodiscard.h"

struct session_record {
    struct bytes client_id;
    uint32_t expiry_s;
    bool connected;
    uint64_t ends_ms;     /* when not connected */
    uint64_t next_number; /* of its queue */
    uint64_t sent_end;
    uint64_t exchange;
    struct stored_will will;
    uint64_t will_due_ms;  /* when not connected, and there is a will */
    struct bytes received; /* packet identifiers, as numbers of fields.h */
    struct bytes begun; /* exchanges of QoS 2 that the client began: packet identifier, number, … */
};

struct delivery_record {
    uint64_t body;  /* id; 0: released */
    uint64_t bytes; /* of memory that it takes in a queue; 0: released, or of an earlier version */
    struct stored_delivery delivery;
};

/* `bytes` of one that is queued: a message as stored_message.h has it, which is one, and
 * subscription identifiers. */
uint64_t delivery_record_bytes(struct bytes message, struct bytes identifiers);

/* The next of `begun`; false: there is none. session_record_read() has looked at them all. */
bool session_record_next_begun(struct bytes *rest, uint16_t *packet_id, uint64_t *exchange);

void session_record_write(struct field_writer *w, const struct session_record *r);
NODISCARD bool session_record_read(struct bytes in, struct session_record *r);
void delivery_record_write(struct field_writer *w, const struct delivery_record *r);
NODISCARD bool delivery_record_read(struct bytes in, struct delivery_record *r);

/* The key of the body that a delivery's record refers to (checkpoint_conf.reference). */
checkpoint_reference_fn delivery_record_reference;
