/* SPDX-License-Identifier: Apache-2.0 */
/* words_test: what is said about members, and what follows. */
#include <criterion/criterion.h>

#include "tests/unit/membership/heard.h"

#define NONE 9 /* not known */

/* Node 1 is known in a state, of generation 3, version 5; then a word of one incarnation comes. */
static const struct {
    const char *name;
    unsigned known, word;
    uint64_t generation;
    uint32_t version;
    unsigned then;
    bool news; /* it is told to others */
} rows[] = {
    {"a newcomer", NONE, GOSSIP_ALIVE, 1, 0, MEMBER_ALIVE, true},
    {"a suspect whom nobody knows", NONE, GOSSIP_SUSPECT, 1, 0, NONE, false},
    {"a death of a stranger", NONE, GOSSIP_DEAD, 1, 0, NONE, false},
    {"a stranger leaves", NONE, GOSSIP_LEFT, 1, 0, NONE, false},

    {"known already", MEMBER_ALIVE, GOSSIP_ALIVE, 3, 5, MEMBER_ALIVE, false},
    {"old", MEMBER_ALIVE, GOSSIP_ALIVE, 3, 4, MEMBER_ALIVE, false},
    {"newer", MEMBER_ALIVE, GOSSIP_ALIVE, 3, 6, MEMBER_ALIVE, true},
    {"restarted", MEMBER_ALIVE, GOSSIP_ALIVE, 4, 0, MEMBER_ALIVE, true},
    {"of an earlier start, whatever the version", MEMBER_ALIVE, GOSSIP_ALIVE, 2, 99, MEMBER_ALIVE,
     false},
    {"suspected", MEMBER_ALIVE, GOSSIP_SUSPECT, 3, 5, MEMBER_SUSPECT, true},
    {"suspected of a later version", MEMBER_ALIVE, GOSSIP_SUSPECT, 3, 6, MEMBER_SUSPECT, true},
    {"was suspected", MEMBER_ALIVE, GOSSIP_SUSPECT, 3, 4, MEMBER_ALIVE, false},
    {"an earlier start was", MEMBER_ALIVE, GOSSIP_SUSPECT, 2, 9, MEMBER_ALIVE, false},
    {"a later start is, and where it is, is not known", MEMBER_ALIVE, GOSSIP_SUSPECT, 4, 0,
     MEMBER_ALIVE, false},
    {"dead", MEMBER_ALIVE, GOSSIP_DEAD, 3, 5, MEMBER_DEAD, true},
    {"an earlier start is dead", MEMBER_ALIVE, GOSSIP_DEAD, 2, 9, MEMBER_ALIVE, false},
    {"a later start is dead", MEMBER_ALIVE, GOSSIP_DEAD, 4, 0, MEMBER_DEAD, true},
    {"was dead", MEMBER_ALIVE, GOSSIP_DEAD, 3, 4, MEMBER_ALIVE, false},
    {"leaves", MEMBER_ALIVE, GOSSIP_LEFT, 3, 5, MEMBER_LEFT, true},
    {"an earlier start has left", MEMBER_ALIVE, GOSSIP_LEFT, 2, 5, MEMBER_ALIVE, false},

    {"does not refute by the same version", MEMBER_SUSPECT, GOSSIP_ALIVE, 3, 5, MEMBER_SUSPECT,
     false},
    {"refutes", MEMBER_SUSPECT, GOSSIP_ALIVE, 3, 6, MEMBER_ALIVE, true},
    {"suspected by another one", MEMBER_SUSPECT, GOSSIP_SUSPECT, 3, 5, MEMBER_SUSPECT, false},
    {"suspected anew", MEMBER_SUSPECT, GOSSIP_SUSPECT, 3, 6, MEMBER_SUSPECT, true},
    {"a suspect dies", MEMBER_SUSPECT, GOSSIP_DEAD, 3, 5, MEMBER_DEAD, true},
    {"a suspect leaves", MEMBER_SUSPECT, GOSSIP_LEFT, 3, 5, MEMBER_LEFT, true},

    {"a late word of life", MEMBER_DEAD, GOSSIP_ALIVE, 3, 5, MEMBER_DEAD, false},
    {"a later one", MEMBER_DEAD, GOSSIP_ALIVE, 3, 4, MEMBER_DEAD, false},
    {"is back", MEMBER_DEAD, GOSSIP_ALIVE, 3, 6, MEMBER_ALIVE, true},
    {"has started again", MEMBER_DEAD, GOSSIP_ALIVE, 4, 0, MEMBER_ALIVE, true},
    {"the dead are not suspected", MEMBER_DEAD, GOSSIP_SUSPECT, 3, 6, MEMBER_DEAD, false},
    {"dead once more", MEMBER_DEAD, GOSSIP_DEAD, 3, 7, MEMBER_DEAD, false},
    {"dead, known", MEMBER_DEAD, GOSSIP_DEAD, 3, 5, MEMBER_DEAD, false},
    {"it had left", MEMBER_DEAD, GOSSIP_LEFT, 3, 5, MEMBER_LEFT, true},

    {"after it has left", MEMBER_LEFT, GOSSIP_ALIVE, 3, 5, MEMBER_LEFT, false},
    {"comes back", MEMBER_LEFT, GOSSIP_ALIVE, 4, 0, MEMBER_ALIVE, true},
    {"who left is not dead", MEMBER_LEFT, GOSSIP_DEAD, 3, 5, MEMBER_LEFT, false},
    {"who left is not suspect", MEMBER_LEFT, GOSSIP_SUSPECT, 3, 5, MEMBER_LEFT, false},
    {"who left has left", MEMBER_LEFT, GOSSIP_LEFT, 3, 5, MEMBER_LEFT, false},
};

