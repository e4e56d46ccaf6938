/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/certificates.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/config/comma_list.h"
#include "broker/config/config_error.h"
#include "broker/config/file_text.h"
#include "broker/file_stamp.h"
#include "broker/log/log.h"
#include "broker/node.h"
#include "broker/shard/quiescence.h"
#include "broker/transport/listener.h"
#include "broker/transport/ticket_keys.h"
#include "broker/transport/tls_context.h"

#define PATH_BYTES 4096u
#define DAY_MS     UINT64_C(86400000)

/* ---- have files changed? */

static uint64_t add_stamps(uint64_t hash, const char *paths)
{
    char path[PATH_BYTES];
    for (size_t i = 0; comma_list_at(paths, i, path, sizeof path); i++) {
        hash = file_stamp_add(hash, path);
    }
    return hash;
}

static uint64_t stamp_of(const struct certificates *c, const struct listener *l)
{
    uint64_t hash = file_stamp_add(0, c->ticket_file);
    hash = add_stamps(hash, l->settings.certificate);
    hash = add_stamps(hash, l->settings.key);
    hash = file_stamp_add(hash, l->settings.client_ca);
    return file_stamp_add(hash, l->settings.crl);
}

/* ---- reading */

static struct ticket_keys *load_tickets(const char *file, struct config_error *error)
{
    char *text;
    size_t len;
    if (file[0] == '\0') {
        struct ticket_keys *const keys = ticket_keys_random();
        if (keys == NULL) {
            config_error_add(error, "tls: no random key for tickets");
        }
        return keys;
    }
    const int err = file_text_read(file, TICKET_FILE_BYTES, &text, &len);
    if (err != 0) {
        config_error_add(error, "%s: cannot be read: %s", file, strerror(err));
        return NULL;
    }
    const char *wrong;
    struct ticket_keys *const keys = ticket_keys_parse(text, len, &wrong);
    if (keys == NULL) {
        config_error_add(error, "%s: %s", file, wrong);
    }
    explicit_bzero(text, len);
    free(text);
    return keys;
}

static bool trusts_the_same(const struct tls_context *a, const struct tls_context *b)
{
    const struct tls_trust former = tls_context_trust(a), now = tls_context_trust(b);
    return former.client_ca == now.client_ca && former.crl == now.crl;
}

static bool load_one(const struct certificates *c, struct node *node, struct listener *l)
{
    struct config_error error = {.count = 0};
    struct tls_context *const fresh =
        tls_context_load(&l->settings, listener_alpn(l), c->tickets, &error);
    if (fresh == NULL) {
        const bool first = atomic_load_explicit(&l->tls_context, memory_order_relaxed) == NULL;
        log_event(LOG_ERROR, "certificate_reload_failed", LOG_TEXT("listener", l->settings.url),
                  LOG_TEXT("error", error.text),
                  LOG_TEXT("in_force", first ? "nothing" : "what was read before"));
        return false;
    }
    struct tls_context *const former =
        atomic_exchange_explicit(&l->tls_context, fresh, memory_order_acq_rel);
    if (former != NULL) {
        if (!trusts_the_same(former, fresh)) {
            atomic_fetch_add_explicit(&node->trust_generation, 1, memory_order_release);
            node_wake_shards(node);
        }
        after_quiescent(node->quiescence, node->shard_count, tls_context_release, former);
    }
    tls_context_log(fresh);
    return true;
}

static void note_end(struct node *node)
{
    int64_t first_s = INT64_MAX;
    for (unsigned i = 0; i < node->listener_count; i++) {
        const struct tls_context *const context =
            atomic_load_explicit(&node->listeners[i].tls_context, memory_order_relaxed);
        if (context != NULL && tls_context_ends_s(context) < first_s) {
            first_s = tls_context_ends_s(context);
        }
    }
    atomic_store_explicit(&node->certificates_end_s, first_s == INT64_MAX ? 0 : first_s,
                          memory_order_relaxed);
}

