/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two nodes that pass each other every frame at once, and a clock that is moved by hand. What can
 * go wrong between them is the simulator's (tests/sim/claims_suite.c).
 */
#include "cluster/claims/claims.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

struct node {
    struct claims *claims;
    struct claims_grant grant; /* the last one */
    uint64_t attached, kicked; /* serials of the last ones */
    unsigned attaches, kicks, wills;
    struct claims_key whose;
    char will[16];
};

static struct node nodes[2];
static uint64_t now_ms = 1000;
static uint64_t serials; /* of clients; they grow */

static void on_attached(void *context, uint64_t hash, uint64_t serial,
                        const struct claims_grant *grant)
{
    struct node *const n = context;
    (void)hash;
    n->grant = *grant;
    n->attached = serial;
    n->attaches++;
}

static void on_kicked(void *context, uint64_t hash, uint64_t serial, struct bytes id)
{
    struct node *const n = context;
    (void)hash;
    (void)id;
    n->kicked = serial;
    n->kicks++;
}

static void on_will(void *context, const struct claims_key *whose, struct bytes id,
                    struct bytes will)
{
    struct node *const n = context;
    (void)id;
    n->whose = *whose;
    snprintf(n->will, sizeof n->will, "%.*s", (int)will.len, (const char *)will.at);
    n->wills++;
}

static struct node_uuid uuid_of(unsigned node)
{
    struct node_uuid uuid;
    memset(uuid.bytes, 1 + (int)node, UUID_BYTES);
    return uuid;
}

static void begin(unsigned node, size_t holds_max)
{
    struct claims_conf conf = claims_conf_defaults();
    memset(conf.cluster.bytes, 9, UUID_BYTES);
    conf.self = uuid_of(node);
    conf.generation = 1;
    conf.holds_max = holds_max == 0 ? conf.holds_max : holds_max;
    conf.events = (struct claims_events){
        .attached = on_attached, .kicked = on_kicked, .will = on_will, .context = &nodes[node]};
    nodes[node] = (struct node){.claims = claims_create(&conf)};
    cr_assert_not_null(nodes[node].claims);
    claims_peer_begin(nodes[node].claims, 1 - node, uuid_of(1 - node), now_ms);
}

static bool pass(unsigned from)
{
    struct node_frame frame = {.lane = 0};
    if (!claims_next(nodes[from].claims, 1 - from, CLAIMS_BODY_MAX, now_ms, &frame.type,
                     &frame.body)) {
        return false;
    }
    cr_assert_eq(claims_received(nodes[1 - from].claims, from, &frame, now_ms), CLAIMS_OK);
    return true;
}

/* Until nothing is left to be said. */
static void settle(void)
{
    bool more = true;
    while (more) {
        more = false;
        for (unsigned i = 0; i < 2; i++) {
            while (claims_next_ms(nodes[i].claims) <= now_ms) {
                claims_turn(nodes[i].claims, now_ms);
            }
            claims_turn(nodes[i].claims, now_ms);
            more = pass(i) || more;
        }
        cr_assert(claims_check(nodes[0].claims) && claims_check(nodes[1].claims));
    }
}

static void join(void)
{
    for (unsigned i = 0; i < 2; i++) {
        claims_peer_live(nodes[i].claims, 1 - i, true, now_ms);
        claims_peer_up(nodes[i].claims, 1 - i, 1, now_ms);
    }
    settle();
}

static void part(void)
{
    for (unsigned i = 0; i < 2; i++) {
        claims_peer_down(nodes[i].claims, 1 - i, now_ms);
    }
}

static void setup(void)
{
    begin(0, 0);
    begin(1, 0);
    join();
}

static void teardown(void)
{
    claims_destroy(nodes[0].claims);
    claims_destroy(nodes[1].claims);
}

/* An id that node 0 owns, and one that node 1 does. */
static uint64_t hash_of(struct bytes id)
{
    struct cluster_uuid cluster;
    memset(cluster.bytes, 9, UUID_BYTES);
    return claims_hash(cluster, id);
}

static struct bytes id_of(unsigned owner)
{
    static char text[16];
    const unsigned want = owner == 0 ? CLAIMS_SELF : 1;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "c%u", i);
        if (claims_owner(nodes[0].claims, hash_of(bytes_text(text))) == want) {
            return bytes_text(text);
        }
    }
    cr_assert_fail("a node owns nothing");
    return bytes_text("");
}

