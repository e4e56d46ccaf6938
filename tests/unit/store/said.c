/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store/said.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/store/origins.h"
#include "broker/store/session_record.h"
#include "broker/store/stored_message.h"

void said_begin(struct said *s)
{
    *s = (struct said){.index = 0};
    records_memory_init(&s->m);
    applier_init(&s->a, &s->m.records, SAID_PARTITION);
}

void said_end(struct said *s)
{
    applier_fini(&s->a);
    records_memory_fini(&s->m);
    field_writer_fini(&s->entry);
}

enum apply_err said_bytes(struct said *s, struct bytes entry)
{
    return apply_entry(&s->a, ++s->index, entry, &s->applied);
}

static void apply(struct said *s)
{
    const enum apply_err err = said_bytes(s, field_written(&s->entry));
    if (err != APPLY_OK) {
        fprintf(stderr, "entry %" PRIu64 ": %s\n", s->index, apply_err_text(err));
        abort();
    }
}

void said(struct said *s, const struct entry *e)
{
    field_writer_begin(&s->entry);
    entry_write(&s->entry, e);
    apply(s);
}

void said_opened(struct said *s, uint64_t serial, const char *client_id)
{
    said(s, &(struct entry){
                .type = ENTRY_OPENED,
                .serial = serial,
                .opened = {.client_id = bytes_text(client_id), .expiry_s = 10},
            });
}

struct bytes said_message(const char *topic, const char *payload)
{
    static uint8_t all[256];
    const struct stored_message m = {.topic = bytes_text(topic), .qos = 1};
    const int len = snprintf((char *)all + STORED_MESSAGE_HEAD, sizeof all - STORED_MESSAGE_HEAD,
                             "%s%s", topic, payload);
    stored_message_head(&m, all);
    return bytes_of(all, STORED_MESSAGE_HEAD + (size_t)len);
}

void said_queued(struct said *s, uint64_t serial, uint64_t number, uint8_t qos,
                 const struct operation *operation)
{
    struct entry e = {.type = ENTRY_QUEUED, .queued = {.message = said_message("topic", "body")}};
    if (operation != NULL) {
        e.queued.origin = operation->origin;
        e.queued.exchange = operation->number | (operation->is_whole ? 0 : ENTRY_MORE_FOLLOWS);
        e.queued.packet_id = operation->kind == ORIGIN_EXCHANGES;
    }
    field_writer_begin(&s->entry);
    entry_write(&s->entry, &e);
    entry_write_recipient(&s->entry, serial,
                          &(struct stored_delivery){.number = number, .qos = qos});
    apply(s);
}

static char shown[1024];
static size_t shown_len;

__attribute__((format(printf, 1, 2))) static void show(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int len = vsnprintf(shown + shown_len, sizeof shown - shown_len, format, arguments);
    va_end(arguments);
    shown_len += (size_t)len;
}

static void show_time(const char *name, uint64_t ms)
{
    if (ms != UINT64_MAX) {
        show(" %s%" PRIu64, name, ms);
    }
}

static void show_record(const struct session_record *r)
{
    show("%.*s c%d e%u n%" PRIu64 " s%" PRIu64 " x%" PRIu64, (int)r->client_id.len,
         (const char *)r->client_id.at, (int)r->connected, r->expiry_s, r->next_number, r->sent_end,
         r->exchange);
    show_time("ends", r->ends_ms);
    show_time("due", r->will_due_ms);
    if (r->will.message.len > 0) {
        show(" will%u", r->will.delay_s);
    }
    struct bytes begun = r->begun;
    uint16_t id;
    uint64_t exchange;
    while (session_record_next_begun(&begun, &id, &exchange)) {
        show(" b%u:%" PRIu64, id, exchange);
    }
    struct field_reader f = {.rest = r->received};
    while (f.rest.len > 0) {
        show(" r%u", get_packet_id(&f));
    }
}

static void show_all(struct said *s, char letter, uint64_t serial)
{
    const struct record_key prefix = record_key_of(letter, serial);
    struct record_key at = {.len = 0};
    struct bytes value;
    while (records_next(&s->m.records, &prefix, &at, &value) == CHECKPOINT_OK && at.len > 0) {
        struct field_reader f = {.rest = value};
        struct delivery_record d;
        struct stored_options options;
        if (letter == 'f') {
            const struct bytes filter = get_run(&f);
            stored_options_read(&f, &options);
            show(" %.*s/%d", (int)filter.len, (const char *)filter.at, options.qos);
        } else if (delivery_record_read(value, &d)) {
            show(" %" PRIu64 "%s", d.delivery.number, d.body == 0 ? "released" : "");
        }
    }
}

const char *said_session(struct said *s, uint64_t serial)
{
    const struct record_key key = record_key_of('s', serial);
    struct bytes value;
    struct session_record r;
    shown_len = 0;
    if (records_get(&s->m.records, &key, &value) != CHECKPOINT_OK || value.at == NULL ||
        !session_record_read(value, &r)) {
        return "-";
    }
    show_record(&r);
    show(" [");
    show_all(s, 'f', serial);
    show(" ] [");
    show_all(s, 'q', serial);
    show(" ]");
    return shown;
}
