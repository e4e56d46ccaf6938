/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/unfinished.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "broker/message.h"
#include "broker/store/entry.h"

static struct table all;
static struct message *m;
static char told[256];

static void begin(void)
{
    cr_assert(unfinished_init(&all));
    m = message_create(bytes_text("t"), bytes_of(NULL, 0), bytes_text("payload"));
    cr_assert_not_null(m);
    told[0] = '\0';
}

static void end(void)
{
    unfinished_fini(&all);
    message_put(m);
    cr_expect_eq(message_memory(), 0);
}

TestSuite(unfinished, .init = begin, .fini = end);

/* "origin:exchange" of an exchange, "origin/number" of a will; then who has it, of groups with g;
 * and r, if it was retained. */
static void tell(void *context, struct unfinished *x)
{
    (void)context;
    size_t len = strlen(told);
    len += (size_t)snprintf(told + len, sizeof told - len, "%s%d%c%d", len == 0 ? "" : " ",
                            (int)x->origin, unfinished_is_will(x) ? '/' : ':', (int)x->exchange);
    for (size_t i = 0; i < x->sessions.count; i++) {
        len += (size_t)snprintf(told + len, sizeof told - len, ",%d", (int)x->sessions.at[i]);
    }
    for (size_t i = 0; i < x->groups.count; i++) {
        len += (size_t)snprintf(told + len, sizeof told - len, ",g%d", (int)x->groups.at[i]);
    }
    snprintf(told + len, sizeof told - len, "%s", x->is_retained ? ",r" : "");
    cr_expect_eq(x->message, m);
}

static const char *tell_all(void)
{
    unfinished_each(&all, tell, NULL);
    cr_expect_eq(all.count, 0);
    return told;
}

/* Queued in that session, of that group (0: none). */
static void queued(uint64_t origin, uint64_t exchange, uint16_t packet_id, uint64_t session,
                   uint64_t group)
{
    struct field_writer w = {.at = NULL};
    const struct stored_delivery d = {.number = 1, .qos = 1, .group = group};
    field_writer_begin(&w);
    entry_write_recipient(&w, session, &d);
    const struct entry e = {.type = ENTRY_QUEUED,
                            .queued = {.origin = origin,
                                       .exchange = exchange,
                                       .packet_id = packet_id,
                                       .recipients = field_written(&w)}};
    unfinished_queued(&all, &e, m);
    field_writer_fini(&w);
}

static void will(enum entry_type type, uint64_t serial, uint64_t number)
{
    const struct entry e = {.type = type, .serial = serial, .will = {.number = number}};
    unfinished_will(&all, &e, type == ENTRY_WILL_DUE ? m : NULL);
}

Test(unfinished, who_has_it_is_told_in_order)
{
    queued(7, 1, 9, 30, 0);
    queued(7, 1, 9, 10, 0);
    queued(7, 1, 9, 20, 5);
    cr_expect_str_eq(tell_all(), "7:1,10,30,g5");
}

/* As they were begun; the will is what ended the connection. */
Test(unfinished, those_of_a_session_come_in_order)
{
    will(ENTRY_WILL_DUE, 7, 80);
    queued(7, 3, 1, 10, 0);
    will(ENTRY_WILL_DUE, 7, 70);
    queued(6, 9, 1, 10, 0);
    queued(7, 2, 2, 10, 0);
    cr_expect_str_eq(tell_all(), "6:9,10 7:2,10 7:3,10 7/70 7/80");
}

/* The number of a will is none of an exchange's. */
Test(unfinished, a_will_is_not_an_exchange)
{
    queued(7, 64, 1, 10, 0);
    queued(7, 64, 0, 20, 0);
    will(ENTRY_WILL_DUE, 7, 64);
    cr_expect_str_eq(tell_all(), "7:64,10 7/64,20");
}

/* Journals are read one after the other: what is said first may be read last. */
Test(unfinished, entries_come_in_any_order)
{
    static const unsigned orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t o = 0; o < sizeof orders / sizeof orders[0]; o++) {
        for (unsigned i = 0; i < 3; i++) {
            switch (orders[o][i]) {
            case 0:
                will(ENTRY_WILL_DUE, 7, 70);
                break;
            case 1:
                queued(7, 70, 0, 10, 0);
                break;
            default:
                will(ENTRY_WILL_RETAINED, 7, 70);
                break;
            }
        }
        told[0] = '\0';
        cr_expect_str_eq(tell_all(), "7/70,10,r");
    }
}

static const struct {
    const char *name;
    enum entry_type types[2]; /* 0: none */
    bool is_queued;
} over[] = {
    {"gone", {ENTRY_WILL_DUE, ENTRY_WILL_GONE}, true},
    {"gone, read first", {ENTRY_WILL_GONE, ENTRY_WILL_DUE}, false},
    {"gone, and due in what is no longer there", {ENTRY_WILL_GONE}, true},
    {"retained, and due in what is no longer there", {ENTRY_WILL_RETAINED}, false},
    {"queued, and due in what is no longer there", {0}, true},
};

Test(unfinished, what_is_over_is_not_told)
{
    for (size_t i = 0; i < sizeof over / sizeof over[0]; i++) {
        if (over[i].is_queued) {
            queued(7, 70, 0, 10, 0);
        }
        for (unsigned t = 0; t < 2 && over[i].types[t] != 0; t++) {
            will(over[i].types[t], 7, 70);
        }
        cr_expect_str_eq(tell_all(), "", "%s", over[i].name);
    }
}

/* What was noted and not asked for goes, too: see end(). */
Test(unfinished, it_may_be_given_up)
{
    queued(7, 1, 9, 30, 5);
    will(ENTRY_WILL_DUE, 7, 70);
    will(ENTRY_WILL_GONE, 7, 71);
    cr_expect_eq(all.count, 3);
}