static uint64_t come(unsigned node, struct bytes id, const char *will, uint64_t delay_ms)
{
    const struct claims_attach attach = {.hash = hash_of(id),
                                         .serial = ++serials,
                                         .id = id,
                                         .will = bytes_text(will),
                                         .delay_ms = delay_ms};
    cr_assert_eq(claims_attach(nodes[node].claims, &attach, now_ms), CLAIMS_OK);
    return attach.serial;
}

static void leave(unsigned node, struct bytes id, uint64_t serial, enum claims_end end)
{
    claims_detach(nodes[node].claims, hash_of(id), serial, end, now_ms);
    settle();
}

TestSuite(claims, .init = setup, .fini = teardown);

Test(claims, who_is_first_is_attached_at_once)
{
    for (unsigned owner = 0; owner < 2; owner++) {
        const uint64_t serial = come(0, id_of(owner), "", 0);
        settle();
        cr_expect_eq(nodes[0].attached, serial);
        cr_expect_eq(nodes[0].attaches, owner + 1);
        cr_expect_not(nodes[0].grant.degraded || nodes[0].grant.unsure);
        cr_expect(node_uuid_is_none(nodes[0].grant.former));
    }
}

Test(claims, the_second_waits_until_the_first_is_closed_and_hears_where_it_was)
{
    for (unsigned owner = 0; owner < 2; owner++) {
        const struct bytes id = id_of(owner);
        const uint64_t first = come(0, id, "", 0);
        settle();
        const uint64_t second = come(1, id, "", 0);
        settle();
        cr_expect_eq(nodes[0].kicked, first);
        cr_expect_neq(nodes[1].attached, second);
        leave(0, id, first, CLAIMS_LOST);
        cr_expect_eq(nodes[1].attached, second);
        cr_expect_not(nodes[1].grant.unsure);
        cr_expect(node_uuid_equal(nodes[1].grant.former, uuid_of(0)));
        leave(1, id, second, CLAIMS_CLEAN);
        cr_expect_eq(claims_figures(nodes[0].claims).holds, 0);
        cr_expect_eq(claims_figures(nodes[owner].claims).records, 0);
    }
}

Test(claims, who_does_not_close_is_waited_for_500_ms)
{
    const struct bytes id = id_of(1);
    (void)come(0, id, "", 0);
    settle();
    const uint64_t second = come(1, id, "", 0);
    settle();
    now_ms += 499;
    settle();
    cr_expect_neq(nodes[1].attached, second);
    now_ms += 1;
    settle();
    cr_expect_eq(nodes[1].attached, second);
    cr_expect(nodes[1].grant.unsure);
}

Test(claims, without_the_owner_for_2_s_it_is_answered_and_told_later)
{
    const struct bytes id = id_of(1);
    part();
    const uint64_t serial = come(0, id, "", 0);
    settle();
    now_ms += 1999;
    settle();
    cr_expect_eq(nodes[0].attaches, 0);
    now_ms += 1;
    settle();
    cr_expect_eq(nodes[0].attached, serial);
    cr_expect(nodes[0].grant.degraded);
    join();
    unsigned peer = 9;
    uint64_t known = 0;
    cr_assert(claims_holder(nodes[1].claims, hash_of(id), id, &peer, &known));
    cr_expect_eq(peer, 0);
    cr_expect_eq(known, serial);
}

/* Each side has a client of the id; the one that came later stays. */
Test(claims, after_a_cut_the_later_one_stays)
{
    const struct bytes id = id_of(1);
    part();
    for (unsigned i = 0; i < 2; i++) {
        claims_peer_live(nodes[i].claims, 1 - i, false, now_ms);
        claims_set_wall(nodes[i].claims, 5000 + i);
        (void)come(i, id, "", 0);
        settle();
    }
    cr_expect(nodes[0].attaches == 1 && nodes[1].attaches == 1);
    join();
    cr_expect_eq(nodes[0].kicks, 1);
    cr_expect_eq(nodes[1].kicks, 0);
    cr_expect_eq(claims_figures(nodes[1].claims).conflicts, 1);
}

