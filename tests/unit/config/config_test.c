/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/config.h"

#include <inttypes.h>

#include "broker/config/schema.h"
#include "broker/config/settings.h"
#include "broker/config/topics.h"
#include "tests/unit/config/sources.h"

TestSuite(config, .init = sources_enter, .fini = sources_leave);

static struct config *load(const char *yaml, const char *const *environment,
                           const char *const *flags)
{
    struct config *c = NULL;
    struct config_error error = {0};
    cr_assert_eq(sources_load(&c, yaml, environment, flags, &error), CONFIG_OK, "%s", error.text);
    return c;
}

static char *dump(const struct config *c)
{
    char *text;
    size_t len;
    FILE *const f = open_memstream(&text, &len);
    config_dump(c, f);
    fclose(f);
    return text;
}

Test(config, defaults)
{
    struct config *const c = load(NULL, NULL, NULL);
    cr_expect_eq(c->node.shards, 0);
    cr_assert_eq(c->listeners_count, 1);
    cr_expect_str_eq(c->listeners[0].url, "tcp://127.0.0.1:1883");
    cr_expect_not(c->allow_anonymous);
    cr_expect_str_eq(c->data.dir, "");
    cr_expect_eq(c->topics_count, 0);
    cr_expect_eq(c->log.level, LOG_INFO);
    cr_expect_eq(c->log.format, LOG_LOGFMT);
    cr_expect_eq(c->limits.connections_max, 100000);
    cr_expect_eq(c->limits.packet_bytes_max, 1048576);
    cr_expect_eq(c->limits.session_queue_bytes_max, 64u << 20);
    cr_expect_eq(c->limits.session_queue_full, CONFIG_DROP_OLDEST);
    cr_expect_eq(c->limits.message_memory_max, 0);
    cr_expect_eq(c->limits.session_expiry_max_s, 7 * 24 * 3600);
    cr_expect_eq(c->shared_subscriptions.strategy, CONFIG_ROUND_ROBIN);
    cr_expect_str_eq(c->mqtt.response_information, "");
    config_destroy(c);
}

/* A good value that is not the default. */
static const char *other_value(const struct schema_key *key, char text[64])
{
    const uint64_t by_default = strtoull(key->by_default, NULL, 10);
    switch (key->type) {
    case SCHEMA_UINT:
    case SCHEMA_SIZE:
        snprintf(text, 64, "%" PRIu64, key->min == by_default ? key->max : key->min);
        return text;
    case SCHEMA_BOOL:
        return strcmp(key->by_default, "true") == 0 ? "false" : "true";
    case SCHEMA_TEXT:
        if (strcmp(key->path, "admin.listen") == 0) {
            return "[::1]:9090";
        }
        if (strcmp(key->path, "http.url") == 0) {
            return "https://[::1]/?a=b";
        }
        if (strcmp(key->path, "token.keys_url") == 0) {
            return "http://127.0.0.1/keys";
        }
        if (strcmp(key->path, "node.name") == 0) {
            return "edge-7";
        }
        if (strncmp(key->path, "cluster.", 8) == 0 && strcmp(key->path, "cluster.name") != 0) {
            return "127.0.0.1:4000";
        }
        return strcmp(key->path, "auth.methods") == 0 ? "password," : "say \"ah\" \\ \xc3\xa9";
    case SCHEMA_URL:
        return "tcp://127.0.0.2:2883";
    case SCHEMA_CHOICE:
        return key->choices[strcmp(key->choices[0].str, key->by_default) == 0].str;
    }
    return NULL;
}

/* The key as a document of its own; a JSON string is a YAML string. */
static void one_key_yaml(const struct schema_key *key, const char *value, char text[512])
{
    char quoted[128];
    size_t to = 0;
    for (const char *at = value; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') {
            quoted[to++] = '\\';
        }
        quoted[to++] = *at;
    }
    quoted[to] = '\0';
    const char *const dot = strchr(key->path, '.');
    if (dot == NULL) {
        snprintf(text, 512, "# one key\n%s: \"%s\"\n", key->path, quoted);
    } else if (dot[1] == '*') {
        snprintf(text, 512, "%.*s:\n  - %s: \"%s\"\n", (int)(dot - key->path), key->path, dot + 3,
                 quoted);
    } else {
        snprintf(text, 512, "%.*s:\n  %s: \"%s\"\n", (int)(dot - key->path), key->path, dot + 1,
                 quoted);
    }
}