/* ---- the whole */

bool certificates_are_needed(const struct certificates *c)
{
    return c->watched != NULL;
}

static bool any_tls(const struct node *node)
{
    for (unsigned i = 0; i < node->listener_count; i++) {
        if (node->listeners[i].url.tls) {
            return true;
        }
    }
    return false;
}

/* false: the file is not good; told, and the old keys stay. */
static bool refresh_tickets(struct certificates *c)
{
    struct config_error error = {.count = 0};
    struct ticket_keys *const fresh = load_tickets(c->ticket_file, &error);
    if (fresh == NULL) {
        log_event(LOG_ERROR, "ticket_keys_refused", LOG_TEXT("error", error.text));
        return false;
    }
    ticket_keys_put(c->tickets);
    c->tickets = fresh;
    return true;
}

bool certificates_open(struct certificates *c, struct node *node, const char *ticket_file)
{
    *c = (struct certificates){.tickets = NULL};
    if (!any_tls(node)) {
        return true;
    }
    c->ticket_file = strdup(ticket_file);
    c->watched = calloc(node->listener_count, sizeof *c->watched);
    if (c->ticket_file == NULL || c->watched == NULL) {
        log_event(LOG_ERROR, "out_of_memory", LOG_TEXT("of", "certificates"));
        return false;
    }
    if (!refresh_tickets(c)) {
        return false;
    }
    bool ok = true;
    for (unsigned i = 0; i < node->listener_count; i++) {
        struct listener *const l = &node->listeners[i];
        if (l->url.tls) {
            c->watched[i].loaded = c->watched[i].seen = stamp_of(c, l);
            ok = load_one(c, node, l) && ok;
        }
    }
    note_end(node);
    return ok;
}

void certificates_close(struct certificates *c)
{
    ticket_keys_put(c->tickets);
    free(c->ticket_file);
    free(c->watched);
    *c = (struct certificates){.tickets = NULL};
}

/* Whoever renews them has not. */
static void warn(struct certificates *c, const struct node *node)
{
    const uint64_t now_ms = node->clock_ms();
    if (!certificates_are_needed(c) || now_ms < c->warn_ms) {
        return;
    }
    c->warn_ms = now_ms + DAY_MS;
    for (unsigned i = 0; i < node->listener_count; i++) {
        const struct tls_context *const context =
            atomic_load_explicit(&node->listeners[i].tls_context, memory_order_relaxed);
        if (context != NULL) {
            tls_context_warn(context);
        }
    }
}

void certificates_refresh(struct certificates *c, struct node *node, bool all)
{
    bool fresh_tickets = false;
    for (unsigned i = 0; i < node->listener_count && certificates_are_needed(c); i++) {
        struct listener *const l = &node->listeners[i];
        if (!l->url.tls) {
            continue;
        }
        const uint64_t stamp = stamp_of(c, l);
        if (!file_watch_has_changed(&c->watched[i], stamp) && !all) {
            continue;
        }
        /* Random ones go on: with others nobody could come back. */
        if (!fresh_tickets && c->ticket_file[0] != '\0') {
            fresh_tickets = true;
            (void)refresh_tickets(c); /* told, if they are not good */
        }
        c->watched[i].loaded = stamp;
        (void)load_one(c, node, l); /* told as well */
        note_end(node);
    }
    warn(c, node);
}

bool certificates_time_left(const struct node *node, int64_t *seconds)
{
    const int64_t of_cluster =
        atomic_load_explicit(&node->cluster_certificate_end_s, memory_order_relaxed);
    int64_t end_s = atomic_load_explicit(&node->certificates_end_s, memory_order_relaxed);
    if (end_s == 0 || (of_cluster != 0 && of_cluster < end_s)) {
        end_s = of_cluster;
    }
    *seconds = end_s - time(NULL);
    return end_s != 0;
}
