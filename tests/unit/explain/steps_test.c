/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/explain/steps.h"

#include <criterion/criterion.h>
#include <string.h>

#include "broker/conn/conn.h"
#include "broker/explain/facts.h"

#define OF_GROUP 77u

/* p publishes at QoS 1, and c, which subscribes to t, would get it at once. */
static struct explain_facts all_is_well(void)
{
    static const struct access_reason allowed = {.allowed = true, .by = ACCESS_BY_NOTHING};
    return (struct explain_facts){
        .message = {.qos = 1},
        .publisher = {.asked = true,
                      .client_id = "p",
                      .session = true,
                      .connected = true,
                      .access = allowed,
                      .packet_bytes = 10,
                      .packet_bytes_max = 100,
                      .receive_maximum = 5},
        .client = {.asked = true,
                   .client_id = "c",
                   .session = true,
                   .connected = true,
                   .subscriptions = 3,
                   .matching = 1,
                   .filters_kept = 1,
                   .filters = {{.text = "t", .qos = 1}},
                   .plain = true,
                   .plain_qos = 1,
                   .ends_in_ms = UINT64_MAX,
                   .access = allowed,
                   .packet_bytes = 10,
                   .packet_bytes_max = 100,
                   .window = 5,
                   .output_bytes_max = 1000,
                   .queued_max = 10,
                   .queued_bytes_max = 1000,
                   .queue_full = CONFIG_DROP_NEWEST},
    };
}

/* … by a group alone, of three, that chooses it next. */
static void only_shared(struct explain_facts *f)
{
    f->client.plain = false;
    f->client.filters[0] = (struct explain_filter){
        .text = "$share/g/t", .qos = 1, .shared = true, .group = OF_GROUP, .subscription = 5};
    f->groups_kept = 1;
    f->groups[0] = (struct explain_group){
        .group = OF_GROUP, .found = true, .members = 3, .online = 3, .next = 5};
    f->strategy = CONFIG_HASH_TOPIC;
}

static void no_match(struct explain_facts *f, enum near_miss why)
{
    f->client.plain = false;
    f->client.matching = 0;
    f->client.filters_kept = 0;
    f->client.near_kept = why == NEAR_MISS_NONE ? 0 : 1;
    f->client.nearly[0] = (struct explain_near){.text = "x", .why = why};
}

static void be_away(struct explain_facts *f)
{
    f->client.connected = false;
}

/* ---- what is said */

struct said {
    unsigned times[EXPLAIN_CODES];
    char last[EXPLAIN_CODES][EXPLAIN_SENTENCE_MAX];
};

static void on_step(void *context, const struct explain_step *step)
{
    struct said *const said = context;
    cr_assert_lt(step->code, EXPLAIN_CODES);
    cr_expect_eq(step->about, explain_code_about(step->code));
    cr_expect_eq(step->effect, explain_code_effect(step->code));
    cr_expect_gt(strlen(step->sentence), 0);
    cr_expect_eq(step->sentence[strlen(step->sentence) - 1], '.', "%s", step->sentence);
    said->times[step->code]++;
    strcpy(said->last[step->code], step->sentence);
}

static struct said said;
static bool ever[EXPLAIN_CODES];

static void expect(const struct explain_facts *f, enum explain_effect effect,
                   enum explain_code reason, enum explain_code also)
{
    memset(&said, 0, sizeof said);
    const struct explain_verdict v = explain_steps(f, on_step, &said);
    const char *const name = explain_code_text(also);
    cr_expect_eq(v.effect, effect, "%s: %d", name, v.effect);
    cr_expect_eq(v.reason, reason, "%s: %s", name,
                 v.reason == EXPLAIN_CODES ? "none" : explain_code_text(v.reason));
    cr_expect_gt(said.times[also], 0, "%s", name);
    for (unsigned i = 0; i < EXPLAIN_CODES; i++) {
        ever[i] = ever[i] || said.times[i] > 0;
    }
}

/* The code is said, and decides by what it is; or does not count. */
static void decides(const struct explain_facts *f, enum explain_code code)
{
    const enum explain_effect effect = explain_code_effect(code);
    expect(f, effect, effect == EXPLAIN_EFFECT_NONE ? EXPLAIN_CODES : code, code);
}

/* A fact of the facts is changed for one sentence. */
#define WITH(change, check)                                                                        \
    do {                                                                                           \
        struct explain_facts f = all_is_well();                                                    \
        change;                                                                                    \
        check;                                                                                     \
    } while (0)