/* The struct, not the settings, says it: libcyaml writes it out again. */
static void expect_in_struct(const struct config *c, const struct schema_key *key,
                             const char *value)
{
    char *text;
    size_t len;
    static const cyaml_config_t conf = {.mem_fn = cyaml_mem, .log_level = CYAML_LOG_ERROR};
    cr_assert_eq(cyaml_save_data(&text, &len, &conf, &schema_cyaml, c, 0), CYAML_OK);
    char line[256];
    const char *const dot = strrchr(key->path, '.');
    const char *const shown = key->type == SCHEMA_TEXT ? "" : value;
    const int line_len =
        snprintf(line, sizeof line, "%s: %s", dot == NULL ? key->path : dot + 1, shown);
    const char *const found = memmem(text, len, line, (size_t)line_len);
    cr_expect_not_null(found, "%s in\n%.*s", line, (int)len, text);
    free(text);
}

static void expect_one(struct config *c, const struct schema_key *key, const char *value,
                       const char *origin)
{
    const struct setting *const one = settings_find(c->settings, key, 0);
    cr_assert_not_null(one);
    cr_expect_str_eq(one->plain, value, "%s", key->path);
    cr_expect_str_eq(one->origin, origin, "%s", key->path);
    expect_in_struct(c, key, value);

    unsigned from_elsewhere = 0;
    for (size_t i = 0; i < c->settings->count; i++) {
        from_elsewhere += c->settings->all[i].source != SETTINGS_DEFAULT;
    }
    cr_expect_eq(from_elsewhere, 1, "%s changes nothing else", key->path);
    config_destroy(c);
}

Test(config, every_key_from_every_source)
{
    cr_assert_gt(schema_count(), 25);
    for (size_t i = 0; i < schema_count(); i++) {
        const struct schema_key *const key = schema_at(i);
        if (key->entries_max > 0 && key->type != SCHEMA_URL) {
            continue; /* not without others: see every_key_of_a_listener, topics */
        }
        if (strcmp(key->path, "cluster.seeds") == 0 || strncmp(key->path, "cluster.tls", 11) == 0 ||
            strcmp(key->path, "cluster.replicas") == 0 ||
            strcmp(key->path, "cluster.initial_size") == 0 ||
            strcmp(key->path, "cluster.zone") == 0) {
            continue; /* not without others: see config_mistakes */
        }
        char text[64], yaml[512], path[SCHEMA_PATH_BYTES], name[SCHEMA_PATH_BYTES];
        char variable[512], origin[512], flag[512];
        const char *const value = other_value(key, text);
        schema_path(key, 0, path);
        schema_variable(path, name);

        one_key_yaml(key, value, yaml);
        expect_one(load(yaml, NULL, NULL), key, value, "dunlin.yaml:2");

        snprintf(variable, sizeof variable, "%s=%s", name, value);
        snprintf(origin, sizeof origin, "env %s", name);
        expect_one(load(NULL, LIST(variable), NULL), key, value, origin);

        snprintf(variable, sizeof variable, "%s_FILE=secret", name);
        snprintf(origin, sizeof origin, "env %s_FILE", name);
        sources_write("secret", value, strlen(value));
        expect_one(load(NULL, LIST(variable), NULL), key, value, origin);

        snprintf(flag, sizeof flag, "%s=%s", path, value);
        expect_one(load(NULL, NULL, LIST("--set", flag)), key, value, "--set");
    }
}

