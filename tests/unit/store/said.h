/* SPDX-License-Identifier: Apache-2.0 */
/*
 * said: entries of partition 5, as its leader says them, and applied at once to records in memory;
 * and what is there then, as a text. For tests.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/store/apply.h"
#include "broker/store/origins.h"
#include "broker/store/records_memory.h"
#include "broker/store/serial.h"

#define SAID_PARTITION 5u

/* That session of the partition. */
#define SAID(counter) serial_make(SAID_PARTITION, 1, (counter))

struct said {
    struct records_memory m;
    struct applier a;
    struct applied applied; /* of the last one */
    uint64_t index;         /* likewise; 0: none yet */
    struct field_writer entry;
};

void said_begin(struct said *s);
void said_end(struct said *s);

/* Under the next index. */
enum apply_err said_bytes(struct said *s, struct bytes entry);
void said(struct said *s, const struct entry *e); /* it is applied */
void said_opened(struct said *s, uint64_t serial, const char *client_id);

/* "topic" with the payload "body" is queued in that session; of an operation, or of none: all 0. */
void said_queued(struct said *s, uint64_t serial, uint64_t number, uint8_t qos,
                 const struct operation *operation);
struct bytes said_message(const char *topic, const char *payload); /* good until the next one */

/* "id c1 e10 n3 s0 x0 [filters] [deliveries] …": of the session; "-": it is not there. Good until
 * the next call. */
const char *said_session(struct said *s, uint64_t serial);
