/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/tokens.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "broker/auth/token_keys.h"
#include "broker/config/config.h"
#include "broker/config/file_text.h"
#include "broker/judges.h"
#include "broker/log/log.h"
#include "broker/node.h"
#include "broker/shard/quiescence.h"

/* ---- settings, copied: judges look at them while the configuration may be replaced */

static void destroy_judge(struct token_judge *j)
{
    if (j != NULL) {
        free((char *)j->rules.issuer);
        free((char *)j->rules.audience);
        free((char *)j->rules.user_claim);
        free((char *)j->rules.client_id_claim);
        free((char *)j->rules.groups_claim);
        free((char *)j->rules.acl_claim);
        free(j);
    }
}

/* NULL: no memory. */
static struct token_judge *create_judge(const struct config *config)
{
    const struct config_token *const c = &config->token;
    struct token_judge *const j = calloc(1, sizeof *j);
    if (j == NULL) {
        return NULL;
    }
    j->rules = (struct token_rules){.issuer = strdup(c->issuer),
                                    .audience = strdup(c->audience),
                                    .user_claim = strdup(c->user_claim),
                                    .client_id_claim = strdup(c->client_id_claim),
                                    .groups_claim = strdup(c->groups_claim),
                                    .acl_claim = strdup(c->acl_claim),
                                    .leeway_s = c->leeway_s,
                                    .require_expiry = c->require_expiry,
                                    .user_name_must_match = c->user_name_must_match};
    if (j->rules.issuer == NULL || j->rules.audience == NULL || j->rules.user_claim == NULL ||
        j->rules.client_id_claim == NULL || j->rules.groups_claim == NULL ||
        j->rules.acl_claim == NULL) {
        destroy_judge(j);
        return NULL;
    }
    return j;
}

/* ---- keys */

static void release(void *keys)
{
    token_keys_destroy(keys);
}

static struct token_keys *refused(const struct tokens *t, const char *why, const char *in_force)
{
    log_event(LOG_ERROR, "token_keys_refused", LOG_TEXT("file", t->file.name),
              LOG_TEXT("reason", why), LOG_TEXT("in_force", in_force));
    return NULL;
}

/* NULL: it is not good; told. */
static struct token_keys *read_file(const struct tokens *t, const char *in_force)
{
    char *text;
    size_t len;
    const char *wrong;
    const int error = file_text_read(t->file.name, TOKEN_KEYS_BYTES_MAX, &text, &len);
    if (error != 0) {
        char why[128]; /* of the thread's own: strerror() has one for all */
        return refused(t, strerror_r(error, why, sizeof why), in_force);
    }
    struct token_keys *const keys = token_keys_parse(bytes_of(text, len), &wrong);
    explicit_bzero(text, len);
    free(text);
    if (keys == NULL) {
        return refused(t, wrong, in_force);
    }
    log_event(LOG_INFO, "token_keys_read", LOG_TEXT("file", t->file.name),
              LOG_NUMBER("keys", keys->count), LOG_NUMBER("passed_over", keys->passed_over),
              LOG_TEXT("reason", keys->why));
    return keys;
}

/* The judge is t's from now on, the keys are the node's. Shards hold connections against them in
 * their next turn. */
static void put_in_force(struct tokens *t, struct node *node, struct token_judge *judge,
                         struct token_keys *keys)
{
    judge->keys = keys;
    gate_set_tokens(node->gate, judge);
    destroy_judge(t->judge);
    t->judge = judge;
    struct token_keys *const former =
        atomic_exchange_explicit(&node->token_keys, keys, memory_order_acq_rel);
    if (former != keys && former != NULL) {
        atomic_fetch_add_explicit(&node->users_generation, 1, memory_order_release);
        after_quiescent(node->quiescence, node->shard_count, release, former);
        node_wake_shards(node);
    }
}

bool tokens_are_needed(const struct tokens *t)
{
    return watched_file_is_there(&t->file);
}

bool tokens_open(struct tokens *t, struct node *node, const struct config *config)
{
    *t = (struct tokens){.judge = NULL};
    if (!watched_file_open(&t->file, config->token.keys_file)) {
        return false;
    }
    if (!tokens_are_needed(t)) {
        return true;
    }
    json_object_seed(0); /* random; now, while files may still be opened, and by one thread */
    struct token_keys *const keys = read_file(t, "nothing");
    if (keys == NULL) {
        return false;
    }
    struct token_judge *const judge = create_judge(config);
    if (judge == NULL || !judges_start(node)) {
        log_event(LOG_ERROR, "out_of_memory");
        token_keys_destroy(keys);
        destroy_judge(judge);
        return false;
    }
    put_in_force(t, node, judge, keys);
    return true;
}

void tokens_refresh(struct tokens *t, struct node *node, const struct config *config, bool all)
{
    if (!watched_file_is_due(&t->file, all)) {
        return;
    }
    struct token_judge *const judge = create_judge(config);
    if (judge == NULL) {
        log_event(LOG_ERROR, "out_of_memory");
        return;
    }
    struct token_keys *const fresh = read_file(t, "what was read before");
    put_in_force(t, node, judge,
                 fresh != NULL ? fresh
                               : atomic_load_explicit(&node->token_keys, memory_order_relaxed));
}

void tokens_close(struct tokens *t, struct node *node)
{
    if (node != NULL) {
        token_keys_destroy(atomic_exchange_explicit(&node->token_keys, NULL, memory_order_relaxed));
    }
    destroy_judge(t->judge);
    watched_file_close(&t->file);
    t->judge = NULL;
}