static void make_known(struct heard *h, unsigned state)
{
    struct gossip_word word = heard_word(GOSSIP_ALIVE, 1, 3, 5);
    heard_join(h, 0);
    if (state == NONE) {
        return;
    }
    heard_say(h, 2, &word);
    if (state != MEMBER_ALIVE) {
        word.kind = (enum gossip_word_kind)state;
        heard_say(h, 2, &word);
    }
    cr_assert_eq(heard_state(h, 1), state);
}

Test(words, the_higher_incarnation_counts_then_the_stronger_word)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct heard h;
        heard_init(&h, NULL);
        make_known(&h, rows[i].known);
        const uint64_t news = membership_counters(h.m).words_new;
        const struct gossip_word word =
            heard_word((enum gossip_word_kind)rows[i].word, 1, rows[i].generation, rows[i].version);
        heard_say(&h, 2, &word);
        const struct member *const member = membership_find(h.m, heard_node(1));
        cr_expect_eq(member == NULL ? NONE : member->state, rows[i].then, "%s", rows[i].name);
        cr_expect_eq(membership_counters(h.m).words_new > news, rows[i].news, "%s", rows[i].name);
        heard_fini(&h);
    }
}

/* Of what comes by exchange a death counts as a suspicion; one can refute that. */
Test(words, by_exchange_nobody_is_killed)
{
    struct heard h;
    heard_init(&h, NULL);
    make_known(&h, MEMBER_ALIVE);
    struct gossip_word word = heard_word(GOSSIP_DEAD, 1, 3, 5);
    heard_say_whole(&h, 2, &word, 10);
    cr_expect_eq(heard_state(&h, 1), MEMBER_SUSPECT);

    word = heard_word(GOSSIP_DEAD, 1, 4, 2); /* a start that is not known here */
    word.address = heard_address(77);
    heard_say_whole(&h, 2, &word, 10);
    cr_expect_eq(heard_state(&h, 1), MEMBER_SUSPECT);
    const struct node_address there = heard_address(77);
    cr_expect(node_address_equal(&membership_find(h.m, heard_node(1))->address, &there));

    word =
        heard_word(GOSSIP_SUSPECT, 3, 1, 0); /* what it was before it was suspected is said, too */
    heard_say_whole(&h, 2, &word, 0);
    cr_expect_eq(heard_state(&h, 3), MEMBER_SUSPECT);

    word = heard_word(GOSSIP_LEFT, 3, 1, 0);
    heard_say_whole(&h, 2, &word, 0);
    cr_expect_eq(heard_state(&h, 3), MEMBER_LEFT);
    heard_fini(&h);
}

