/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/difference.h"

#include <criterion/criterion.h>

#include "broker/message.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"

#define SESSIONS 4u

static struct shard s = {.id = 3, .next_serial = 100};
static struct session sessions[SESSIONS];
static struct kept kept[SESSIONS];

static void begin(void)
{
    cr_assert(difference_init(&s.difference));
    for (unsigned i = 0; i < SESSIONS; i++) {
        sessions[i] = (struct session){.shard = &s, .serial = 10 + i, .kept = &kept[i]};
        kept[i] = (struct kept){.session = &sessions[i], .stored_end = 1000};
        kept_link_init(&kept[i].changed);
    }
}

static void end(void)
{
    for (unsigned i = 0; i < SESSIONS; i++) {
        kept_link_remove(&kept[i].changed);
        outqueue_fini(&sessions[i].out);
    }
    difference_fini(&s.difference);
    cr_expect_eq(message_memory(), 0);
}

TestSuite(difference, .init = begin, .fini = end);

static struct message *message(const char *topic)
{
    struct message *const m =
        message_create(bytes_text(topic), bytes_of(NULL, 0), bytes_text("payload"));
    cr_assert_not_null(m);
    return m;
}

static void changed_is(size_t i, struct changed_delivery want)
{
    const struct changed_deliveries *const all = &s.difference.now.deliveries;
    cr_assert_lt(i, all->count);
    const struct changed_delivery *const got = &all->at[i];
    cr_expect_eq(got->serial, want.serial, "%zu", i);
    cr_expect_eq(got->number, want.number, "%zu", i);
    cr_expect_eq(got->gone, want.gone, "%zu", i);
}

/* However many refer to it, a body has one id, until nobody does. */
Test(difference, a_body_is_in_the_checkpoint_once)
{
    struct message *const m = message("t"), *const other = message("t");
    bool is_new = false, other_is_new = false;
    const uint64_t id = difference_body(&s, m, &is_new);
    cr_expect(is_new);
    cr_expect_neq(id, 0);
    cr_expect_eq(difference_body(&s, m, &is_new), id);
    cr_expect_not(is_new);
    cr_expect_neq(difference_body(&s, other, &other_is_new), id);
    cr_expect(other_is_new);
    cr_expect_eq(s.difference.bodies.count, 2);

    const struct delivery first = {.message = m, .number = 5, .qos = 1};
    const struct delivery second = {.message = m, .number = 6, .qos = 1};
    difference_delivery(&s, &kept[0], &first, true);
    cr_expect_eq(difference_body(&s, m, &is_new), id); /* one still refers to it */
    cr_expect_not(is_new);
    difference_delivery(&s, &kept[0], &second, true);
    difference_delivery(&s, &kept[1], &first, true);
    cr_expect_eq(s.difference.bodies.count, 1);
    changed_is(0, (struct changed_delivery){10, 5, true});
    changed_is(1, (struct changed_delivery){10, 6, true});
    changed_is(2, (struct changed_delivery){11, 5, true});
    cr_expect_neq(difference_body(&s, m, &is_new), id); /* the checkpoint deletes that one */
    cr_expect(is_new);
    message_put(m);
    message_put(other);
}

/* As revive.c has them: it knows the ids. */
Test(difference, bodies_that_are_there_already)
{
    struct message *const m = message("t");
    bool is_new = true;
    difference_has_body(&s, m, 77);
    difference_has_body(&s, m, 77);
    cr_expect_eq(difference_body(&s, m, &is_new), 77);
    cr_expect_not(is_new);
    const struct delivery d = {.message = m, .number = 5, .qos = 1};
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(s.difference.bodies.count, 1);
        difference_delivery(&s, &kept[i], &d, true);
    }
    cr_expect_eq(s.difference.bodies.count, 0);
    message_put(m);
}

/* By its id, as long as some delivery refers to it. */
Test(difference, a_body_is_found_by_its_id)
{
    struct message *const m = message("t"), *const other = message("t");
    bool is_new = false;
    const uint64_t id = difference_body(&s, m, &is_new);
    difference_has_body(&s, other, 77);
    cr_expect_eq(difference_message(&s, id), m);
    cr_expect_eq(difference_message(&s, 77), other);
    cr_expect_null(difference_message(&s, 78));
    difference_forget(&s, other);
    cr_expect_null(difference_message(&s, 77));
    cr_expect_eq(difference_message(&s, id), m);
    const struct delivery d = {.message = m, .number = 5, .qos = 1};
    difference_delivery(&s, &kept[0], &d, true);
    cr_expect_null(difference_message(&s, id));
    message_put(m);
    message_put(other);
}

