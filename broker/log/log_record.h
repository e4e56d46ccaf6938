/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_record: one event on its way to the log thread: a copy of all that its line needs.
 *
 * Owner: whoever holds the ring's slot that it lies in, or whose stack. Names and the event are
 *   pointers to string literals; the texts are copied.
 * At the bound: a text is cut to LOG_TEXT_BYTES_MAX, and to what the record has left; fields that
 *   do not fit at all are left out, and the line says cut=true.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/log/log.h"

struct log_record {
    uint64_t now_ns;
    const char *event;
    enum log_level level;
    uint32_t suppressed;
    uint16_t used; /* bytes of `fields` */
    bool cut;
    uint8_t fields[LOG_RECORD_BYTES - 32]; /* head and text, one after the other, unaligned */
};

_Static_assert(sizeof(struct log_record) <= LOG_RECORD_BYTES, "as the bound says");

/* Each field begins with one. */
struct log_head {
    const char *name;
    uint16_t len; /* bytes of text that follow, or of the number */
    uint8_t kind; /* enum log_kind */
};

void log_record_fill(struct log_record *r, enum log_level level, const char *event,
                     const struct log_place *place, const struct log_field *fields, size_t count);

/* Takes the field at *at; false: that was the last one. The text is borrowed from the record. */
bool log_record_next(const struct log_record *r, size_t *at, struct log_field *field);
