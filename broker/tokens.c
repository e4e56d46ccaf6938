/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/tokens.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "broker/auth/token_keys.h"
#include "broker/config/config.h"
#include "broker/config/file_text.h"
#include "broker/judges.h"
#include "broker/key_server.h"
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

static void log_in_force(const char *from, const struct token_keys *keys)
{
    log_event(LOG_INFO, "token_keys_read", LOG_TEXT("from", from), LOG_NUMBER("keys", keys->count),
              LOG_NUMBER("passed_over", keys->passed_over), LOG_TEXT("reason", keys->why));
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
    return keys;
}

/* Once for each change: it may be away for long. */
static void note_server(struct tokens *t, bool away, const char *why)
{
    if (t->away == away) {
        return;
    }
    t->away = away;
    if (away) {
        log_event(LOG_ERROR, "token_keys_away", LOG_TEXT("reason", why),
                  LOG_TEXT("in_force", t->of_server != NULL ? "what was fetched before"
                                       : t->of_file != NULL ? "the keys of token.keys_file"
                                                            : "nothing"));
    } else {
        log_event(LOG_INFO, "token_keys_back");
    }
}

/* What the server has, if it is something else than before; NULL: it is not. *answered: was
 * something fetched, or tried to be? */
static struct token_keys *take_fetched(struct tokens *t, bool *answered)
{
    struct token_keys *keys;
    const char *wrong;
    const enum key_server_news news = key_server_take(t->server, &keys, &wrong);
    *answered = news != KEY_SERVER_NOTHING;
    if (!*answered) {
        return NULL;
    }
    note_server(t, news == KEY_SERVER_NONE, wrong);
    if (keys != NULL && t->of_server != NULL && token_keys_same(keys, t->of_server)) {
        token_keys_destroy(keys);
        return NULL;
    }
    return keys;
}

/* Shards hold connections against the keys in their next turn. */
static bool put_in_force(struct tokens *t, struct node *node, const struct config *config,
                         const struct token_keys *of_file, const struct token_keys *of_server)
{
    struct token_judge *const judge = create_judge(config);
    struct token_keys *const keys = token_keys_join(of_file, of_server);
    if (judge == NULL || keys == NULL) {
        log_event(LOG_ERROR, "out_of_memory", LOG_TEXT("of", "token"));
        destroy_judge(judge);
        token_keys_destroy(keys);
        return false;
    }
    judge->keys = keys;
    gate_set_tokens(node->gate, judge);
    destroy_judge(t->judge);
    t->judge = judge;
    struct token_keys *const former =
        atomic_exchange_explicit(&node->token_keys, keys, memory_order_acq_rel);
    if (former != NULL) {
        atomic_fetch_add_explicit(&node->users_generation, 1, memory_order_release);
        after_quiescent(node->quiescence, node->shard_count, release, former);
        node_wake_shards(node);
    }
    return true;
}

/* What is fresh takes the place of what is kept of the same source; NULL: that stays. */
static void take_up(struct tokens *t, struct node *node, const struct config *config,
                    struct token_keys *of_file, struct token_keys *of_server)
{
    struct token_keys **const kept[] = {&t->of_file, &t->of_server};
    struct token_keys *const fresh[] = {of_file, of_server};
    const char *const from[] = {t->file.name, "token.keys_url"};
    const bool done = put_in_force(t, node, config, of_file != NULL ? of_file : t->of_file,
                                   of_server != NULL ? of_server : t->of_server);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (fresh[i] == NULL) {
            continue;
        }
        token_keys_destroy(done ? *kept[i] : fresh[i]);
        if (done) {
            *kept[i] = fresh[i];
            log_in_force(from[i], fresh[i]);
        }
    }
}

/* ---- beginning and end */

static void wake(void *node)
{
    node_wake_main(node);
}

static bool start_server(struct tokens *t, struct node *node, const struct config_token *config)
{
    const struct key_server_conf conf = {.url = config->keys_url,
                                         .ca_file = config->keys_ca_file,
                                         .timeout_ms = config->keys_timeout_ms,
                                         .refresh_ms = (uint64_t)config->keys_refresh_s * 1000,
                                         .pause_ms = (uint64_t)config->keys_pause_s * 1000,
                                         .clock_ms = node->clock_ms,
                                         .wake = wake,
                                         .context = node};
    if (config->keys_url[0] == '\0') {
        return true;
    }
    t->server = key_server_start(&conf);
    if (t->server == NULL) {
        log_event(LOG_ERROR, "thread_failed", LOG_TEXT("of", "token.keys_url"));
        return false;
    }
    node->key_server = t->server;
    key_server_turn(t->server); /* the first clients wait for it */
    return true;
}

bool tokens_are_needed(const struct tokens *t)
{
    return watched_file_is_there(&t->file) || t->server != NULL;
}

uint64_t tokens_poll_ms(const struct tokens *t, uint64_t most_ms)
{
    const uint64_t left_ms = t->server == NULL ? most_ms : key_server_left_ms(t->server);
    return left_ms < most_ms ? left_ms : most_ms;
}

bool tokens_open(struct tokens *t, struct node *node, const struct config *config)
{
    *t = (struct tokens){.judge = NULL};
    if (!watched_file_open(&t->file, config->token.keys_file)) {
        return false;
    }
    json_object_seed(0); /* random; now, while files may still be opened, and by one thread */
    if (watched_file_is_there(&t->file)) {
        t->of_file = read_file(t, "nothing");
        if (t->of_file == NULL) {
            return false;
        }
    }
    if (!start_server(t, node, &config->token)) {
        return false;
    }
    if (!tokens_are_needed(t)) {
        return true;
    }
    if (!judges_start(node) || !put_in_force(t, node, config, t->of_file, NULL)) {
        return false;
    }
    if (t->of_file != NULL) {
        log_in_force(t->file.name, t->of_file);
    }
    return true;
}

void tokens_refresh(struct tokens *t, struct node *node, const struct config *config, bool all)
{
    if (!tokens_are_needed(t)) {
        return;
    }
    struct token_keys *of_file = NULL, *of_server = NULL;
    bool answered = false;
    if (watched_file_is_due(&t->file, all)) {
        of_file = read_file(t, "what was read before");
    }
    if (t->server != NULL) {
        if (all) {
            (void)key_server_seek(t->server);
        }
        of_server = take_fetched(t, &answered);
    }
    if (all || of_file != NULL || of_server != NULL) {
        take_up(t, node, config, of_file, of_server);
    }
    if (answered) {
        key_server_settle(t->server);
        gate_keys_sought(node->gate);
    }
    if (t->server != NULL) {
        key_server_turn(t->server);
    }
}

void tokens_stop(struct tokens *t)
{
    key_server_stop(t->server);
}

void tokens_close(struct tokens *t, struct node *node)
{
    if (node != NULL) {
        token_keys_destroy(atomic_exchange_explicit(&node->token_keys, NULL, memory_order_relaxed));
        node->key_server = NULL;
    }
    key_server_destroy(t->server);
    token_keys_destroy(t->of_file);
    token_keys_destroy(t->of_server);
    destroy_judge(t->judge);
    watched_file_close(&t->file);
    *t = (struct tokens){.judge = NULL};
}
