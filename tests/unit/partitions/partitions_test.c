/* SPDX-License-Identifier: Apache-2.0 */
/* Whole nodes on one thread: what one says of its sessions all have on disk, and another goes on.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "broker/route/local.h"
#include "broker/session/backlog.h"
#include "broker/session/kept.h"
#include "broker/shard/shard.h"
#include "broker/store/origins.h"
#include "broker/store/serial.h"
#include "tests/unit/partitions/partition_host.h"

#define ORIGIN 0x010000000101u /* a stream of dispatch */

/* libraft (0.15) loses 16 bytes when it is closed while it takes another server's snapshot. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) /* NOLINT(bugprone-reserved-identifier) */
{
    return "leak:libraft.so";
}

static struct kept *kept_of(unsigned node, unsigned i, const char *id)
{
    const struct session *const session = phost_session(node, i, id);
    cr_assert_not_null(session);
    cr_assert_not_null(session->kept);
    return session->kept;
}

Test(partitions, all_have_on_disk_what_the_leader_says)
{
    phost_begin();
    for (unsigned i = 0; i < PHOST_PARTITIONS; i++) {
        phost_opened(i, phost_serial(i, 1), phost_id(i, 0), "will");
        phost_subscribed(i, phost_serial(i, 1), "a/+");
        phost_queued(i, phost_serial(i, 1), 1, ORIGIN, 4);
        phost_queued(i, phost_serial(i, 1), 2, 0, 0);
    }
    phost_settle();
    for (unsigned i = 0; i < PHOST_PARTITIONS; i++) {
        for (unsigned node = 0; node < PHOST_NODES; node++) {
            const struct partition_hash hash = phost_hash(node, i);
            const struct partition_state state = phost_state(node, i);
            cr_expect_eq(hash.sessions, 1);
            cr_expect_eq(hash.filters, 1);
            cr_expect_eq(hash.deliveries, 2);
            cr_expect_eq(hash.origins, 1);
            cr_expect_eq(state.incarnation, 1);
            cr_expect_eq(state.changed, 7);
            cr_expect_gt(state.checkpointed, 0);
            cr_expect_eq(state.tail_bytes, 0, "the group keeps what is on disk");
            cr_expect_eq(state.leader, 100 + phost_leader(i));
        }
        const struct phost_partition *const led = &phost.of[phost_leader(i)][i];
        cr_expect_eq(led->origin, ORIGIN);
        cr_expect_eq(led->op, 4);
    }
    phost_end();
}

Test(partitions, another_one_goes_on_with_the_sessions)
{
    phost_begin();
    const char *const away = phost_id(1, 0), *const there = phost_id(1, 1);
    const unsigned former = phost_leader(1);
    phost_opened(1, phost_serial(1, 1), away, NULL);
    phost_subscribed(1, phost_serial(1, 1), "a/+");
    for (uint64_t n = 0; n < 5; n++) {
        phost_queued(1, phost_serial(1, 1), n, ORIGIN, n + 1);
    }
    phost_closed(1, phost_serial(1, 1), 2);
    phost_opened(1, phost_serial(1, 2), there, "will");
    phost_subscribed(1, phost_serial(1, 2), "b/#");
    phost_subscribed(1, phost_serial(1, 2), "$share/g/c");
    phost_queued(1, phost_serial(1, 2), 0, ORIGIN, 6);
    cr_assert_null(phost_session(former, 1, away), "nobody has made sessions of these");
    phost_crash(former);
    const unsigned now = phost_leader_but(1, former);
    struct session *session = phost_session(now, 1, away);
    cr_assert_not_null(session);
    cr_expect_eq(session->serial, phost_serial(1, 1));
    cr_expect_eq(session->expiry_s, 3600);
    cr_expect_eq(session->ends_ms, UINT64_MAX, "it was said to last");
    cr_expect_eq(session->filters.count, 1);
    cr_expect_eq(session->out.next_number, 5);
    cr_expect_eq(outqueue_waiting(&session->out), 0);
    cr_expect_eq(backlog_sent_end(session), 2, "what was sent is known");
    cr_expect_eq(backlog_waiting(session), 3, "the others wait");
    cr_expect_eq(kept_of(now, 1, away)->backlog->count, 3, "on disk");
    session = phost_session(now, 1, there);
    cr_assert_not_null(session);
    cr_expect_eq(session->filters.count, 2);
    cr_expect_null(session->conn);
    cr_expect_leq(session->ends_ms, fake_node_now_ms() + 3600000);
    cr_expect_gt(session->ends_ms, fake_node_now_ms() + 3500000);
    cr_assert_not_null(session->will);
    cr_expect_leq(session->will->due_ms, fake_node_now_ms() + 5000);
    cr_expect_eq(backlog_waiting(session) + 1, session->out.next_number, "it may have been sent");
    struct shard *const s = phost_enter(now, 1);
    cr_expect_eq(partition_highest(s, phost_numbers[1], ORIGIN), 6);
    cr_expect_eq(partition_highest(s, phost_numbers[1], ORIGIN + 1), 0);
    cr_expect_not_null(local_filter_by_name(s, bytes_text("a/+")));
    shard_self = NULL;
    phost_end();
}

