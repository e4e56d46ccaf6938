/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/gossip/link_certificates.h"

#include <stdlib.h>
#include <string.h>

#include "broker/config/config_error.h"
#include "broker/log/log.h"
#include "broker/transport/tls_context.h"
#include "broker/transport/tls_pipe.h"

#define DAY_MS UINT64_C(86400000)

static uint64_t stamp_of(const struct link_certificates *c)
{
    uint64_t hash = file_stamp_add(0, c->files.certificate);
    hash = file_stamp_add(hash, c->files.key);
    hash = file_stamp_add(hash, c->files.client_ca);
    return file_stamp_add(hash, c->files.crl);
}

/* NULL: they are not good; told. */
static struct tls_context *load(const struct link_certificates *c)
{
    struct config_error error = {.count = 0};
    struct tls_context *const fresh = tls_context_load_mutual(&c->files, TLS_PIPE_ALPN, &error);
    if (fresh == NULL) {
        log_event(LOG_ERROR, "certificate_reload_failed", LOG_TEXT("listener", c->files.url),
                  LOG_TEXT("error", error.text),
                  LOG_TEXT("in_force", c->context == NULL ? "nothing" : "what was read before"));
    } else {
        tls_context_log(fresh);
    }
    return fresh;
}

static bool copy_names(struct config_listener *files, const struct config_cluster *config)
{
    files->client_certificate = CONFIG_CLIENT_REQUIRED;
    files->tls_min = CONFIG_TLS_1_3;
    files->url = strdup("cluster.tls"); /* what messages call it */
    files->certificate = strdup(config->tls_certificate);
    files->key = strdup(config->tls_key);
    files->client_ca = strdup(config->tls_ca);
    files->crl = strdup(config->tls_crl);
    files->ciphers = strdup("");
    return files->url != NULL && files->certificate != NULL && files->key != NULL &&
           files->client_ca != NULL && files->crl != NULL && files->ciphers != NULL;
}

bool link_certificates_open(struct link_certificates *c, const struct config_cluster *config,
                            uint64_t now_ms)
{
    *c = (struct link_certificates){.context = NULL};
    if (config->tls == CONFIG_CLUSTER_TLS_OFF) {
        return true;
    }
    if (!copy_names(&c->files, config)) {
        log_event(LOG_ERROR, "out_of_memory", LOG_TEXT("of", "cluster.tls"));
        return false;
    }
    c->watch.loaded = c->watch.seen = stamp_of(c);
    c->context = load(c);
    c->warn_ms = now_ms;
    return c->context != NULL;
}

void link_certificates_close(struct link_certificates *c)
{
    tls_context_put(c->context);
    free(c->files.url);
    free(c->files.certificate);
    free(c->files.key);
    free(c->files.client_ca);
    free(c->files.crl);
    free(c->files.ciphers);
    *c = (struct link_certificates){.context = NULL};
}

static enum link_certificates_news reload(struct link_certificates *c)
{
    struct tls_context *const fresh = load(c);
    if (fresh == NULL) {
        return LINK_CERTIFICATES_SAME;
    }
    const struct tls_trust former = tls_context_trust(c->context), now = tls_context_trust(fresh);
    tls_context_put(c->context);
    c->context = fresh;
    return former.client_ca == now.client_ca && former.crl == now.crl ? LINK_CERTIFICATES_NEW
                                                                      : LINK_CERTIFICATES_DISTRUST;
}

enum link_certificates_news link_certificates_refresh(struct link_certificates *c, bool all,
                                                      uint64_t now_ms)
{
    enum link_certificates_news news = LINK_CERTIFICATES_SAME;
    if (c->context == NULL) {
        return news;
    }
    const uint64_t stamp = stamp_of(c);
    if (file_watch_has_changed(&c->watch, stamp) || all) {
        c->watch.loaded = stamp;
        news = reload(c);
    }
    if (now_ms >= c->warn_ms) { /* whoever renews it has not */
        c->warn_ms = now_ms + DAY_MS;
        tls_context_warn(c->context);
    }
    return news;
}
