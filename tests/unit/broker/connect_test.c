/* SPDX-License-Identifier: Apache-2.0 */
/* How clients come, move to their session's shard, are refused, and go; on one to three shards. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "broker/shard/shard.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/broker/fake_client.h"

#define SHARDS_MAX 3u

Test(connect, a_message_reaches_its_subscriber)
{
    for (unsigned shards = 1; shards <= SHARDS_MAX; shards++) {
        for (unsigned qos = 0; qos <= 2; qos++) {
            struct fake_node *n = fake_node_create(shards, SETTINGS());
            struct fake_client *sub = client_connect(n, 0, "sub", TERMS());
            struct fake_client *pub = client_connect(n, shards - 1, "pub", TERMS());
            cr_assert_eq(client_subscribe(sub, "a/+", (uint8_t)qos), qos);
            client_say(pub, "a/b", "hello", (uint8_t)qos);
            char want[32];
            snprintf(want, sizeof want, "a/b=hello/%u", qos);
            cr_expect_str_eq(client_heard(sub), want, "%u shards", shards);
            cr_expect_eq(fake_node_count(n, METRIC_publish_sent), 1);
            fake_node_destroy(n);
        }
    }
}
