/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/users.h"

#include <stdlib.h>
#include <string.h>

#include "broker/auth/gate.h"
#include "broker/auth/password_file.h"
#include "broker/auth/scram.h"
#include "broker/config/config_error.h"
#include "broker/judges.h"
#include "broker/log/log.h"
#include "broker/node.h"
#include "broker/shard/quiescence.h"

static void release(void *file)
{
    password_file_destroy(file);
}

/* NULL: it is not good; told. */
static struct password_file *read_file(const struct users *u, const struct node *node,
                                       const char *in_force)
{
    struct config_error error = {.count = 0};
    struct password_file *file = NULL;
    switch (password_file_read(&file, u->file.name, node->seed, &error)) {
    case PASSWORD_FILE_OK:
        return file;
    case PASSWORD_FILE_INVALID:
        log_event(LOG_ERROR, "password_file_refused", LOG_TEXT("error", error.text),
                  LOG_TEXT("in_force", in_force));
        return NULL;
    case PASSWORD_FILE_NO_MEMORY:
        log_event(LOG_ERROR, "out_of_memory", LOG_TEXT("of", u->file.name));
        return NULL;
    }
    return NULL;
}

static void log_in_force(const struct users *u, const struct password_file *file)
{
    log_event(LOG_INFO, "password_file_read", LOG_TEXT("file", u->file.name),
              LOG_NUMBER("users", password_file_count(file)));
}

bool users_are_needed(const struct users *u)
{
    return watched_file_is_there(&u->file);
}

bool users_open(struct users *u, struct node *node, const char *file)
{
    if (!watched_file_open(&u->file, file)) {
        return false;
    }
    if (!users_are_needed(u)) {
        return true;
    }
    struct password_file *const users = read_file(u, node, "nothing");
    if (users == NULL) {
        return false;
    }
    atomic_store_explicit(&node->users, users, memory_order_release);
    if (!judges_start(node)) {
        return false;
    }
    gate_set_users(node->gate, users);
    log_in_force(u, users);
    node->scram = scram_server_create();
    if (node->scram == NULL) {
        log_event(LOG_ERROR, "scram_failed", LOG_TEXT("of", "libgsasl"));
        return false;
    }
    return true;
}

/* Shards hold connections against it in their next turn. */
static void put_in_force(const struct users *u, struct node *node, struct password_file *fresh)
{
    gate_set_users(node->gate, fresh);
    struct password_file *const former =
        atomic_exchange_explicit(&node->users, fresh, memory_order_acq_rel);
    atomic_fetch_add_explicit(&node->users_generation, 1, memory_order_release);
    after_quiescent(node->quiescence, node->shard_count, release, former);
    node_wake_shards(node);
    log_in_force(u, fresh);
}

void users_refresh(struct users *u, struct node *node, bool all)
{
    if (!watched_file_is_due(&u->file, all)) {
        return;
    }
    struct password_file *const fresh = read_file(u, node, "what was read before");
    if (fresh != NULL) {
        put_in_force(u, node, fresh);
    }
}

void users_close(struct users *u, struct node *node)
{
    if (node != NULL) {
        scram_server_destroy(node->scram);
        node->scram = NULL;
        password_file_destroy(atomic_exchange_explicit(&node->users, NULL, memory_order_relaxed));
    }
    watched_file_close(&u->file);
}
