/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/cluster_check.h"

#include "broker/config/listen_url.h"
#include "broker/config/seeds.h"
#include "broker/config/settings.h"
#include "proto/node_id.h"

static void complain(const struct config *c, const char *key, const char *value, const char *wrong,
                     struct config_error *error)
{
    config_error_add(error, "%s: %s: '%.64s' %s", settings_origin(c->settings, key), key, value,
                     wrong);
}

static void check_name(const struct config *c, struct config_error *error)
{
    if (c->node.name[0] != '\0' && !node_name_is_valid(bytes_text(c->node.name))) {
        complain(c, "node.name", c->node.name,
                 "is no name: it has letters, digits, '-', '_' and '.' only", error);
    }
    if (c->cluster.name[0] == '\0') {
        complain(c, "cluster.name", "", "is no name", error);
    }
}

static void check_listen(const struct config *c, struct config_error *error)
{
    struct listen_url where;
    const char *const wrong = listen_address_parse(&where, c->cluster.listen);
    if (wrong != NULL) {
        complain(c, "cluster.listen", c->cluster.listen, wrong, error);
        return;
    }
    if (!where.loopback && c->cluster.key_file[0] == '\0') {
        complain(c, "cluster.listen", c->cluster.listen,
                 "can be reached from other machines; set cluster.key_file (openssl rand -base64 "
                 "32 makes one), or take a loopback address",
                 error);
    }
    if (listen_url_is_wildcard(&where) && c->cluster.advertise[0] == '\0' &&
        c->cluster.seeds[0] == '\0') {
        complain(c, "cluster.listen", c->cluster.listen,
                 "is no address that others could be told; set cluster.advertise, or cluster.seeds",
                 error);
    }
}

static void check_advertise(const struct config *c, struct config_error *error)
{
    struct listen_url where;
    const char *wrong = listen_address_parse(&where, c->cluster.advertise);
    if (wrong == NULL && (where.port == 0 || listen_url_is_wildcard(&where))) {
        wrong = "is no address that others could be told";
    }
    if (wrong != NULL) {
        complain(c, "cluster.advertise", c->cluster.advertise, wrong, error);
    }
}

static void check_seeds(const struct config *c, struct config_error *error)
{
    struct seeds seeds;
    const char *const wrong = seeds_parse(&seeds, c->cluster.seeds);
    if (wrong != NULL) {
        complain(c, "cluster.seeds", c->cluster.seeds, wrong, error);
    }
}

/* Files without cluster.tls are a mistake too: whoever named them believes that it is encrypted. */
static void check_tls(const struct config *c, struct config_error *error)
{
    const struct {
        const char *key, *value;
        bool needed;
    } files[] = {
        {"cluster.tls_certificate", c->cluster.tls_certificate, true},
        {"cluster.tls_key", c->cluster.tls_key, true},
        {"cluster.tls_ca", c->cluster.tls_ca, true},
        {"cluster.tls_crl", c->cluster.tls_crl, false},
    };
    const bool is_off = c->cluster.tls == CONFIG_CLUSTER_TLS_OFF;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (is_off && files[i].value[0] != '\0') {
            complain(c, files[i].key, files[i].value, "is for nothing: cluster.tls is off", error);
        } else if (!is_off && files[i].needed && files[i].value[0] == '\0') {
            config_error_add(error, "%s: cluster.tls is set, and %s is not",
                             settings_origin(c->settings, "cluster.tls"), files[i].key);
        }
    }
}

/* Copies are told apart by their nodes' UUIDs, and are what nodes have promised each other: that is
 * nothing without a disk. */
static void check_replicas(const struct config *c, struct config_error *error)
{
    const char *const origin = settings_origin(c->settings, "cluster.replicas");
    if (c->cluster.replicas != 1 && c->cluster.replicas != 3 && c->cluster.replicas != 5) {
        config_error_add(error, "%s: cluster.replicas: %u is none of 0, 1, 3, 5", origin,
                         (unsigned)c->cluster.replicas);
    }
    if (c->cluster.listen[0] == '\0' || c->data.dir[0] == '\0') {
        config_error_add(error, "%s: cluster.replicas is set, and %s is not", origin,
                         c->cluster.listen[0] == '\0' ? "cluster.listen" : "data.dir");
    }
    if (c->data.durability == CONFIG_DURABILITY_MEMORY) {
        config_error_add(error,
                         "%s: cluster.replicas is set, and data.durability is memory: what nodes "
                         "promise each other has to be on disk",
                         origin);
    }
}

static void check_without_replicas(const struct config *c, struct config_error *error)
{
    if (c->cluster.initial_size != 0) {
        config_error_add(error, "%s: cluster.initial_size is for nothing: cluster.replicas is 0",
                         settings_origin(c->settings, "cluster.initial_size"));
    }
    if (c->cluster.zone[0] != '\0') {
        complain(c, "cluster.zone", c->cluster.zone, "is for nothing: cluster.replicas is 0",
                 error);
    }
}

void cluster_check(const struct config *c, struct config_error *error)
{
    check_name(c, error);
    check_seeds(c, error);
    if (c->cluster.listen[0] != '\0') {
        check_listen(c, error);
    } else if (c->cluster.seeds[0] != '\0') {
        config_error_add(error,
                         "%s: cluster.seeds is set, but cluster.listen is not: say where the "
                         "others reach this node",
                         settings_origin(c->settings, "cluster.seeds"));
    }
    check_tls(c, error);
    if (c->cluster.replicas != 0) {
        check_replicas(c, error);
    } else {
        check_without_replicas(c, error);
    }
    if (c->cluster.advertise[0] != '\0') {
        check_advertise(c, error);
    }
}
