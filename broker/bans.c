/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/bans.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/config/config_error.h"
#include "broker/guard/ban_list.h"
#include "broker/log/log.h"
#include "broker/node.h"
#include "broker/shard/quiescence.h"

static void release(void *list)
{
    ban_list_destroy(list);
}

/* NULL: it is not good; told. */
static struct ban_list *read_file(const struct bans *b, const struct node *node,
                                  const char *in_force)
{
    struct config_error error = {.count = 0};
    struct ban_list *list = NULL;
    const struct ban_clock clock = {.wall_s = time(NULL), .now_ms = node->clock_ms()};
    switch (ban_list_read(&list, b->file.name, node->seed, clock, &error)) {
    case BAN_LIST_OK:
        return list;
    case BAN_LIST_INVALID:
        log_event(LOG_ERROR, "ban_file_refused", LOG_TEXT("error", error.text),
                  LOG_TEXT("in_force", in_force));
        return NULL;
    case BAN_LIST_NO_MEMORY:
        log_event(LOG_ERROR, "out_of_memory", LOG_TEXT("of", b->file.name));
        return NULL;
    }
    return NULL;
}

static void log_in_force(const struct bans *b, const struct ban_list *list)
{
    log_event(LOG_INFO, "ban_file_read", LOG_TEXT("file", b->file.name),
              LOG_NUMBER("bans", ban_list_count(list)));
}

bool bans_are_needed(const struct bans *b)
{
    return watched_file_is_there(&b->file);
}

bool bans_open(struct bans *b, struct node *node, const char *file)
{
    if (!watched_file_open(&b->file, file)) {
        return false;
    }
    if (!bans_are_needed(b)) {
        return true;
    }
    struct ban_list *const list = read_file(b, node, "nothing");
    if (list == NULL) {
        return false;
    }
    atomic_store_explicit(&node->bans, list, memory_order_release);
    log_in_force(b, list);
    return true;
}

/* Shards hold connections against it in their next turn. */
static void put_in_force(const struct bans *b, struct node *node, struct ban_list *fresh)
{
    struct ban_list *const former =
        atomic_exchange_explicit(&node->bans, fresh, memory_order_acq_rel);
    atomic_fetch_add_explicit(&node->bans_generation, 1, memory_order_release);
    after_quiescent(node->quiescence, node->shard_count, release, former);
    node_wake_shards(node);
    log_in_force(b, fresh);
}

void bans_refresh(struct bans *b, struct node *node, bool all)
{
    if (!watched_file_is_due(&b->file, all)) {
        return;
    }
    struct ban_list *const fresh = read_file(b, node, "what was read before");
    if (fresh != NULL) {
        put_in_force(b, node, fresh);
    }
}

void bans_close(struct bans *b, struct node *node)
{
    if (node != NULL) {
        ban_list_destroy(atomic_exchange_explicit(&node->bans, NULL, memory_order_relaxed));
    }
    watched_file_close(&b->file);
}