Test(config, every_key_of_a_listener)
{
    struct config *const c = load("listeners:\n"
                                  "- url: wss://*:1/mqtt\n"
                                  "  certificate: a.pem, b.pem\n"
                                  "  key: a.key, b.key\n"
                                  "  client_certificate: optional\n"
                                  "  client_ca: ca.pem\n"
                                  "  crl: crl.pem\n"
                                  "  user_from: san_email\n"
                                  "  client_id_from: common_name\n"
                                  "  tls_min: '1.3'\n"
                                  "  ciphers: TLS13-AES256-GCM-SHA384\n"
                                  "  proxy_protocol: required\n"
                                  "  proxy_from: 10.0.0.0/8\n"
                                  "  origins: https://a.example\n",
                                  NULL, NULL);
    const struct config_listener *const l = &c->listeners[0];
    cr_expect_str_eq(l->url, "wss://*:1/mqtt");
    cr_expect_str_eq(l->certificate, "a.pem, b.pem");
    cr_expect_str_eq(l->key, "a.key, b.key");
    cr_expect_eq(l->client_certificate, CONFIG_CLIENT_OPTIONAL);
    cr_expect_str_eq(l->client_ca, "ca.pem");
    cr_expect_str_eq(l->crl, "crl.pem");
    cr_expect_eq(l->user_from, CONFIG_FROM_SAN_EMAIL);
    cr_expect_eq(l->client_id_from, CONFIG_FROM_COMMON_NAME);
    cr_expect_eq(l->tls_min, CONFIG_TLS_1_3);
    cr_expect_str_eq(l->ciphers, "TLS13-AES256-GCM-SHA384");
    cr_expect_eq(l->proxy_protocol, CONFIG_PROXY_REQUIRED);
    cr_expect_str_eq(l->proxy_from, "10.0.0.0/8");
    cr_expect_str_eq(l->origins, "https://a.example");
    config_destroy(c);
}

/* There is no entry unless somebody makes one, and then the first that matches counts. */
Test(config, topics)
{
    static const char yaml[] = "topics:\n- filter: sensors/alarm/#\n  durability: sync\n"
                               "- filter: sensors/#\n";
    static const struct {
        const char *topic;
        bool hurries;
    } rows[] = {{"sensors", true},          {"sensors/1", true}, {"sensors/alarm", false},
                {"sensors/alarm/1", false}, {"x", false},        {"x/sensors", false}};
    struct config *const none = load("topics:\n", NULL, NULL);
    struct config *const c = load(yaml, NULL, NULL);
    cr_expect_eq(none->topics_count, 0);
    cr_assert_eq(c->topics_count, 2);
    cr_expect_eq(c->topics[1].durability, CONFIG_DURABILITY_INTERVAL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_not(topics_hurry(none, bytes_text(rows[i].topic)));
        cr_expect_eq(topics_hurry(c, bytes_text(rows[i].topic)), rows[i].hurries, "%s",
                     rows[i].topic);
    }
    config_destroy(none);
    config_destroy(c);

    struct config *const set = load(yaml, LIST("DUNLIN_TOPICS__2__FILTER=x"),
                                    LIST("--set", "topics.0.durability=interval"));
    char *const text = dump(set);
    struct config *const again = load(text, NULL, NULL);
    cr_assert_eq(again->topics_count, 3);
    cr_expect(topics_hurry(again, bytes_text("x")));
    cr_expect(topics_hurry(again, bytes_text("sensors/alarm")));
    free(text);
    config_destroy(set);
    config_destroy(again);
}

Test(config, later_source_wins)
{
    static const char yaml[] = "limits: {connections_max: 2}";
    static const char *const none[] = {NULL};
    const char *const *const environment = LIST("DUNLIN_LIMITS__CONNECTIONS_MAX=3", "HOME=/");
    const char *const *const flags = LIST("--set", "limits.connections_max=4");
    struct config *const c[] = {
        load(NULL, none, NULL),
        load(yaml, none, NULL),
        load(yaml, environment, NULL),
        load(yaml, environment, flags),
        load(yaml, environment,
             LIST("--set=limits.connections_max=4", "--set=limits.connections_max=5")),
    };
    static const uint32_t want[] = {100000, 2, 3, 4, 5};
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        cr_expect_eq(c[i]->limits.connections_max, want[i]);
        config_destroy(c[i]);
    }
}