static void cut_off(unsigned node, bool cut)
{
    for (unsigned other = 0; other < PHOST_NODES; other++) {
        if (other != node) {
            phost.cluster->stuck[node][other] = phost.cluster->stuck[other][node] = cut;
        }
    }
}

Test(partitions, who_is_deposed_has_no_sessions_and_no_clients)
{
    phost_begin();
    const char *const id = phost_id(0, 0);
    phost_opened(0, phost_serial(0, 1), id, NULL);
    phost_subscribed(0, phost_serial(0, 1), "a");
    phost_queued(0, phost_serial(0, 1), 0, 0, 0);
    const unsigned first = phost_leader(0);
    phost_crash(first);
    const unsigned now = phost_leader_but(0, first);
    phost_start(first);
    phost_settle();
    struct fake_node *const n = phost.cluster->nodes[now];
    struct fake_client *const c =
        fake_cluster_connect(phost.cluster, now, n->node->partition_shard[phost_numbers[0]], id,
                             TERMS(.session_expiry_s = 3600));
    cr_assert_eq(c->connack.reason, 0);
    cr_expect(c->connack.session_present, "it is the session of before");
    cut_off(now, true);
    const unsigned next = phost_leader_but(0, now);
    fake_cluster_advance(phost.cluster, 5000);
    cr_expect_eq(phost.of[now][0].led, 0, "it has ceased");
    cr_expect_null(phost_session(now, 0, id));
    const struct got *const got = client_take(c, MQTT_DISCONNECT);
    cr_assert_not_null(got);
    cr_expect_eq(got->reason, MQTT_REASON_USE_ANOTHER_SERVER);
    cr_expect_not_null(phost_session(next, 0, id));
    cr_expect_eq(phost_session(next, 0, id)->filters.count, 1);
    cut_off(now, false);
    phost_settle();
    phost_end();
}

/* All stand still there, and go on with the others; also what was applied in the same batch. */
Test(partitions, an_entry_that_cannot_be_applied_ends_its_partition_alone)
{
    phost_begin();
    for (unsigned i = 0; i < PHOST_PARTITIONS; i++) {
        phost_opened(i, phost_serial(i, 1), phost_id(i, 0), NULL);
    }
    phost_settle();
    phost_opened(0, phost_serial(0, 2), phost_id(0, 1), NULL);
    phost_opened(1, phost_serial(1, 2), phost_id(1, 1), NULL);
    phost_say_bytes(1, bytes_text("no entry"));
    phost_opened(2, phost_serial(2, 2), phost_id(2, 1), NULL);
    fake_cluster_advance(phost.cluster, 2000);
    unsigned failed = 0;
    for (unsigned node = 0; node < PHOST_NODES; node++) {
        if (phost_state(node, 1).role ==
            PARTITION_FAILED) { /* else it did not hear of it in time */
            cr_expect_eq(phost.of[node][1].led, 0);
            cr_expect_lt(phost_state(node, 1).checkpointed, phost_state(node, 1).applied);
            failed++;
        }
        for (unsigned i = 0; i < PHOST_PARTITIONS; i += 2) {
            cr_expect_eq(phost_hash(node, i).sessions, 2, "%u %u", node, i);
            cr_expect_neq(phost_state(node, i).role, PARTITION_FAILED);
        }
    }
    cr_expect_geq(failed, 2);
    phost_opened(0, phost_serial(0, 3), phost_id(0, 2), NULL);
    fake_cluster_advance(phost.cluster, 1000);
    cr_expect_eq(phost_hash(0, 0).sessions, 3);
    phost_end();
}

Test(partitions, what_is_not_written_at_a_crash_comes_again)
{
    phost_begin();
    for (unsigned round = 0; round < 6; round++) {
        const unsigned node = round % PHOST_NODES;
        for (unsigned i = 0; i < PHOST_PARTITIONS; i++) {
            const uint64_t serial = phost_serial(i, round + 1);
            phost_opened(i, serial, phost_id(i, round), NULL);
            phost_queued(i, serial, 0, ORIGIN, round + 1);
        }
        fake_cluster_advance(phost.cluster, round * 130);
        if (round == 4) {
            phost_close(node);
        } else {
            phost_crash(node);
        }
        for (unsigned i = 0; i < PHOST_PARTITIONS; i++) {
            (void)phost_leader_but(i, node);
            phost_queued(i, phost_serial(i, round + 1), 1, 0, 0);
        }
        phost_start(node);
    }
    phost_settle();
    for (unsigned i = 0; i < PHOST_PARTITIONS; i++) {
        cr_expect_eq(phost_hash(0, i).sessions, 6);
        cr_expect_eq(phost_hash(0, i).deliveries, 12);
        cr_expect_eq(phost_state(0, i).incarnation, 1);
    }
    phost_end();
}