/* Released, a delivery refers to no body any more; and goes later. */
Test(difference, a_delivery_is_released_and_goes)
{
    struct message *const m = message("t");
    bool is_new = false;
    (void)difference_body(&s, m, &is_new);
    struct delivery d = {.message = m, .number = 5, .qos = 2};
    difference_delivery(&s, &kept[0], &d, false);
    d.message = NULL;
    difference_delivery(&s, &kept[0], &d, true);
    cr_expect_eq(s.difference.now.deliveries.count, 2);
    changed_is(0, (struct changed_delivery){10, 5, false});
    changed_is(1, (struct changed_delivery){10, 5, true});
    message_put(m);
}

/* What came and went since the last checkpoint leaves no trace. */
Test(difference, what_the_checkpoint_never_had)
{
    struct message *const m = message("t");
    struct delivery d = {.message = m, .number = 1000, .qos = 1};
    difference_delivery(&s, &kept[0], &d, true);
    cr_expect_eq(s.difference.now.deliveries.count, 0);
    cr_expect_not(changes_are_none(&s.difference.now)); /* the session has changed */
    d.number = 999;
    d.message = NULL;
    difference_delivery(&s, &kept[0], &d, true);
    cr_expect_eq(s.difference.now.deliveries.count, 1);
    message_put(m);
}

static void queue(unsigned session, struct message *m, uint64_t number, uint8_t state)
{
    const struct delivery d = {.message = state == DELIVERY_RELEASED ? NULL : message_take(m, 1),
                               .number = number,
                               .qos = 2,
                               .state = state};
    cr_assert(outqueue_restore(&sessions[session].out, &d));
}

Test(difference, a_session_ends_with_all_that_it_has)
{
    struct message *const m = message("t");
    bool is_new = false;
    (void)difference_body(&s, m, &is_new);
    queue(0, m, 7, DELIVERY_RELEASED);
    queue(0, m, 998, DELIVERY_WAITING);
    queue(0, m, 1000, DELIVERY_WAITING); /* not in the checkpoint */
    outqueue_restored(&sessions[0].out, 8);
    difference_ended(&s, &kept[0]);
    cr_expect_eq(s.difference.now.deliveries.count, 0); /* the checkpoint knows what it has */
    cr_assert_eq(s.difference.now.ended.count, 1);
    cr_expect_eq(s.difference.now.ended.at[0], 10);
    cr_expect_eq(s.difference.bodies.count, 0);
    message_put(m);
}

/* ---- changes */

static void sessions_are(const struct changes *c, const char *want)
{
    char got[SESSIONS + 1] = "";
    size_t n = 0;
    for (const struct kept_link *l = c->sessions.next; l != &c->sessions; l = l->next) {
        cr_assert_eq(l->next->prev, l);
        cr_assert_eq(l->prev->next, l);
        cr_assert_lt(n, SESSIONS);
        got[n++] = (char)('0' + (table_object(l, struct kept, changed) - kept));
    }
    cr_expect_str_eq(got, want);
}

Test(difference, a_session_is_noted_once)
{
    for (unsigned i = 0; i < 3; i++) {
        difference_session(&s, &kept[2]);
        difference_session(&s, &kept[0]);
    }
    sessions_are(&s.difference.now, "20");
}

/* All goes over; what changes from then on is noted anew; and the memory changes sides. */
Test(difference, changes_move)
{
    struct changes taking;
    cr_assert(changes_init(&taking));
    for (unsigned round = 0; round < 3; round++) {
        const struct delivery d = {.number = 5 + round, .qos = 1};
        difference_session(&s, &kept[1]);
        difference_delivery(&s, &kept[0], &d, true);
        difference_session(&s, &kept[3]);
        difference_topic(&s, bytes_text("a"), 1);
        difference_topic(&s, bytes_text("b"), 2);
        numbers_add(&s.difference.now.ended, 70 + round);
        changes_move(&taking, &s.difference.now);

        cr_expect(changes_are_none(&s.difference.now));
        sessions_are(&taking, "103");
        sessions_are(&s.difference.now, "");
        cr_expect_eq(changed_topics_count(&taking.topics), 2);
        cr_assert_eq(taking.deliveries.count, 1);
        cr_expect_eq(taking.deliveries.at[0].number, 5 + round);
        cr_assert_eq(taking.ended.count, 1);
        cr_expect_eq(taking.ended.at[0], 70 + round);

        difference_session(&s, &kept[2]); /* meanwhile */
        difference_topic(&s, bytes_text("a"), 1);
        sessions_are(&s.difference.now, "2");
        cr_expect_eq(changed_topics_count(&s.difference.now.topics), 1);

        while (!kept_link_is_alone(&taking.sessions)) {
            kept_link_remove(taking.sessions.next);
        }
        kept_link_remove(&kept[2].changed);
        while (changed_topics_first(&taking.topics) != NULL) {
            changed_topics_drop(&taking.topics);
        }
        changed_topics_drop(&s.difference.now.topics);
        taking.ended.count = 0;
        taking.deliveries.count = 0;
        cr_expect(changes_are_none(&taking));
    }
    changes_move(&taking, &s.difference.now); /* nothing */
    cr_expect(changes_are_none(&taking));
    changes_fini(&taking);
}
