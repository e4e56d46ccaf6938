/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/listeners.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "broker/config/address_ranges.h"
#include "broker/config/auth_methods.h"
#include "broker/config/comma_list.h"
#include "broker/config/config.h"
#include "broker/config/listen_url.h"
#include "broker/config/schema.h"
#include "broker/config/settings.h"

/* One entry, and where mistakes in it go. */
struct entry {
    const struct config *config;
    const struct config_listener *l;
    struct listen_url url;
    unsigned number;
    struct config_error *error;
};

static const char *origin(const struct config *c, unsigned number, const char *key)
{
    char path[SCHEMA_PATH_BYTES];
    snprintf(path, sizeof path, "listeners.%u.%s", number, key);
    return settings_origin(c->settings, path);
}

static void refuse(const struct entry *e, const char *key, const char *why)
{
    config_error_add(e->error, "%s: listeners.%u.%s: %s", origin(e->config, e->number, key),
                     e->number, key, why);
}

/* ---- what it has no use for */

static void refuse_useless(const struct entry *e, bool useful, bool is_set, const char *key,
                           const char *why)
{
    if (!useful && is_set) {
        refuse(e, key, why);
    }
}

static void check_useless(const struct entry *e)
{
    static const char tls[] = "only tls:// and wss:// have it; remove it, or change the url";
    const struct config_listener *const l = e->l;
    const struct listen_url *const u = &e->url;
    refuse_useless(e, u->tls, l->certificate[0] != '\0', "certificate", tls);
    refuse_useless(e, u->tls, l->key[0] != '\0', "key", tls);
    refuse_useless(e, u->tls, l->client_certificate != CONFIG_CLIENT_NONE, "client_certificate",
                   tls);
    refuse_useless(e, u->tls, l->client_ca[0] != '\0', "client_ca", tls);
    refuse_useless(e, u->tls, l->crl[0] != '\0', "crl", tls);
    refuse_useless(e, u->tls, l->tls_min != CONFIG_TLS_1_2, "tls_min", tls);
    refuse_useless(e, u->tls, l->ciphers[0] != '\0', "ciphers", tls);
    refuse_useless(e, u->websocket, l->origins[0] != '\0', "origins",
                   "only ws:// and wss:// have it; remove it, or change the url");
    refuse_useless(e, u->unix_socket, l->unix_mode[0] != '\0', "unix_mode",
                   "only unix:// has it; remove it, or change the url");
    refuse_useless(e, !u->unix_socket, l->proxy_protocol != CONFIG_PROXY_OFF, "proxy_protocol",
                   "a Unix socket has no addresses to tell load balancers by; listen at tcp://");
}

/* ---- what it needs */

static void check_tls(const struct entry *e)
{
    const struct config_listener *const l = e->l;
    if (!e->url.tls) {
        return;
    }
    const size_t certificates = comma_list_count(l->certificate);
    if (certificates == 0) {
        refuse(e, "certificate", "TLS needs one: the name of a PEM file");
    } else if (certificates != comma_list_count(l->key)) {
        refuse(e, "key", "there have to be as many keys as certificates, in the same order");
    }
    if (l->client_certificate == CONFIG_CLIENT_NONE && l->client_ca[0] != '\0') {
        refuse(e, "client_ca",
               "clients are not asked; set client_certificate to optional or "
               "required, or remove it");
    }
    if (l->client_certificate != CONFIG_CLIENT_NONE && l->client_ca[0] == '\0') {
        refuse(e, "client_ca", "client_certificate needs one: the name of a PEM file");
    }
    if (l->client_ca[0] == '\0' && l->crl[0] != '\0') {
        refuse(e, "crl",
               "it revokes clients' certificates, which are not asked for; set client_ca, "
               "or remove it");
    }
}

static void check_proxy(const struct entry *e)
{
    const struct config_listener *const l = e->l;
    struct address_ranges ranges;
    const char *const wrong = address_ranges_parse(&ranges, l->proxy_from);
    if (wrong != NULL) {
        refuse(e, "proxy_from", wrong);
    } else if (l->proxy_protocol == CONFIG_PROXY_OFF && ranges.count > 0) {
        refuse(e, "proxy_from",
               "no PROXY header is taken; set proxy_protocol to required, or "
               "remove it");
    } else if (l->proxy_protocol != CONFIG_PROXY_OFF && ranges.count == 0) {
        refuse(e, "proxy_from",
               "without it nobody may send the PROXY header; give the load "
               "balancers' addresses, as in 10.0.0.0/8");
    }
}

/* What a listener has to know names from: certificates, or a load balancer's word. */
static void check_name(const struct entry *e, enum config_name_from from, const char *key)
{
    const struct config_listener *const l = e->l;
    if (from == CONFIG_FROM_NONE || l->client_certificate != CONFIG_CLIENT_NONE) {
        return;
    }
    if (l->proxy_protocol == CONFIG_PROXY_OFF) {
        refuse(e, key,
               "clients are not asked for certificates; set client_certificate to optional or "
               "required, or remove it");
    } else if (from != CONFIG_FROM_COMMON_NAME) {
        refuse(e, key, "load balancers tell the common name only; set it to common_name");
    }
}

static void check_names(const struct entry *e)
{
    const struct config_listener *const l = e->l;
    struct auth_methods methods;
    check_name(e, l->user_from, "user_from");
    check_name(e, l->client_id_from, "client_id_from");
    if (l->user_from != CONFIG_FROM_NONE &&
        auth_methods_parse(&methods, e->config->auth.methods) == NULL &&
        !auth_methods_have(&methods, CONFIG_AUTH_CERTIFICATE)) {
        refuse(e, "user_from", "auth.methods has to name certificate for it");
    }
}

static void check_mode(const struct entry *e)
{
    const char *const mode = e->l->unix_mode;
    if (strspn(mode, "01234567") != strlen(mode)) {
        refuse(e, "unix_mode", "it is not octal digits, as in 0660");
    }
}

/* ---- and among themselves */

static bool same_address(const struct listen_url *a, const char *other)
{
    struct listen_url b;
    if (listen_url_parse(&b, other) != NULL || a->unix_socket != b.unix_socket) {
        return false;
    }
    return a->unix_socket ? strcmp(a->path, b.path) == 0
                          : a->port != 0 && a->port == b.port && strcmp(a->host, b.host) == 0;
}

static void check_address(const struct entry *e)
{
    const struct config *const c = e->config;
    for (unsigned other = 0; other < e->number; other++) {
        if (same_address(&e->url, c->listeners[other].url)) {
            config_error_add(e->error,
                             "%s: listeners.%u.url: listeners.%u (%s) has the same "
                             "address; remove one",
                             origin(c, e->number, "url"), e->number, other,
                             origin(c, other, "url"));
            return;
        }
    }
}

void listeners_check(const struct config *c, struct config_error *error)
{
    for (unsigned i = 0; i < c->listeners_count; i++) {
        struct entry e = {.config = c, .l = &c->listeners[i], .number = i, .error = error};
        const char *const wrong = listen_url_parse(&e.url, e.l->url);
        assert(wrong == NULL); /* value_plain() has tried */
        check_useless(&e);
        check_tls(&e);
        check_proxy(&e);
        check_names(&e);
        check_mode(&e);
        check_address(&e);
    }
}