Test(config, short_flags_set_their_keys)
{
    struct config *const c = load("log: {level: error}\ndata: {dir: /a}", NULL,
                                  LIST("--data", "/b", "--log-level=debug"));
    cr_expect_str_eq(c->data.dir, "/b");
    cr_expect_eq(c->log.level, LOG_DEBUG);
    config_destroy(c);
}

static void expect_urls(struct config *c, const char *urls)
{
    char all[512] = "";
    for (unsigned i = 0; i < c->listeners_count; i++) {
        const size_t len = strlen(all);
        snprintf(all + len, sizeof all - len, "%s%s", i == 0 ? "" : " ", c->listeners[i].url);
    }
    cr_expect_str_eq(all, urls);
    config_destroy(c);
}

Test(config, lists)
{
    static const char two[] = "listeners:\n- url: tcp://127.0.0.1:1\n- url: tcp://127.0.0.1:2\n";
    expect_urls(load(two, NULL, NULL), "tcp://127.0.0.1:1 tcp://127.0.0.1:2");
    expect_urls(load("listeners:\n", NULL, NULL), "tcp://127.0.0.1:1883");

    /* The environment and --set change and add single entries, in whatever order they come. */
    expect_urls(load(two, LIST("DUNLIN_LISTENERS__1__URL=tcp://127.0.0.1:3"), NULL),
                "tcp://127.0.0.1:1 tcp://127.0.0.1:3");
    expect_urls(load(two,
                     LIST("DUNLIN_LISTENERS__3__URL=tcp://127.0.0.1:4",
                          "DUNLIN_LISTENERS__2__URL=tcp://127.0.0.1:3"),
                     NULL),
                "tcp://127.0.0.1:1 tcp://127.0.0.1:2 tcp://127.0.0.1:3 tcp://127.0.0.1:4");

    /* --listen replaces all, and --set then means the new ones, wherever it stood. */
    expect_urls(load(two, LIST("DUNLIN_LISTENERS__1__URL=tcp://127.0.0.1:3"),
                     LIST("--listen", "tcp://127.0.0.1:5")),
                "tcp://127.0.0.1:5");
    expect_urls(load(two, NULL,
                     LIST("--set", "listeners.1.url=tcp://127.0.0.1:7", "--listen",
                          "tcp://127.0.0.1:5", "--listen", "tcp://127.0.0.1:6")),
                "tcp://127.0.0.1:5 tcp://127.0.0.1:7");
}

Test(config, nothing_written_is_the_default)
{
    static const char *const yamls[] = {"", "# nothing\n", "---\n", "~\n", "limits:\nlog: ~\n"};
    struct config *const by_default = load(NULL, NULL, NULL);
    char *const want = dump(by_default);
    for (size_t i = 0; i < sizeof yamls / sizeof yamls[0]; i++) {
        struct config *const c = load(yamls[i], NULL, NULL);
        char *const got = dump(c);
        cr_expect_str_eq(got, want);
        free(got);
        config_destroy(c);
    }
    free(want);
    config_destroy(by_default);
}