static void the_publisher(void)
{
    WITH(f.publisher.session = f.publisher.connected = false,
         decides(&f, EXPLAIN_PUBLISHER_UNKNOWN));
    WITH(f.publisher.connected = false, decides(&f, EXPLAIN_PUBLISHER_AWAY));
    WITH((void)f, decides(&f, EXPLAIN_PUBLISHER_CONNECTED));
    WITH(f.publisher.closing = true, decides(&f, EXPLAIN_PUBLISHER_CLOSING));
    WITH(f.publisher.guard.user_line = 3, decides(&f, EXPLAIN_PUBLISHER_BANNED));
    WITH((f.publisher.connected = false, f.publisher.guard.flaps = true),
         expect(&f, EXPLAIN_EFFECT_LATER, EXPLAIN_PUBLISHER_AWAY, EXPLAIN_PUBLISHER_FLAPPING));
    WITH(f.publisher.topic_reserved = true, decides(&f, EXPLAIN_TOPIC_RESERVED));
    WITH(f.publisher.topic_levels = true, decides(&f, EXPLAIN_TOPIC_LEVELS));
    WITH(f.publisher.access.allowed = false, decides(&f, EXPLAIN_PUBLISH_DENIED));
    WITH((void)f, decides(&f, EXPLAIN_PUBLISH_ALLOWED));
    WITH(f.publisher.packet_bytes = 101, decides(&f, EXPLAIN_PUBLISH_TOO_LARGE));
    WITH(f.publisher.unreleased = 5, decides(&f, EXPLAIN_PUBLISH_QUOTA));
    WITH(f.publisher.rate_wait_ms = 5, decides(&f, EXPLAIN_PUBLISHER_RATE));
    WITH(f.publisher.memory_full = true, decides(&f, EXPLAIN_MEMORY_FULL));
    WITH((f.publisher.memory_full = true, f.message.qos = 0),
         decides(&f, EXPLAIN_MEMORY_FULL_QOS0));
    WITH(f.publisher.disk_refuses = true, decides(&f, EXPLAIN_DISK_REFUSES));
    WITH((f.publisher.retained_full = true, f.message.retain = true),
         decides(&f, EXPLAIN_RETAINED_FULL));
}

static void why_it_waits(void)
{
    static const struct {
        enum conn_blocked why;
        enum explain_code code;
    } rows[] = {
        {BLOCKED_SUBSCRIBE, EXPLAIN_PUBLISHER_WAITS_SUBSCRIBE},
        {BLOCKED_RETAIN, EXPLAIN_PUBLISHER_WAITS_RETAIN},
        {BLOCKED_ROOM, EXPLAIN_PUBLISHER_WAITS_ROOM},
        {BLOCKED_OUTPUT, EXPLAIN_PUBLISHER_WAITS_OUTPUT},
        {BLOCKED_TURN, EXPLAIN_PUBLISHER_WAITS_TURN},
        {BLOCKED_MOVE, EXPLAIN_PUBLISHER_WAITS_LOGIN},
        {BLOCKED_LOGIN, EXPLAIN_PUBLISHER_WAITS_LOGIN},
        {BLOCKED_RATE, EXPLAIN_PUBLISHER_RATE},
        {BLOCKED_KEEP, EXPLAIN_PUBLISHER_WAITS_KEEP},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        WITH(f.publisher.blocked = (uint16_t)rows[i].why, decides(&f, rows[i].code));
    }
}

static void whether_it_is_there(void)
{
    WITH(f.client.session = f.client.connected = false, decides(&f, EXPLAIN_NO_SESSION));
    WITH((void)f, decides(&f, EXPLAIN_CONNECTED));
    WITH(f.client.closing = true, decides(&f, EXPLAIN_CLOSING));
    WITH(be_away(&f), decides(&f, EXPLAIN_AWAY));
    WITH((be_away(&f), f.client.ends_in_ms = 5000),
         expect(&f, EXPLAIN_EFFECT_LATER, EXPLAIN_AWAY, EXPLAIN_SESSION_ENDS));
    WITH(f.client.guard.client_line = 1, decides(&f, EXPLAIN_BANNED_CLIENT));
    WITH(f.client.guard.user_line = 1, decides(&f, EXPLAIN_BANNED_USER));
    WITH(f.client.guard.address_line = 1, decides(&f, EXPLAIN_BANNED_ADDRESS));
    WITH((be_away(&f), f.client.guard.flaps = true),
         expect(&f, EXPLAIN_EFFECT_LATER, EXPLAIN_AWAY, EXPLAIN_FLAPPING));
}

