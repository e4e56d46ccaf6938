/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/capture.h"

#include <criterion/criterion.h>

#include "broker/shard/shard.h"
#include "broker/store/difference.h"
#include "tests/unit/broker/kept_node.h"

/* Exchanges are finished at a start by turns of the shards, which may take long: what is new by
 * then is for the first checkpoint, of all shards together. */
Test(capture, nothing_begins_before_the_first)
{
    struct kept_node k;
    kept_node_create(&k, SETTINGS());
    struct shard *const s = k.n->node->shards[0];
    s->capture = capture_create(s, NULL, 1000);
    cr_assert_not_null(s->capture);
    difference_entry(s);
    fake_node_advance(k.n, 5000);
    cr_expect_eq(s->capture->state, CAPTURE_NOT_YET);
    cr_expect(changes_are_none(&s->capture->taking));
    cr_expect_eq(capture_sleep_ms(s), UINT64_MAX);
    capture_destroy(s->capture);
    s->capture = NULL;
    kept_node_destroy(&k);
}