Test(config, value_from_a_file)
{
    static const struct {
        const char *text;
        const char *value;
    } rows[] = {
        {"abc", "abc"},   {"abc\n", "abc"}, {"abc\r\n", "abc"},
        {"a b ", "a b "}, {"", ""},         {"\n", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sources_write("secret", rows[i].text, strlen(rows[i].text));
        struct config *const c =
            load(NULL, LIST("DUNLIN_MQTT__RESPONSE_INFORMATION_FILE=secret"), NULL);
        cr_expect_str_eq(c->mqtt.response_information, rows[i].value);
        config_destroy(c);
    }
}

/* Kubernetes sets these in each container, for a Service called dunlin or dunlin-admin. */
Test(config, variables_of_kubernetes_are_passed_over)
{
    config_destroy(
        load(NULL,
             LIST("DUNLIN_SERVICE_HOST=10.0.0.1", "DUNLIN_SERVICE_PORT=1883",
                  "DUNLIN_SERVICE_PORT_MQTT=1883", "DUNLIN_PORT=tcp://10.0.0.1:1883",
                  "DUNLIN_PORT_1883_TCP=tcp://10.0.0.1:1883", "DUNLIN_PORT_1883_TCP_PROTO=tcp",
                  "DUNLIN_PORT_1883_TCP_PORT=1883", "DUNLIN_PORT_1883_TCP_ADDR=10.0.0.1",
                  "DUNLIN_ADMIN_SERVICE_HOST=10.0.0.2", "DUNLIN_ADMIN_PORT=tcp://x",
                  "DUNLIN_ADMIN_PORT_80_TCP=tcp://x", "DUNLINISH=1", "DUNLIN"),
             NULL));
}

static void count_change(void *context, const char *path, bool reloadable, const char *before,
                         const char *after)
{
    (void)path, (void)reloadable, (void)before, (void)after;
    ++*(unsigned *)context;
}

/* What is dumped loads to the same, and dumps to the same but for the origins. */
Test(config, dump_loads_to_the_same)
{
    struct config *const c =
        load("limits:\n  session_queue_bytes_max: 3 GiB\n"
             "  output_bytes_max: 1025\n  message_memory_max: 2MiB\n"
             "mqtt: {response_information: \"a \\\"b\\\" \\\\ ~ : \xc3\xa9\"}\n"
             "listeners: [{url: 'tcp://*:0'}, {url: 'tcp://[::1]:1883'}]\n",
             LIST("DUNLIN_DATA__DIR=- x: 'y' # z"),
             LIST("--set", "allow_anonymous=true", "--log-level", "debug"));
    char *const text = dump(c);
    struct config *const again = load(text, NULL, NULL);
    unsigned changes = 0;
    config_diff(c, again, count_change, &changes);
    cr_expect_eq(changes, 0);
    cr_expect_eq(again->limits.session_queue_bytes_max, 3ull << 30);
    cr_expect_eq(again->limits.output_bytes_max, 1025);
    cr_expect_str_eq(again->data.dir, "- x: 'y' # z");
    cr_expect_str_eq(again->mqtt.response_information, "a \"b\" \\ ~ : \xc3\xa9");

    char *const text_again = dump(again);
    const char *a = text, *b = text_again;
    while (*a != '\0') {
        const size_t a_len = strcspn(a, "\n"), b_len = strcspn(b, "\n");
        const char *const a_mark = memmem(a, a_len, "  # ", 4), *const b_mark =
                                                                    memmem(b, b_len, "  # ", 4);
        const size_t a_value = a_mark == NULL ? a_len : (size_t)(a_mark - a);
        const size_t b_value = b_mark == NULL ? b_len : (size_t)(b_mark - b);
        cr_expect(a_value == b_value && memcmp(a, b, a_value) == 0, "%.*s / %.*s", (int)a_len, a,
                  (int)b_len, b);
        a += a_len + 1;
        b += b_len + 1;
    }
    free(text);
    free(text_again);
    config_destroy(c);
    config_destroy(again);
}

/* What is not said of an entry has its default, whichever source the entry is from. */
Test(config, entries_of_a_list_are_completed)
{
    struct config *const c =
        load("listeners:\n- url: unix:///a\n  unix_mode: '0660'\n- url: tcp://*:1\n",
             LIST("DUNLIN_LISTENERS__1__PROXY_PROTOCOL=required",
                  "DUNLIN_LISTENERS__1__PROXY_FROM=10.0.0.0/8"),
             NULL);
    cr_assert_eq(c->listeners_count, 2);
    cr_expect_str_eq(c->listeners[0].unix_mode, "0660");
    cr_expect_str_eq(c->listeners[1].unix_mode, "");
    cr_expect_eq(c->listeners[0].proxy_protocol, CONFIG_PROXY_OFF);
    cr_expect_eq(c->listeners[1].proxy_protocol, CONFIG_PROXY_REQUIRED);
    cr_expect_str_eq(c->listeners[1].proxy_from, "10.0.0.0/8");
    cr_expect_eq(c->listeners[1].tls_min, CONFIG_TLS_1_2);
    config_destroy(c);
}

Test(config, dump_shows_origins)
{
    struct config *const c = load("limits:\n  topic_levels_max: 7\n  sessions_max: 8\n",
                                  LIST("DUNLIN_LIMITS__SESSIONS_MAX=9"),
                                  LIST("--listen", "tcp://[::1]:1", "--listen", "tcp://*:2"));
    char *const text = dump(c);
    static const char *const lines[] = {
        "node:\n  name: \"\"  # default\n  shards: 0  # default\n",
        "listeners:\n  - url: \"tcp://[::1]:1\"  # --listen\n    unix_mode: \"\"  # default\n",
        "    connections_max: 0  # default\n  - url: \"tcp://*:2\"  # --listen\n    unix_mode",
        "allow_anonymous: false  # default\n",
        "  topic_levels_max: 7  # dunlin.yaml:2\n",
        "  sessions_max: 9  # env DUNLIN_LIMITS__SESSIONS_MAX\n",
        "  session_queue_bytes_max: 64 MiB  # default\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        cr_expect_not_null(strstr(text, lines[i]), "%s in\n%s", lines[i], text);
    }
    free(text);
    config_destroy(c);
}

static void note_change(void *context, const char *path, bool reloadable, const char *before,
                        const char *after)
{
    char *const text = context;
    const size_t len = strlen(text);
    snprintf(text + len, 512 - len, "%s %s: %s -> %s\n", path, reloadable ? "live" : "start",
             before, after);
}

Test(config, diff_tells_what_a_reload_can_take)
{
    char changes[512] = "";
    struct config *const before = load("limits: {output_bytes_max: 2 MiB}", NULL, NULL);
    struct config *const after =
        load("limits: {connections_max: 5, output_bytes_max: 2048 KiB}\nnode: {shards: 2}\n"
             "listeners: [{url: 'tcp://127.0.0.1:1'}, {url: 'tcp://127.0.0.1:2'}]\n"
             "topics: [{filter: a}, {filter: b, durability: sync}]",
             NULL, NULL);
    config_diff(before, after, note_change, changes);
    cr_expect_str_eq(
        changes,
        "node.shards start: 0 -> 2\n"
        "listeners.*.url start: tcp://127.0.0.1:1883 -> tcp://127.0.0.1:1 tcp://127.0.0.1:2\n"
        "topics.*.filter live:  -> a b\n"
        "topics.*.durability live:  -> interval sync\n"
        "limits.connections_max live: 100000 -> 5\n");
    config_destroy(before);
    config_destroy(after);
}

Test(config, reloadable_as_promised)
{
    for (size_t i = 0; i < schema_count(); i++) {
        const struct schema_key *const key = schema_at(i);
        const bool at_start =
            strncmp(key->path, "node.", 5) == 0 || strncmp(key->path, "listeners.", 10) == 0 ||
            (strncmp(key->path, "cluster.", 8) == 0 &&
             strncmp(key->path, "cluster.rebalance_", 18) != 0) ||
            strncmp(key->path, "process.", 8) == 0 || strncmp(key->path, "data.", 5) == 0 ||
            strncmp(key->path, "recorder.", 9) == 0 || strncmp(key->path, "tls.", 4) == 0 ||
            strcmp(key->path, "allow_anonymous") == 0 || strncmp(key->path, "admin.", 6) == 0 ||
            strncmp(key->path, "token.keys_", 11) == 0 ||
            strcmp(key->path, "auth.password_file") == 0 || strcmp(key->path, "acl.file") == 0 ||
            strcmp(key->path, "auth.ban_file") == 0 ||
            (strncmp(key->path, "http.", 5) == 0 && strcmp(key->path, "http.remember_s") != 0 &&
             strcmp(key->path, "http.when_away") != 0);
        cr_expect_eq(key->reloadable, !at_start, "%s", key->path);
    }
}

Test(config, destroy_takes_null)
{
    config_destroy(NULL);
}