static void what_it_subscribes_to(void)
{
    static const enum explain_code codes[] = {
        [NEAR_MISS_CASE] = EXPLAIN_NEAR_CASE,     [NEAR_MISS_DOLLAR] = EXPLAIN_NEAR_DOLLAR,
        [NEAR_MISS_SLASH] = EXPLAIN_NEAR_SLASH,   [NEAR_MISS_BLANK] = EXPLAIN_NEAR_BLANK,
        [NEAR_MISS_PLUS] = EXPLAIN_NEAR_PLUS,     [NEAR_MISS_SHORTER] = EXPLAIN_NEAR_SHORTER,
        [NEAR_MISS_LONGER] = EXPLAIN_NEAR_LONGER, [NEAR_MISS_LEVEL] = EXPLAIN_NEAR_LEVEL,
    };
    WITH(no_match(&f, NEAR_MISS_NONE), decides(&f, EXPLAIN_NO_FILTER));
    for (unsigned i = NEAR_MISS_CASE; i < sizeof codes / sizeof codes[0]; i++) {
        WITH(no_match(&f, (enum near_miss)i),
             expect(&f, EXPLAIN_EFFECT_NO, EXPLAIN_NO_FILTER, codes[i]));
    }
    WITH((void)f, decides(&f, EXPLAIN_FILTER));
    WITH((f.client.plain = false, f.client.plain_local = true), decides(&f, EXPLAIN_NO_LOCAL));
    WITH(f.client.plain_local = true, decides(&f, EXPLAIN_FILTER)); /* another one takes it */
}

static void groups(void)
{
    const enum explain_code not_picked = EXPLAIN_SHARED_NOT_PICKED, open = EXPLAIN_SHARED_OPEN;
    WITH(only_shared(&f), decides(&f, EXPLAIN_SHARED_NEXT));
    WITH((only_shared(&f), f.groups[0].next = 6),
         expect(&f, EXPLAIN_EFFECT_NO, not_picked, EXPLAIN_SHARED_OTHER));
    WITH((only_shared(&f), f.groups[0].next = 6, f.client.plain = true),
         decides(&f, EXPLAIN_SHARED_OTHER)); /* it has a subscription of its own */
    WITH((only_shared(&f), be_away(&f)),
         expect(&f, EXPLAIN_EFFECT_NO, not_picked, EXPLAIN_SHARED_AWAY));
    WITH((only_shared(&f), be_away(&f), f.groups[0].online = 0),
         expect(&f, EXPLAIN_EFFECT_LATER, EXPLAIN_AWAY, EXPLAIN_SHARED_NEXT));
    WITH((only_shared(&f), f.strategy = CONFIG_RANDOM),
         expect(&f, EXPLAIN_EFFECT_MAYBE, open, EXPLAIN_SHARED_TURN));
    WITH((only_shared(&f), f.strategy = CONFIG_RANDOM, f.groups[0].online = 1),
         decides(&f, EXPLAIN_SHARED_NEXT)); /* there is but one to be chosen */
    WITH((only_shared(&f), f.groups_kept = 0),
         expect(&f, EXPLAIN_EFFECT_MAYBE, open, EXPLAIN_SHARED_JOINING));
    static const enum config_strategy by_publisher[] = {CONFIG_ROUND_ROBIN, CONFIG_STICKY,
                                                        CONFIG_HASH_CLIENT};
    for (unsigned i = 0; i < sizeof by_publisher / sizeof by_publisher[0]; i++) {
        WITH((only_shared(&f), f.strategy = by_publisher[i]), decides(&f, EXPLAIN_SHARED_NEXT));
        WITH((only_shared(&f), f.strategy = by_publisher[i], f.publisher.asked = false),
             expect(&f, EXPLAIN_EFFECT_MAYBE, open, EXPLAIN_SHARED_TURN));
    }
}

static void what_it_may_see(void)
{
    WITH((f.client.rules = true, f.client.access.by = ACCESS_BY_DEFAULT),
         decides(&f, EXPLAIN_VISIBLE));
    WITH((f.client.rules = true, f.client.access.allowed = false), decides(&f, EXPLAIN_HIDDEN));
    WITH((f.client.rules = true, be_away(&f)),
         expect(&f, EXPLAIN_EFFECT_LATER, EXPLAIN_AWAY, EXPLAIN_RULES_LATER));
}

static void in_what_form(void)
{
    WITH((void)f, decides(&f, EXPLAIN_QOS));
    WITH(f.message.qos = 2, decides(&f, EXPLAIN_QOS_LOWERED));
    WITH(f.message.retain = true, decides(&f, EXPLAIN_RETAIN_CLEARED));
    WITH((f.message.retain = true, f.client.plain_retain = true), decides(&f, EXPLAIN_RETAIN_KEPT));
    WITH(f.client.packet_bytes = 101, decides(&f, EXPLAIN_TOO_LARGE));
}

