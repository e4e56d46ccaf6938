/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shard/farewells.h"

#include <stdbool.h>

#include "broker/conn/conn.h"
#include "broker/conn/life.h"
#include "broker/drain.h"
#include "broker/node.h"
#include "broker/shard/shard.h"

static void begin(struct shard *s)
{
    s->leaving = true;
    for (unsigned i = 0; i < s->listener_count; i++) {
        shard_pause(s, i, PAUSED_ENDING, true);
    }
    atomic_fetch_add_explicit(&s->node->deaf, 1, memory_order_release);
}

/* One of those that main has allowed to all shards. */
static bool take(struct node *node)
{
    int64_t left = atomic_load_explicit(&node->farewells, memory_order_relaxed);
    while (left > 0) {
        if (atomic_compare_exchange_weak_explicit(&node->farewells, &left, left - 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

void farewells_turn(struct shard *s)
{
    struct node *const node = s->node;
    if (atomic_load_explicit(&node->drain, memory_order_acquire) < DRAIN_LEAVING || s->ending) {
        return;
    }
    if (!s->leaving) {
        begin(s);
    }
    bool any = false;
    for (struct conn *c = s->all.first; c != NULL; c = c->links[CONN_ALL].next) {
        if (c->phase != CONN_CONNECTED) {
            continue;
        }
        if (!take(node)) {
            break;
        }
        any = true;
        shard_count(s, METRIC_clients_drained);
        conn_close(c, MQTT_REASON_SERVER_SHUTTING_DOWN, SESSION_WILL_PUBLISH);
    }
    if (any && atomic_load_explicit(&node->clients, memory_order_relaxed) == 0) {
        node_wake_main(node); /* that was all of them */
    }
}