/* Who is dead already when one hears of it for the first time is so for as long as for the others.
 */
Test(words, the_dead_of_others_are_buried_here_for_the_rest_of_their_time)
{
    struct heard h;
    heard_init(&h, NULL);
    struct gossip_word word = heard_word(GOSSIP_DEAD, 1, 3, 5);
    heard_say_whole(&h, 2, &word, 24 * 3600);
    cr_expect_null(membership_find(h.m, heard_node(1)), "it is over for all");
    heard_say_whole(&h, 2, &word, 24 * 3600 - 200);
    cr_expect_eq(heard_state(&h, 1), MEMBER_DEAD);
    word.kind = GOSSIP_LEFT;
    word.node = heard_node(3);
    heard_say_whole(&h, 2, &word, 0);
    cr_expect_eq(heard_state(&h, 3), MEMBER_LEFT);
    cr_expect_eq(h.events_count, 0);
    word = heard_word(GOSSIP_DEAD, 1, 3, 6); /* and does not become alive by a later death */
    heard_say_whole(&h, 2, &word, 0);
    cr_expect_eq(heard_state(&h, 1), MEMBER_DEAD);
    size_t forgotten = 0;
    for (unsigned minute = 0; minute < 5; minute++) {
        heard_clear(&h);
        heard_wait(&h, 60000);
        forgotten += heard_events(&h, MEMBERSHIP_FORGOTTEN);
    }
    cr_expect_null(membership_find(h.m, heard_node(1)));
    cr_expect_eq(heard_state(&h, 3), MEMBER_LEFT);
    cr_expect_eq(forgotten, 1);
    heard_fini(&h);
}

Test(words, a_tombstone_stands_for_a_day)
{
    struct heard h;
    heard_init(&h, NULL);
    make_known(&h, MEMBER_DEAD);
    for (unsigned hour = 0; hour < 24; hour++) {
        for (unsigned minute = 0; minute < 59; minute++) {
            heard_clear(&h);
            heard_wait(&h, 60000);
        }
        const struct gossip_word word = heard_word(GOSSIP_ALIVE, 1, 3, 5);
        heard_say(&h, 2, &word);
        cr_assert_eq(heard_state(&h, 1), MEMBER_DEAD, "hour %u", hour);
        heard_clear(&h);
        heard_wait(&h, 60000);
    }
    heard_wait(&h, 61000);
    cr_expect_null(membership_find(h.m, heard_node(1)));
    heard_fini(&h);
}

/* ---- Suspicion */

static uint64_t time_to_death(unsigned members, unsigned confirmations)
{
    static struct heard h;
    heard_init(&h, NULL);
    heard_join(&h, members - 1);
    uint64_t waited = 0;
    for (unsigned i = 0; i <= confirmations; i++) {
        struct gossip_word word = heard_word(GOSSIP_SUSPECT, 1, 1, 0);
        word.accuser = heard_node(2 + i);
        heard_say(&h, 2, &word);
        heard_say(&h, 3, &word); /* the same accuser counts once */
    }
    while (heard_state(&h, 1) == MEMBER_SUSPECT && waited < 100000) {
        heard_clear(&h);
        heard_wait(&h, 100);
        waited += 100;
    }
    heard_fini(&h);
    return waited;
}

Test(words, a_suspect_has_the_less_time_the_more_suspect_it)
{
    cr_expect_eq(time_to_death(3, 0), 4000);
    cr_expect_eq(time_to_death(9, 0), 24000);
    cr_expect_eq(time_to_death(9, 1), 11400);
    cr_expect_eq(time_to_death(9, 2), 4000);
    cr_expect_eq(time_to_death(9, 5), 4000);
}