static void whether_there_is_room(void)
{
    WITH((f.message.qos = 0, be_away(&f)),
         expect(&f, EXPLAIN_EFFECT_NO, EXPLAIN_QOS0_AWAY, EXPLAIN_AWAY));
    WITH((f.message.qos = 0, f.client.output_bytes = 1000), decides(&f, EXPLAIN_QOS0_OUTPUT_FULL));
    WITH(f.client.output_bytes = 1000, decides(&f, EXPLAIN_OUTPUT_FULL));
    WITH(f.client.in_flight = 5, decides(&f, EXPLAIN_WINDOW_CLOSED));
    WITH((be_away(&f), f.client.queued = 9),
         expect(&f, EXPLAIN_EFFECT_LATER, EXPLAIN_AWAY, EXPLAIN_QUEUE));
    WITH((be_away(&f), f.client.queued = 10),
         expect(&f, EXPLAIN_EFFECT_NO, EXPLAIN_QUEUE_FULL_NEWEST, EXPLAIN_QUEUE));
    WITH((be_away(&f), f.client.queued_bytes = 1000),
         expect(&f, EXPLAIN_EFFECT_NO, EXPLAIN_QUEUE_FULL_NEWEST, EXPLAIN_QUEUE));
    WITH((be_away(&f), f.client.queued = 10, f.client.queue_full = CONFIG_DROP_OLDEST),
         expect(&f, EXPLAIN_EFFECT_LATER, EXPLAIN_AWAY, EXPLAIN_QUEUE_FULL_OLDEST));
    WITH((f.client.in_flight = 5, f.client.queued = 10, f.client.queue_full = CONFIG_DISCONNECT),
         decides(&f, EXPLAIN_QUEUE_FULL_DISCONNECT));
    WITH(f.client.waiting = 2, decides(&f, EXPLAIN_WAITING));
    WITH((f.client.waiting = 2, f.client.expired = 1), decides(&f, EXPLAIN_WAITING_EXPIRED));
    WITH((f.client.drops_kept = 1,
          f.client.drops[0] = (struct explain_drops){.reason = "drop_expired", .count = 1}),
         decides(&f, EXPLAIN_DROPPED));
}

Test(steps, each_is_said_when_it_is_so_and_decides_by_its_effect)
{
    the_publisher();
    why_it_waits();
    whether_it_is_there();
    what_it_subscribes_to();
    groups();
    what_it_may_see();
    in_what_form();
    whether_there_is_room();
    for (unsigned i = 0; i < EXPLAIN_CODES; i++) {
        cr_expect(ever[i], "%s is never said", explain_code_text((enum explain_code)i));
    }
}

/* Of several that say no the first is the reason; a no comes before what only waits. */
Test(steps, the_gravest_is_the_verdict)
{
    struct explain_facts f = all_is_well();
    f.publisher.rate_wait_ms = 10;
    f.client.rules = true;
    f.client.access.allowed = false;
    f.client.packet_bytes = 101;
    expect(&f, EXPLAIN_EFFECT_NO, EXPLAIN_HIDDEN, EXPLAIN_TOO_LARGE);
    f.publisher.topic_reserved = true;
    expect(&f, EXPLAIN_EFFECT_NO, EXPLAIN_TOPIC_RESERVED, EXPLAIN_HIDDEN);
}

/* Who is not asked about is not spoken of. */
Test(steps, one_alone)
{
    struct explain_facts f = all_is_well();
    f.client.asked = false;
    f.client.session = false;
    expect(&f, EXPLAIN_EFFECT_NONE, EXPLAIN_CODES, EXPLAIN_PUBLISHER_CONNECTED);
    f = all_is_well();
    f.publisher.asked = false;
    f.publisher.topic_reserved = true;
    expect(&f, EXPLAIN_EFFECT_NONE, EXPLAIN_CODES, EXPLAIN_CONNECTED);
    cr_expect_eq(said.times[EXPLAIN_TOPIC_RESERVED], 0);
}

/* The longest texts are cut, not written beyond. */
Test(steps, long_texts)
{
    struct explain_facts f = all_is_well();
    only_shared(&f);
    f.groups[0].next = 6;
    memset(f.client.filters[0].text, 'f', EXPLAIN_TEXT - 1);
    memset(f.groups[0].next_client, 'm', EXPLAIN_TEXT - 1);
    memset(f.client.client_id, 'c', EXPLAIN_TEXT - 1);
    f.client.rules = true;
    f.client.access = (struct access_reason){.by = ACCESS_BY_FILE_RULE, .number = 1};
    memset(f.client.access.filter, 'r', ACCESS_FILTER_TEXT - 1);
    expect(&f, EXPLAIN_EFFECT_NO, EXPLAIN_SHARED_NOT_PICKED, EXPLAIN_SHARED_OTHER);
}