Test(claims, a_will_is_published_after_its_delay_unless_the_client_is_back)
{
    const struct bytes id = id_of(1);
    for (unsigned back = 0; back < 2; back++) {
        const uint64_t serial = come(0, id, "w", 3000);
        settle();
        leave(0, id, serial, CLAIMS_LOST);
        now_ms += 2999;
        settle();
        cr_expect_eq(nodes[1].wills, 0);
        const uint64_t again = back == 1 ? come(1, id, "", 0) : 0;
        settle();
        now_ms += 1;
        settle();
        cr_expect_eq(nodes[1].wills, back == 0);
        if (back == 0) {
            cr_expect_str_eq(nodes[1].will, "w");
            cr_expect(nodes[1].whose.serial == serial && nodes[1].whose.generation == 1 &&
                      node_uuid_equal(nodes[1].whose.node, uuid_of(0)));
        } else {
            leave(1, id, again, CLAIMS_CLEAN);
        }
        nodes[1].wills = 0;
    }
    cr_expect_eq(claims_figures(nodes[0].claims).holds, 0);
    cr_expect_eq(claims_figures(nodes[1].claims).records, 0);
}

Test(claims, a_clean_end_and_one_that_was_never_attached_have_no_will)
{
    const struct bytes id = id_of(1);
    const uint64_t first = come(0, id, "w", 0);
    settle();
    leave(0, id, first, CLAIMS_CLEAN);
    const uint64_t second = come(0, id, "w", 0);
    leave(0, id, second, CLAIMS_LOST);
    cr_expect_eq(nodes[1].wills, 0);
    cr_expect_eq(claims_figures(nodes[1].claims).wills, 0);
}

/* Dead by membership's word alone is not enough, nor is silence. */
Test(claims, wills_of_a_node_that_is_dead_and_silent_for_10_s)
{
    const struct bytes id = id_of(1);
    (void)come(0, id, "w", 0);
    settle();
    claims_peer_down(nodes[1].claims, 0, now_ms);
    now_ms += 20000;
    claims_turn(nodes[1].claims, now_ms);
    cr_expect_eq(nodes[1].wills, 0);
    claims_peer_live(nodes[1].claims, 0, false, now_ms);
    while (claims_next_ms(nodes[1].claims) <= now_ms) {
        claims_turn(nodes[1].claims, now_ms);
    }
    cr_expect_eq(nodes[1].wills, 1);
    cr_expect_eq(claims_figures(nodes[1].claims).records, 0);
}

Test(claims, wills_of_a_start_that_is_over)
{
    const struct bytes id = id_of(1);
    (void)come(0, id, "w", 0);
    settle();
    claims_peer_down(nodes[1].claims, 0, now_ms);
    claims_peer_up(nodes[1].claims, 0, 2, now_ms);
    while (claims_next_ms(nodes[1].claims) <= now_ms) {
        claims_turn(nodes[1].claims, now_ms);
    }
    cr_expect_eq(nodes[1].wills, 1);
    cr_expect_eq(nodes[1].whose.generation, 1);
}

/* The new owner has wills that wait, as well as clients, from those who hold them. */
Test(claims, the_next_owner_is_told)
{
    const struct bytes id = id_of(1);
    const uint64_t serial = come(0, id, "w", 3000);
    settle();
    leave(0, id, serial, CLAIMS_LOST);
    part();
    claims_peer_live(nodes[0].claims, 1, false, now_ms);
    now_ms += 2999;
    while (claims_next_ms(nodes[0].claims) <= now_ms) {
        claims_turn(nodes[0].claims, now_ms);
    }
    cr_expect_eq(nodes[0].wills, 0);
    now_ms += 1;
    while (claims_next_ms(nodes[0].claims) <= now_ms) {
        claims_turn(nodes[0].claims, now_ms);
    }
    cr_expect_eq(nodes[0].wills, 1);
    cr_expect_eq(claims_figures(nodes[0].claims).holds, 0);
}

/* As the leader of a group is; whatever the hashes say, and whether it lives or not. */
Test(claims, who_is_appointed_is_the_owner_and_is_told)
{
    const struct bytes id = id_of(0);
    const uint64_t hash = hash_of(id);
    come(0, id, "w", 0);
    settle();
    claims_appoint(nodes[0].claims, node_claim_partition(hash), 1, now_ms);
    claims_appoint(nodes[1].claims, node_claim_partition(hash), CLAIMS_SELF, now_ms);
    settle();
    unsigned peer = 7;
    uint64_t serial;
    cr_expect_eq(claims_owner(nodes[0].claims, hash), 1);
    cr_assert(claims_holder(nodes[1].claims, hash, id, &peer, &serial));
    cr_expect_eq(peer, 0);

    part();
    claims_peer_live(nodes[0].claims, 1, false, now_ms);
    settle();
    cr_expect_eq(claims_owner(nodes[0].claims, hash), 1, "that it is dead does not change it");
    claims_appoint(nodes[0].claims, node_claim_partition(hash), CLAIMS_BY_HASH, now_ms);
    cr_expect_eq(claims_owner(nodes[0].claims, hash), CLAIMS_SELF);

    claims_appoint(nodes[0].claims, node_claim_partition(hash), 1, now_ms);
    claims_peer_forget(nodes[0].claims, 1, now_ms);
    cr_expect_eq(claims_owner(nodes[0].claims, hash), CLAIMS_SELF, "its number may be another's");
}