Test(words, whoever_lives_on_is_told_of_who_does_not)
{
    struct heard h;
    struct gossip_word told;
    heard_init(&h, NULL);
    heard_join(&h, 3);
    heard_wait(&h, 5000);
    heard_clear(&h);
    const struct gossip_word word = heard_word(GOSSIP_DEAD, 1, 1, 0);
    heard_say(&h, 2, &word);
    cr_expect_eq(heard_events(&h, MEMBERSHIP_DIED), 1);
    heard_wait(&h, 600);
    cr_assert(heard_told(&h, 1, &told));
    cr_expect_eq(told.kind, GOSSIP_DEAD);
    cr_expect(node_uuid_equal(told.accuser, heard_node(9)));
    heard_fini(&h);
}

/* ---- About this node */

Test(words, this_node_refutes)
{
    struct heard h;
    struct gossip_word told;
    heard_init(&h, NULL);
    heard_join(&h, 3);
    heard_wait(&h, 5000);
    for (unsigned kind = GOSSIP_SUSPECT; kind <= GOSSIP_LEFT; kind++) {
        heard_clear(&h);
        const uint32_t version = membership_self(h.m)->incarnation.version;
        const struct gossip_word word = heard_word((enum gossip_word_kind)kind, 0, 5, version + 7);
        heard_say(&h, 2, &word);
        cr_expect_eq(membership_self(h.m)->incarnation.version, version + 8);
        heard_wait(&h, 300);
        cr_assert(heard_told(&h, 0, &told));
        cr_expect_eq(told.kind, GOSSIP_ALIVE);
        cr_expect_eq(told.incarnation.version, version + 8);
    }
    cr_expect_eq(membership_counters(h.m).refutations, 3);
    cr_expect_gt(membership_counters(h.m).awareness, 0);

    /* Who accuses an earlier start, or what is refuted already, is told so, without a new version.
     */
    const uint32_t version = membership_self(h.m)->incarnation.version;
    struct gossip_word word = heard_word(GOSSIP_DEAD, 0, 4, 99);
    heard_wait(&h, 5000);
    heard_clear(&h);
    heard_say(&h, 2, &word);
    heard_wait(&h, 300);
    cr_expect(heard_told(&h, 0, &told));
    cr_expect_eq(membership_self(h.m)->incarnation.version, version);
    heard_fini(&h);
}

Test(words, it_says_when_it_is_not_the_only_one)
{
    struct heard h;
    heard_init(&h, NULL);
    heard_join(&h, 2);
    struct gossip_word word = heard_word(GOSSIP_SUSPECT, 0, 6, 0); /* a later start than this one */
    heard_say(&h, 2, &word);
    cr_expect_eq(heard_events(&h, MEMBERSHIP_CONFLICT), 1);
    word = heard_word(GOSSIP_ALIVE, 0, 6, 0);
    heard_say(&h, 2, &word);
    cr_expect_eq(heard_events(&h, MEMBERSHIP_CONFLICT), 2);
    word = heard_word(GOSSIP_ALIVE, 0, 5, 0); /* this one, at another address */
    word.address = heard_address(33);
    heard_say(&h, 2, &word);
    cr_expect_eq(heard_events(&h, MEMBERSHIP_CONFLICT), 3);
    word = heard_word(GOSSIP_DEAD, 0, 5, UINT32_MAX); /* no version is left */
    heard_say(&h, 2, &word);
    cr_expect_eq(heard_events(&h, MEMBERSHIP_CONFLICT), 4);
    word = heard_word(GOSSIP_ALIVE, 0, 4, 7); /* an earlier start was elsewhere: that is fine */
    heard_say(&h, 2, &word);
    word = heard_word(GOSSIP_ALIVE, 0, 5, 0);
    word.name = bytes_text("self");
    heard_say(&h, 2, &word);
    cr_expect_eq(heard_events(&h, MEMBERSHIP_CONFLICT), 4);
    cr_expect_eq(membership_self(h.m)->incarnation.version, 0);
    word = heard_word(GOSSIP_ALIVE, 0, 5, UINT32_MAX - 1);
    heard_say(&h, 2, &word); /* this one takes the last */
    cr_expect_eq(membership_self(h.m)->incarnation.version, UINT32_MAX);
    membership_set_data(h.m, h.now_ms, bytes_text("more"));
    cr_expect_eq(heard_events(&h, MEMBERSHIP_CONFLICT), 5);
    heard_fini(&h);
}

