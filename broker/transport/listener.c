/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/transport/listener.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/transport/tls_context.h"

bool listener_init(struct listener *l, const struct config_listener *settings)
{
    *l = (struct listener){.settings = *settings};
    struct config_listener *const s = &l->settings;
    s->url = strdup(settings->url);
    s->unix_mode = strdup(settings->unix_mode);
    s->certificate = strdup(settings->certificate);
    s->key = strdup(settings->key);
    s->client_ca = strdup(settings->client_ca);
    s->crl = strdup(settings->crl);
    s->ciphers = strdup(settings->ciphers);
    s->proxy_from = strdup(settings->proxy_from);
    s->origins = strdup(settings->origins);
    if (s->url == NULL || s->unix_mode == NULL || s->certificate == NULL || s->key == NULL ||
        s->client_ca == NULL || s->crl == NULL || s->ciphers == NULL || s->proxy_from == NULL ||
        s->origins == NULL) {
        listener_fini(l);
        return false;
    }
    const char *wrong = listen_url_parse(&l->url, s->url);
    assert(wrong == NULL); /* config_load() has tried both */
    wrong = address_ranges_parse(&l->proxy_from, s->proxy_from);
    assert(wrong == NULL);
    l->proxy = s->proxy_protocol != CONFIG_PROXY_OFF;
    return true;
}

void listener_fini(struct listener *l)
{
    tls_context_put(atomic_load_explicit(&l->tls_context, memory_order_relaxed));
    free(l->settings.url);
    free(l->settings.unix_mode);
    free(l->settings.certificate);
    free(l->settings.key);
    free(l->settings.client_ca);
    free(l->settings.crl);
    free(l->settings.ciphers);
    free(l->settings.proxy_from);
    free(l->settings.origins);
    *l = (struct listener){.proxy = false};
}

const char *listener_alpn(const struct listener *l)
{
    return l->url.websocket ? "http/1.1" : "mqtt";
}
