/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/transport/listener.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "broker/transport/tls_context.h"

/* The texts among its settings, each a copy of its own. */
static const size_t texts[] = {
    offsetof(struct config_listener, url),         offsetof(struct config_listener, unix_mode),
    offsetof(struct config_listener, certificate), offsetof(struct config_listener, key),
    offsetof(struct config_listener, client_ca),   offsetof(struct config_listener, crl),
    offsetof(struct config_listener, ciphers),     offsetof(struct config_listener, proxy_from),
    offsetof(struct config_listener, origins),
};

#define TEXTS (sizeof texts / sizeof texts[0])

static char **text_of(struct config_listener *settings, size_t i)
{
    return (char **)(void *)((char *)settings + texts[i]);
}

bool listener_init(struct listener *l, const struct config_listener *settings)
{
    *l = (struct listener){.settings = *settings};
    bool copied = true;
    for (size_t i = 0; i < TEXTS; i++) {
        char **const text = text_of(&l->settings, i);
        *text = strdup(*text);
        copied = copied && *text != NULL;
    }
    if (!copied) {
        listener_fini(l);
        return false;
    }
    const char *wrong = listen_url_parse(&l->url, l->settings.url);
    assert(wrong == NULL); /* config_load() has tried both */
    wrong = address_ranges_parse(&l->proxy_from, l->settings.proxy_from);
    assert(wrong == NULL);
    l->proxy = l->settings.proxy_protocol != CONFIG_PROXY_OFF;
    return true;
}

void listener_fini(struct listener *l)
{
    tls_context_put(atomic_load_explicit(&l->tls_context, memory_order_relaxed));
    for (size_t i = 0; i < TEXTS; i++) {
        free(*text_of(&l->settings, i));
    }
    *l = (struct listener){.proxy = false};
}

const char *listener_alpn(const struct listener *l)
{
    return l->url.websocket ? "http/1.1" : "mqtt";
}