/* ---- What members say of themselves */

Test(words, a_higher_generation_replaces_the_address_at_once)
{
    struct heard h;
    heard_init(&h, NULL);
    heard_join(&h, 2);
    heard_clear(&h);
    struct gossip_word word = heard_word(GOSSIP_ALIVE, 1, 2, 0);
    word.address = heard_address(50);
    heard_say(&h, 2, &word);
    const struct node_address there = heard_address(50);
    cr_expect(node_address_equal(&membership_find(h.m, heard_node(1))->address, &there));
    cr_expect_eq(heard_events(&h, MEMBERSHIP_RESTARTED), 1);
    cr_expect_eq(heard_events(&h, MEMBERSHIP_UPDATED), 1);
    word = heard_word(GOSSIP_ALIVE, 1, 1, 9); /* the former one, late */
    heard_say(&h, 2, &word);
    cr_expect(node_address_equal(&membership_find(h.m, heard_node(1))->address, &there));
    heard_fini(&h);
}

Test(words, data_goes_to_all_and_comes_from_all)
{
    struct heard h;
    struct gossip_word told;
    heard_init(&h, NULL);
    heard_join(&h, 2);
    heard_wait(&h, 4000);
    heard_clear(&h);
    membership_set_data(h.m, h.now_ms, bytes_text("load 3"));
    membership_set_data(h.m, h.now_ms, bytes_text("load 3")); /* the same: nothing new */
    cr_expect_eq(membership_self(h.m)->incarnation.version, 1);
    heard_wait(&h, 300);
    cr_assert(heard_told(&h, 0, &told));
    cr_expect(bytes_equal(told.data, bytes_text("load 3")));
    struct gossip_word word = heard_word(GOSSIP_ALIVE, 1, 1, 1);
    word.data = bytes_text("load 4");
    heard_say(&h, 1, &word);
    cr_expect_eq(heard_events(&h, MEMBERSHIP_UPDATED), 1);
    const struct member *const member = membership_find(h.m, heard_node(1));
    cr_expect(bytes_equal(bytes_of(member->data, member->data_len), bytes_text("load 4")));
    heard_fini(&h);
}

Test(words, who_leaves_says_so_until_it_is_told)
{
    struct heard h;
    struct gossip_word told;
    heard_init(&h, NULL);
    heard_join(&h, 3);
    heard_wait(&h, 5000);
    heard_clear(&h);
    cr_expect_not(membership_leave_is_told(h.m));
    membership_leave(h.m, h.now_ms, false);
    cr_expect_not(membership_leave_is_told(h.m));
    struct gossip_word word = heard_word(GOSSIP_LEFT, 0, 5, 0); /* comes back to it */
    heard_say(&h, 1, &word);
    cr_expect_eq(membership_self(h.m)->incarnation.version, 0);
    heard_wait(&h, 3000);
    cr_expect(membership_leave_is_told(h.m));
    cr_assert(heard_told(&h, 0, &told));
    cr_expect_eq(told.kind, GOSSIP_LEFT);
    heard_fini(&h);
}

