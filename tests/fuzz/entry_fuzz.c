/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry_fuzz: any bytes are read as what is on disk, or refused; and what is read, written again,
 * reads the same. A list ends where its entry does.
 *
 * Input: one byte of choice, then the bytes.
 *   choice mod 4   0: an entry; 1: a session's record; 2: a delivery's; 3: a message
 */
#include <string.h>

#include "broker/store/entry.h"
#include "broker/store/session_record.h"
#include "broker/store/stored_message.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/store/stored_same.h"

static void lies_in(struct bytes part, struct bytes in)
{
    FUZZ_EXPECT(part.len == 0 || (part.at >= in.at && part.len <= in.len &&
                                  (size_t)(part.at - in.at) <= in.len - part.len));
}

/* Every item that was looked at by entry_read() is given. */
static void walk_recipients(struct bytes list)
{
    uint64_t serial;
    struct stored_delivery delivery;
    struct bytes rest = list;
    while (entry_next_recipient(&rest, &serial, &delivery)) {
        FUZZ_EXPECT(delivery.qos == 1 || delivery.qos == 2);
        lies_in(delivery.identifiers, list);
    }
    FUZZ_EXPECT(rest.len == 0);
}

static void walk_done(struct bytes list)
{
    uint64_t serial, number;
    while (entry_next_done(&list, &serial, &number)) {
    }
    FUZZ_EXPECT(list.len == 0);
}

static void judge_message(struct bytes in)
{
    struct stored_message m, again;
    uint8_t head[STORED_MESSAGE_HEAD];
    struct field_writer w = {.at = NULL};
    if (!stored_message_read(in, &m)) {
        return;
    }
    lies_in(m.topic, in);
    lies_in(m.properties, in);
    lies_in(m.payload, in);
    stored_message_head(&m, head);
    put_raw(&w, bytes_of(head, sizeof head));
    if (m.version.stamp > 0) {
        stored_version_write(&w, &m.version);
    }
    put_raw(&w, m.topic);
    put_raw(&w, m.properties);
    put_raw(&w, m.payload);
    FUZZ_EXPECT(stored_message_read(field_written(&w), &again) && stored_same_message(&m, &again));
    field_writer_fini(&w);
}

static void judge_entry(struct bytes in)
{
    struct entry e, again;
    struct field_writer w = {.at = NULL};
    if (!entry_read(in, &e)) {
        return;
    }
    switch (e.type) {
    case ENTRY_OPENED:
        if (e.opened.will.message.len > 0) {
            judge_message(e.opened.will.message);
        }
        break;
    case ENTRY_QUEUED:
    case ENTRY_DISPATCHED:
        judge_message(e.queued.message);
        walk_recipients(e.queued.recipients);
        break;
    case ENTRY_DONE:
        walk_done(e.done);
        break;
    case ENTRY_RETAINED:
        judge_message(e.message);
        break;
    default:
        break;
    }
    entry_write(&w, &e);
    FUZZ_EXPECT(entry_read(field_written(&w), &again) && stored_same_entry(&e, &again));
    field_writer_fini(&w);
}

static void judge_session(struct bytes in)
{
    struct session_record r, again;
    struct field_writer w = {.at = NULL};
    if (!session_record_read(in, &r)) {
        return;
    }
    lies_in(r.client_id, in);
    lies_in(r.received, in);
    session_record_write(&w, &r);
    FUZZ_EXPECT(session_record_read(field_written(&w), &again) && stored_same_session(&r, &again));
    field_writer_fini(&w);
}

static void judge_delivery(struct bytes in)
{
    struct delivery_record r, again;
    struct field_writer w = {.at = NULL};
    if (!delivery_record_read(in, &r)) {
        return;
    }
    lies_in(r.delivery.identifiers, in);
    delivery_record_write(&w, &r);
    FUZZ_EXPECT(delivery_record_read(field_written(&w), &again) && r.body == again.body &&
                stored_same_delivery(&r.delivery, &again.delivery));
    field_writer_fini(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const judges[])(struct bytes in) = {judge_entry, judge_session, judge_delivery,
                                                      judge_message};
    if (size < 1) {
        return 0;
    }
    judges[data[0] % 4](bytes_of(data + 1, size - 1));
    return 0;
}
