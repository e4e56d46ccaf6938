/* SPDX-License-Identifier: Apache-2.0 */
/* A client's PUBLISH and SUBSCRIBE, judged by a list of twenty rules as a fleet has it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bench/micro/micro.h"
#include "broker/auth/accounts.h"
#include "broker/auth/acl_file.h"

#define TOPICS 4u

static const char rules[] = "group operators alice bob\n"
                            "deny all secrets/#\n"
                            "deny publish config/+/lock\n"
                            "allow subscribe public/# weather/+/now news/#\n"
                            "allow group=operators all #\n"
                            "deny publish retain=yes site/+/alarm\n"
                            "allow subscribe site/+/alarm site/+/status site/+/door/#\n"
                            "allow publish time/request time/offset\n"
                            "allow publish qos=0 metrics/${clientid}/# log/${clientid}/#\n"
                            "allow subscribe config/${clientid}/# update/${clientid} update/all\n"
                            "allow publish update/${clientid}/progress\n"
                            "deny publish devices/${clientid}/commands/#\n"
                            "allow subscribe devices/${clientid}/commands/#\n"
                            "allow publish devices/${clientid}/#\n";

/* As conn/access.c has them for each connection. */
struct client {
    struct acl_file *file;
    struct acl_picked picked;
    struct acl_who who;
    struct bytes topics[TOPICS]; /* devices' own, decided by the last rule; asked in turn */
};

static void *create(void)
{
    static const char *const topics[TOPICS] = {
        "devices/sensor-000042/state", "devices/sensor-000042/events/temperature",
        "devices/sensor-000042/events/door", "devices/sensor-000042/diagnostics/battery/level"};
    struct client *c = calloc(1, sizeof *c);
    struct config_error error = {.count = 0};
    assert(c != NULL);
    const enum acl_file_err err =
        acl_file_parse(&c->file, "bench", bytes_text(rules), 1, &accounts_of_this_machine, &error);
    assert(err == ACL_FILE_OK);
    (void)err;
    c->who.names.value[ACL_CLIENT_ID] = bytes_text("sensor-000042");
    c->who.names.value[ACL_USER_NAME] = bytes_text("sensor");
    acl_names_judge(&c->who.names);
    const bool picked = acl_file_pick(c->file, &c->who, &c->picked);
    assert(picked && c->picked.count == 20); /* all but the operators' */
    (void)picked;
    for (unsigned i = 0; i < TOPICS; i++) {
        c->topics[i] = bytes_text(topics[i]);
    }
    return c;
}

static void destroy(void *state)
{
    struct client *c = state;
    acl_picked_fini(&c->picked);
    acl_file_put(c->file);
    free(c);
}

static struct acl_list list_of(const struct client *c)
{
    return (struct acl_list){
        .rules = acl_file_rules(c->file), .only = c->picked.at, .count = c->picked.count};
}

static void publish(void *state, uint64_t count)
{
    const struct client *c = state;
    const struct acl_list list = list_of(c);
    for (uint64_t i = 0; i < count; i++) {
        const enum acl_verdict v =
            acl_publish(&list, &c->who.names, c->topics[i % TOPICS], 1, false);
        assert(v == ACL_ALLOWED);
        micro_use(v);
    }
}

static void unmatched(void *state, uint64_t count)
{
    const struct client *c = state;
    const struct acl_list list = list_of(c);
    const struct bytes topic = bytes_text("somewhere/else/altogether");
    for (uint64_t i = 0; i < count; i++) {
        micro_use(acl_publish(&list, &c->who.names, topic, 1, false));
    }
}

static void subscribe(void *state, uint64_t count)
{
    const struct client *c = state;
    const struct acl_list list = list_of(c);
    const struct bytes filter = bytes_text("devices/sensor-000042/commands/#");
    for (uint64_t i = 0; i < count; i++) {
        micro_use(acl_subscribe(&list, &c->who.names, filter, 1));
        micro_use(acl_receive_all(&list, &c->who.names, filter));
    }
}

/* What a connection costs before its first PUBLISH. */
static void pick(void *state, uint64_t count)
{
    struct client *c = state;
    for (uint64_t i = 0; i < count; i++) {
        const bool picked = acl_file_pick(c->file, &c->who, &c->picked);
        assert(picked);
        (void)picked;
    }
}

const struct micro micro_acl[] = {
    {"acl_publish_20", create, publish, destroy},
    {"acl_publish_none_of_20", create, unmatched, destroy},
    {"acl_subscribe_20", create, subscribe, destroy},
    {"acl_pick_20", create, pick, destroy},
    {.name = NULL},
};