/* An operator is sure that a node is dead: all hear it, and nothing weaker changes it. */
Test(words, who_is_forgotten_is_gone)
{
    struct heard h;
    struct gossip_word told;
    heard_init(&h, NULL);
    make_known(&h, MEMBER_ALIVE);
    cr_expect_eq(membership_forget(h.m, h.now_ms, heard_node(1)), MEMBERSHIP_LIVES);
    cr_expect_eq(membership_forget(h.m, h.now_ms, heard_node(0)), MEMBERSHIP_LIVES, "itself");
    cr_expect_eq(membership_forget(h.m, h.now_ms, heard_node(7)), MEMBERSHIP_UNKNOWN);
    struct gossip_word word = heard_word(GOSSIP_SUSPECT, 1, 3, 5);
    heard_say(&h, 2, &word);
    cr_expect_eq(membership_forget(h.m, h.now_ms, heard_node(1)), MEMBERSHIP_LIVES);
    word.kind = GOSSIP_DEAD;
    heard_say(&h, 2, &word);
    heard_clear(&h);
    cr_expect_eq(membership_forget(h.m, h.now_ms, heard_node(1)), MEMBERSHIP_IS_GONE);
    cr_expect_eq(membership_forget(h.m, h.now_ms, heard_node(1)), MEMBERSHIP_IS_GONE);
    cr_expect_eq(heard_events(&h, MEMBERSHIP_LEFT), 1, "once");
    heard_say(&h, 2, &word);
    word.kind = GOSSIP_LEFT;
    heard_say(&h, 2, &word);
    cr_expect_eq(heard_state(&h, 1), MEMBER_LEFT);
    cr_expect(membership_find(h.m, heard_node(1))->gone);
    heard_join(&h, 3);
    heard_clear(&h);
    heard_wait(&h, 1000);
    heard_say(&h, 2, &word);
    cr_expect(membership_check(h.m));
    heard_fini(&h);

    heard_init(&h, NULL); /* another one hears it, of who lives for it or has left */
    make_known(&h, MEMBER_ALIVE);
    heard_join(&h, 3);
    word = heard_word(GOSSIP_LEFT, 1, 3, 5);
    heard_say(&h, 2, &word);
    cr_expect_not(membership_find(h.m, heard_node(1))->gone);
    word.gone = true;
    heard_say(&h, 2, &word);
    cr_expect(membership_find(h.m, heard_node(1))->gone);
    cr_expect_eq(heard_events(&h, MEMBERSHIP_LEFT), 2);
    heard_clear(&h);
    heard_wait(&h, 500);
    heard_ask(&h, 2, GOSSIP_PING, 1, 0); /* and tells it on */
    cr_assert(heard_told(&h, 1, &told));
    cr_expect(told.gone && told.kind == GOSSIP_LEFT);

    word = heard_word(GOSSIP_ALIVE, 1, 3, 6); /* it was not dead after all */
    heard_say(&h, 2, &word);
    cr_expect_eq(heard_state(&h, 1), MEMBER_ALIVE);
    cr_expect_not(membership_find(h.m, heard_node(1))->gone);
    word.kind = GOSSIP_DEAD;
    heard_say(&h, 2, &word);
    cr_expect_not(membership_find(h.m, heard_node(1))->gone);
    heard_fini(&h);
}

/* Called gone, it says that it lives; unless it has said so itself. */
Test(words, who_lives_is_not_gone)
{
    struct heard h;
    heard_init(&h, NULL);
    heard_join(&h, 2);
    struct gossip_word word = heard_word(GOSSIP_LEFT, 0, 5, 0);
    word.gone = true;
    heard_say(&h, 1, &word);
    cr_expect_eq(membership_self(h.m)->incarnation.version, 1);
    cr_expect_eq(membership_self(h.m)->state, MEMBER_ALIVE);
    membership_leave(h.m, h.now_ms, true);
    word.incarnation.version = 1;
    heard_say(&h, 1, &word);
    cr_expect_eq(membership_self(h.m)->incarnation.version, 1);
    cr_expect(membership_self(h.m)->gone);
    heard_fini(&h);
}

/* "Dead" and "suspect" do not say where somebody is: of a start that nobody has heard of, its
 * former address is not told as its own (found by the simulator: seed 32034 of the first version).
 */
