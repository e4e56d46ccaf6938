/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint for which there is no memory, and later there is. */
#include <criterion/criterion.h>
#include <stdint.h>

#include "broker/config/config.h"
#include "broker/shard/shard.h"
#include "broker/store/capture.h"
#include "tests/unit/broker/fake_client.h"
#include "tests/unit/broker/fake_disk.h"
#include "tests/unit/route/fault.h"

#define LASTING     TERMS(.session_expiry_s = UINT32_MAX)
#define MESSAGES    8u
#define MESSAGE_LEN 20000u /* of which a chunk of a batch holds three */
#define CHUNK_BYTES 60000u

static struct fake_disk disk;
static struct fake_node *n;

static void open_disk(void)
{
    n = fake_disk_again(&disk, 1,
                        SETTINGS("limits.session_expiry_max_s=4294967295",
                                 "limits.packet_bytes_max=65536", "data.checkpoint_interval_s=5",
                                 "data.journal_segment_bytes=1MiB"));
}

static struct capture *capture(void)
{
    return n->node->shards[0]->capture;
}

static void queue_messages(void)
{
    struct fake_client *c = client_connect(n, 0, "me", LASTING);
    client_subscribe(c, "t", 1);
    client_reset(c);
    c = client_connect(n, 0, "publisher", TERMS(.clean_start = true));
    for (unsigned i = 0; i < MESSAGES; i++) {
        client_send_publish(
            c, SAY(.topic = "t", .payload = "x", .payload_len = MESSAGE_LEN, .qos = 1));
        cr_assert_not_null(client_take(c, MQTT_PUBACK));
    }
}

/* A second copy of a body, or one less, fake_disk_check() would find. */
static void expect_all_is_there(void)
{
    cr_expect_eq(n->node->deliveries_on_disk, MESSAGES);
    fake_disk_crash(&disk, NULL, NULL);
    open_disk();
    struct fake_client *const c = client_connect(n, 0, "me", LASTING);
    cr_expect_eq(client_heard_count(c), MESSAGES);
    fake_disk_end(&disk);
}

/* It was submitted with what was missing in it, refused, and submitted again as it was, for ever.
 */
Test(starved, a_checkpoint_goes_on_when_there_is_memory_again)
{
    fake_disk_begin(&disk);
    open_disk();
    queue_messages();
    fake_node_advance(n, 100);
    cr_assert_eq(capture()->state, CAPTURE_IDLE);
    capture()->due_ms = 0;
    fake_node_step(n, 0);
    cr_assert_eq(capture()->state, CAPTURE_COLLECTING);
    fault_above(CHUNK_BYTES);
    fake_node_step(n, 0);
    cr_expect_eq(capture()->state, CAPTURE_STARVED);
    cr_expect_eq(fake_node_count(n, METRIC_checkpoint_failures), 1);
    fake_node_advance(n, 3000);
    cr_expect_eq(capture()->state, CAPTURE_STARVED);
    cr_expect_eq(n->node->deliveries_on_disk, 0);
    fault_above(SIZE_MAX);
    fake_node_advance(n, 3000);
    cr_expect_eq(capture()->state, CAPTURE_IDLE);
    expect_all_is_there();
}

Test(starved, nor_does_one_begin_without)
{
    fake_disk_begin(&disk);
    open_disk();
    queue_messages();
    fault_above(CHUNK_BYTES);
    fake_node_advance(n, 6000);
    cr_expect_eq(capture()->state, CAPTURE_IDLE);
    cr_expect_gt(fake_node_count(n, METRIC_checkpoint_failures), 0);
    fault_above(SIZE_MAX);
    fake_node_advance(n, 3000);
    expect_all_is_there();
}

/* The process ends before there is memory: the next one has all of it from the journal. */
Test(starved, the_process_may_end_meanwhile)
{
    fake_disk_begin(&disk);
    open_disk();
    queue_messages();
    fake_node_advance(n, 100);
    capture()->due_ms = 0;
    fake_node_step(n, 0);
    fault_above(CHUNK_BYTES);
    fake_node_advance(n, 100);
    cr_assert_eq(capture()->state, CAPTURE_STARVED);
    fault_above(SIZE_MAX);
    fake_disk_crash(&disk, NULL, NULL);
    open_disk();
    struct fake_client *const c = client_connect(n, 0, "me", LASTING);
    cr_expect_eq(client_heard_count(c), MESSAGES);
    fake_disk_end(&disk);
}
