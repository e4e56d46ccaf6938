/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/permissions.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "broker/auth/acl_file.h"
#include "broker/config/config_error.h"
#include "broker/log/log.h"
#include "broker/node.h"
#include "broker/shard/quiescence.h"

static void release(void *file)
{
    acl_file_put(file);
}

/* NULL: it is not good; told. */
static struct acl_file *read_file(const struct permissions *p, const struct node *node,
                                  const char *in_force)
{
    struct config_error error = {.count = 0};
    struct acl_file *file = NULL;
    switch (acl_file_read(&file, p->file.name, node->seed, &error)) {
    case ACL_FILE_OK:
        return file;
    case ACL_FILE_INVALID:
        log_event(LOG_ERROR, "acl_file_refused", LOG_TEXT("error", error.text),
                  LOG_TEXT("in_force", in_force));
        return NULL;
    case ACL_FILE_NO_MEMORY:
        log_event(LOG_ERROR, "out_of_memory", LOG_TEXT("of", p->file.name));
        return NULL;
    }
    return NULL;
}

/* In the shards' next turn, which comes at once. Views of the former hold it as long as need be. */
static void put_in_force(const struct permissions *p, struct node *node, struct acl_file *fresh)
{
    const uint32_t rules = acl_file_count(fresh);
    const bool allows_rest = acl_file_allows_rest(fresh);
    struct acl_file *const former =
        atomic_exchange_explicit(&node->acl, fresh, memory_order_acq_rel);
    atomic_fetch_add_explicit(&node->acl_generation, 1, memory_order_release);
    if (former != NULL) {
        after_quiescent(node->quiescence, node->shard_count, release, former);
        node_wake_shards(node);
    }
    log_event(LOG_INFO, "acl_file_read", LOG_TEXT("file", p->file.name), LOG_NUMBER("rules", rules),
              LOG_TEXT("default", allows_rest ? "allow" : "deny"));
}

bool permissions_are_needed(const struct permissions *p)
{
    return watched_file_is_there(&p->file);
}

bool permissions_open(struct permissions *p, struct node *node, const char *file)
{
    if (!watched_file_open(&p->file, file)) {
        return false;
    }
    if (!permissions_are_needed(p)) {
        return true;
    }
    struct acl_file *const rules = read_file(p, node, "nothing");
    if (rules == NULL) {
        return false;
    }
    put_in_force(p, node, rules);
    return true;
}

void permissions_refresh(struct permissions *p, struct node *node, bool all)
{
    if (!watched_file_is_due(&p->file, all)) {
        return;
    }
    struct acl_file *const fresh = read_file(p, node, "what was read before");
    if (fresh != NULL) {
        put_in_force(p, node, fresh);
    }
}

void permissions_close(struct permissions *p, struct node *node)
{
    if (node != NULL) {
        acl_file_put(atomic_exchange_explicit(&node->acl, NULL, memory_order_relaxed));
    }
    watched_file_close(&p->file);
}