/* The others' logs do not go back that far. */
Test(partitions, who_was_away_for_long_has_a_copy)
{
    phost_begin();
    phost_opened(0, phost_serial(0, 1), phost_id(0, 0), "will");
    phost_subscribed(0, phost_serial(0, 1), "a/+");
    phost_opened(1, phost_serial(1, 1), phost_id(1, 0), NULL);
    phost_settle();
    const unsigned away = (phost_leader(0) + 1) % PHOST_NODES;
    phost_crash(away);
    for (uint64_t n = 0; n < 2000; n++) {
        phost_queued(0, phost_serial(0, 1), n, ORIGIN, n + 1);
        if (n % 50 == 0) {
            fake_cluster_advance(phost.cluster, 600); /* on disk, so that a snapshot may be made */
        }
    }
    fake_cluster_advance(phost.cluster, 1000);
    phost_start(away);
    phost_settle();
    cr_expect_eq(phost_hash(away, 0).deliveries, 2000);
    cr_expect_eq(phost_hash(away, 0).filters, 1);
    cr_expect_eq(phost_hash(away, 1).sessions, 1);
    cr_expect_eq(fake_node_count(phost.cluster->nodes[away], METRIC_partitions_copied), 1);
    cr_expect_not(phost_state(away, 0).stands_still);
    phost_queued(0, phost_serial(0, 1), 2000, ORIGIN, 2001); /* and it goes on */
    phost_settle();
    cr_expect_eq(phost_hash(away, 0).deliveries, 2001);
    phost_end();
}

/* More than a part of its records, and more than may have been sent. */
Test(partitions, a_long_queue_stays_on_disk)
{
    phost_begin();
    const char *const ids[] = {phost_id(0, 0), phost_id(0, 1)};
    for (unsigned k = 0; k < 2; k++) {
        phost_opened(0, phost_serial(0, k + 1), ids[k], NULL);
    }
    for (uint64_t n = 0; n < 3000; n++) {
        phost_queued(0, phost_serial(0, 1), n, 0, 0);
    }
    phost_queued(0, phost_serial(0, 2), 0, 0, 0);
    const unsigned former = phost_leader(0);
    phost_crash(former);
    const unsigned now = phost_leader_but(0, former);
    const struct session *session = phost_session(now, 0, ids[0]);
    cr_assert_not_null(session);
    cr_expect_eq(session->out.next_number, 3000);
    cr_expect_gt(kept_of(now, 0, ids[0])->backlog->count, 1000);
    cr_expect_lt(kept_of(now, 0, ids[0])->backlog->count, 2000);
    cr_expect_eq(kept_of(now, 0, ids[0])->backlog->end, 3000);
    cr_assert_not_null(phost_session(now, 0, ids[1]));
    cr_expect_null(kept_of(now, 0, ids[1])->backlog);
    phost_end();
}

Test(partitions, what_is_forgotten_is_erased)
{
    phost_begin();
    phost_opened(0, phost_serial(0, 1), phost_id(0, 0), NULL);
    phost_opened(1, phost_serial(1, 1), phost_id(1, 0), NULL);
    phost_settle();
    const unsigned node = (phost_leader(0) + 1) % PHOST_NODES;
    struct shard *const s = phost_enter(node, 0);
    partition_note(s, phost_numbers[0], 9);
    partition_stop(s, phost_numbers[0]);
    shard_self = NULL;
    fake_cluster_advance(phost.cluster, 1000);
    const struct partition_conf again = {
        .incarnation = phost.incarnation, .self = 1, .changed = 10};
    cr_expect_eq(partition_serve(phost_enter(node, 0), phost_numbers[0], &again),
                 PARTITION_STOPPED);
    shard_self = NULL;
    cr_expect_eq(phost_hash(node, 0).sessions, 0);
    cr_expect_eq(phost_hash(node, 1).sessions, 1);
    cr_expect_eq(phost_state(node, 0).role, PARTITION_ABSENT);
    cr_expect_eq(phost_state(node, 0).changed, 9);
    cr_expect_eq(phost_state(node, 0).incarnation, 0);
    phost_end();
}