/* So that it does not connect a second client while it has not heard of the first. */
Test(claims, a_new_owner_waits_for_what_the_others_hold)
{
    const struct bytes id = id_of(1);
    part();
    claims_peer_live(nodes[0].claims, 1, false, now_ms);
    const uint64_t first = come(0, id, "", 0);
    now_ms += 2500;
    settle();
    cr_assert_eq(nodes[0].attached, first);
    claims_destroy(nodes[1].claims);
    begin(1, 0);
    claims_peer_live(nodes[1].claims, 0, true, now_ms);
    claims_peer_up(nodes[1].claims, 0, 1, now_ms);
    const uint64_t second = come(1, id, "", 0);
    claims_turn(nodes[1].claims, now_ms);
    claims_turn(nodes[1].claims, now_ms);
    cr_expect_eq(nodes[1].attaches, 0);
    claims_peer_live(nodes[0].claims, 1, true, now_ms);
    claims_peer_up(nodes[0].claims, 1, 1, now_ms);
    settle();
    cr_expect_eq(nodes[0].kicked, first);
    leave(0, id, first, CLAIMS_LOST);
    cr_expect_eq(nodes[1].attached, second);
    cr_expect_not(nodes[1].grant.unsure);
    cr_expect(node_uuid_equal(nodes[1].grant.former, uuid_of(0)));
}

/* A third node that only the owner sees, and that takes the id and gives it back. */
Test(claims, an_owner_that_was_none_in_between_is_told_anew)
{
    char text[16];
    struct bytes id;
    claims_peer_begin(nodes[1].claims, 5, uuid_of(6), now_ms);
    for (unsigned i = 0;; i++) {
        snprintf(text, sizeof text, "c%u", i);
        id = bytes_text(text);
        claims_peer_live(nodes[1].claims, 5, true, now_ms);
        const bool taken = claims_owner(nodes[1].claims, hash_of(id)) == 5;
        claims_peer_live(nodes[1].claims, 5, false, now_ms);
        if (taken && claims_owner(nodes[0].claims, hash_of(id)) == 1) {
            break;
        }
    }
    settle();
    const uint64_t serial = come(0, id, "", 0);
    settle();
    unsigned peer = 9;
    uint64_t known = 0;
    cr_assert(claims_holder(nodes[1].claims, hash_of(id), id, &peer, &known));
    claims_peer_live(nodes[1].claims, 5, true, now_ms);
    settle();
    cr_expect_not(claims_holder(nodes[1].claims, hash_of(id), id, &peer, &known));
    cr_expect_eq(claims_figures(nodes[1].claims).records, 0);
    claims_peer_live(nodes[1].claims, 5, false, now_ms);
    settle();
    cr_assert(claims_holder(nodes[1].claims, hash_of(id), id, &peer, &known));
    cr_expect(peer == 0 && known == serial);
}

Test(claims, at_the_bound_it_says_so)
{
    claims_destroy(nodes[0].claims);
    begin(0, 1);
    struct claims_attach attach = {.hash = 1, .serial = 1, .id = bytes_text("a")};
    cr_expect_eq(claims_attach(nodes[0].claims, &attach, now_ms), CLAIMS_OK);
    attach.serial = 2;
    cr_expect_eq(claims_attach(nodes[0].claims, &attach, now_ms), CLAIMS_FULL);
    cr_expect_eq(claims_figures(nodes[0].claims).refused, 1);
}

/* A million clients on a node: what claims.h and docs/cluster.md say that they take. */
Test(claims, bytes_of_a_client)
{
    const struct bytes id = bytes_text("sixteen-bytes-id");
    const struct claims_figures before = claims_figures(nodes[0].claims);
    const struct claims_attach attach = {.hash = hash_of(id_of(1)), .serial = ++serials, .id = id};
    cr_assert_eq(claims_attach(nodes[0].claims, &attach, now_ms), CLAIMS_OK);
    cr_expect_eq(claims_figures(nodes[0].claims).bytes - before.bytes, 64 + id.len);
    settle();
    cr_expect_leq(claims_figures(nodes[1].claims).bytes, 74 + id.len);
}
