/* SPDX-License-Identifier: Apache-2.0 */
/* How long a shard may sleep, how it ends; and what SIGUSR1 has it say. */
#include "broker/shard/loop.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/counters.h"
#include "broker/log/log.h"
#include "broker/message.h"
#include "broker/shard/shard.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/broker/fake_client.h"

#define MS 1000000ull

static uint64_t wait_of(struct fake_node *n, unsigned shard)
{
    struct shard *s = fake_node_enter(n, shard);
    return loop_work(s);
}

Test(loop, an_idle_shard_sleeps_until_its_next_timer)
{
    struct fake_node *n = fake_node_create(2, SETTINGS("limits.connect_timeout_s=3600"));
    fake_node_step(n, 0);
    fake_node_advance(n, 1);
    cr_expect_eq(wait_of(n, 0), 999 * MS, "retained messages are looked at every second");
    cr_expect(claim_is_free(&n->node->shards[0]->claim));
    const unsigned home = fake_node_home(n, "me");
    client_connect(n, 0, "me", TERMS(.keep_alive_s = 1));
    fake_node_advance(n, 1100);
    cr_expect_leq(wait_of(n, home), 400 * MS);
    fake_node_destroy(n);
}

Test(loop, a_shard_with_work_left_does_not_sleep)
{
    struct fake_node *n = fake_node_create(1, SETTINGS());
    struct shard *s = fake_node_enter(n, 0);
    loop_work(s);
    fake_node_enter(n, 0);
    shard_due(s, message_create(bytes_text("t"), bytes_of(NULL, 0), bytes_of(NULL, 0)), 0, 0, 0);
    cr_expect_gt(loop_work(s), 0); /* routed in this turn */
    cr_expect_null(s->due_first);
    fake_node_destroy(n);
}

/* What has to be looked at again keeps the sleep short. */
Test(loop, a_stalled_publisher_is_looked_at_soon)
{
    struct fake_node *n = fake_node_create(1, SETTINGS("limits.message_memory_max=1048576"));
    struct fake_client *c = client_connect(n, 0, "me", TERMS());
    uint8_t *payload = calloc(1, 1048576);
    struct message *large =
        message_create(bytes_text("t"), bytes_of(NULL, 0), bytes_of(payload, 1048576));
    fake_node_step(n, 0);
    client_say(c, "t", "1", 1);
    fake_node_settle(n);
    cr_expect_leq(wait_of(n, 0), 10 * MS);
    message_put(large);
    free(payload);
    fake_node_destroy(n);
}

/* ---- the end */

static struct fake_node *node_ending;

/* A clock that moves whenever it is looked at, and a signal after a while. */
static uint64_t hurrying_clock(void)
{
    static uint64_t now_us = 1000000000;
    now_us += 10000;
    if (now_us > 1000500000) {
        atomic_store(&node_ending->node->ending, true);
    }
    return now_us;
}

Test(loop, runs_until_it_is_told_to_end_and_all_have_gone)
{
    struct fake_node *n = node_ending = fake_node_create(1, SETTINGS());
    struct fake_client *c = client_connect(n, 0, "me", TERMS());
    struct fake_client *stuck = client_connect(n, 0, "stuck", TERMS());
    client_set_window(stuck, 0);
    n->node->clock_us = hurrying_clock;
    loop_run(n->node->shards[0]);
    cr_expect(loop_is_finished(n->node->shards[0]));
    cr_expect_eq(atomic_load(&n->node->running), 0);
    cr_expect(io_fake_client_sees_close(n->net, c->fd));
    cr_expect(io_fake_client_sees_close(n->net, stuck->fd));
    fake_node_destroy(n);
}

/* ---- counters */

static bool has_line(const char *log, const char *name, unsigned long long value)
{
    char line[96];
    snprintf(line, sizeof line, "msg=counter name=%s value=%llu\n", name, value);
    return strstr(log, line) != NULL;
}

Test(loop, every_counter_can_be_written_to_the_log)
{
    struct fake_node *n = fake_node_create(2, SETTINGS());
    struct fake_client *c = client_connect(n, 0, "me", TERMS(.session_expiry_s = 60));
    client_subscribe(c, "t", 1);
    client_send_publish(c, SAY(.topic = "t", .payload = "1", .qos = 1, .retain = true));
    fake_node_settle(n);
    client_connect(n, 1, "me", TERMS());

    int ends[2];
    static char log[65536];
    cr_assert_eq(pipe(ends), 0);
    const struct log_conf conf = {
        .fd = ends[1], .level = LOG_INFO, .format = LOG_LOGFMT, .ring_records = 1024};
    cr_assert(log_start(&conf));
    counters_log(n->node);
    log_stop();
    close(ends[1]);
    size_t len = 0;
    for (ssize_t got; (got = read(ends[0], log + len, sizeof log - 1 - len)) > 0;) {
        len += (size_t)got;
    }
    for (unsigned i = 0; i < METRICS; i++) {
        const enum metric metric = (enum metric)i;
        cr_expect(has_line(log, metrics_name(metric), fake_node_count(n, metric)), "%s",
                  metrics_name(metric));
    }
    cr_expect(has_line(log, "clients", 1));
    cr_expect(has_line(log, "sessions", 1));
    cr_expect(has_line(log, "retained", 1));
    cr_expect(has_line(log, "filters", 1));
    cr_expect(has_line(log, "message_memory_bytes", message_memory()));
    cr_expect(has_line(log, "io_accept_failed", 0));
    close(ends[0]);
    fake_node_destroy(n);
}