Test(words, an_address_is_told_of_the_start_that_had_it)
{
    static struct heard h;
    struct gossip_word told;
    const struct node_address address = heard_address(3);
    heard_init(&h, NULL);
    make_known(&h, MEMBER_ALIVE);
    struct gossip_word word = heard_word(GOSSIP_DEAD, 1, 4, 0);
    heard_say(&h, 2, &word);
    heard_clear(&h);
    membership_contact(h.m, h.now_ms, &address);
    cr_assert(heard_told(&h, 1, &told));
    cr_expect_eq(told.kind, GOSSIP_DEAD);
    cr_expect_eq(told.incarnation.generation, 3);

    word = heard_word(GOSSIP_ALIVE, 1, 4, 0); /* late: it stays dead, but where it was is known */
    word.address = heard_address(44);
    heard_say(&h, 2, &word);
    cr_expect_eq(heard_state(&h, 1), MEMBER_DEAD);
    cr_expect_eq(heard_events(&h, MEMBERSHIP_UPDATED), 0);
    heard_clear(&h);
    membership_contact(h.m, h.now_ms, &address);
    cr_assert(heard_told(&h, 1, &told));
    cr_expect_eq(told.incarnation.generation, 4);
    cr_expect(node_address_equal(&told.address, &word.address));
    heard_fini(&h);
}

Test(words, what_a_suspect_says_of_itself_is_heard_though_it_comes_late)
{
    struct heard h;
    heard_init(&h, NULL);
    make_known(&h, MEMBER_ALIVE);
    struct gossip_word word = heard_word(GOSSIP_SUSPECT, 1, 3, 6);
    heard_say(&h, 2, &word);
    heard_clear(&h);
    word = heard_word(GOSSIP_ALIVE, 1, 3, 6);
    word.data = bytes_text("load 9");
    heard_say(&h, 2, &word);
    cr_expect_eq(heard_state(&h, 1), MEMBER_SUSPECT);
    cr_expect_eq(heard_events(&h, MEMBERSHIP_UPDATED), 1);
    const struct member *const member = membership_find(h.m, heard_node(1));
    cr_expect(bytes_equal(bytes_of(member->data, member->data_len), word.data));
    heard_fini(&h);
}

/* ---- Bounds */

Test(words, the_table_has_bounds)
{
    struct membership_conf conf = membership_lan();
    conf.members_max = 4;
    conf.tombstones_max = 2;
    struct heard h;
    heard_init(&h, &conf);
    heard_join(&h, 5);
    cr_expect_eq(membership_counters(h.m).living, 4);
    cr_expect_eq(membership_counters(h.m).members_refused, 2);
    cr_expect_null(membership_find(h.m, heard_node(4)));
    for (unsigned i = 1; i <= 3; i++) { /* they die, one after the other, the first is forgotten */
        const struct gossip_word word = heard_word(GOSSIP_DEAD, i, 1, 0);
        h.now_ms += 10;
        heard_say(&h, 9, &word);
    }
    cr_expect_null(membership_find(h.m, heard_node(1)));
    cr_expect_eq(membership_counters(h.m).tombstones, 2);
    cr_expect_eq(membership_counters(h.m).tombstones_evicted, 1);
    struct gossip_word word = heard_word(GOSSIP_DEAD, 8, 1, 0);
    heard_say_whole(&h, 9, &word, 1);
    cr_expect_null(membership_find(h.m, heard_node(8)), "no room for the dead of others");
    for (unsigned i = 4; i <= 6; i++) {
        word = heard_word(GOSSIP_ALIVE, i, 1, 0);
        heard_say(&h, 9, &word);
    }
    word = heard_word(GOSSIP_ALIVE, 2, 2, 0); /* back, but the table is full */
    heard_say(&h, 9, &word);
    cr_expect_eq(heard_state(&h, 2), MEMBER_DEAD);
    cr_expect_eq(membership_counters(h.m).living, 4);
    heard_fini(&h);
}

Test(words, what_cannot_be_read_is_counted)
{
    struct heard h;
    heard_init(&h, NULL);
    const struct membership_via via = {.address = heard_address(1)};
    cr_expect_eq(membership_receive(h.m, h.now_ms, &via, heard_node(1), bytes_text("?")),
                 GOSSIP_MALFORMED);
    cr_expect_eq(membership_counters(h.m).malformed, 1);
    heard_fini(&h);
}
