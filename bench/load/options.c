/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/options.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/load/plan.h"
#include "bench/load/stamp.h"

#define TEXT_BYTES_MAX 64u /* of a topic's or client identifier's prefix, a name, a password */

enum option_type {
    NUMBER, /* uint64_t; 64k, 1M, 2G are understood as powers of 1024 */
    REAL,   /* double */
    TEXT,   /* const char * */
    KIND,   /* enum foreign_kind, as a uint64_t */
    FLAG,   /* bool */
};

/* clang-format off */
static const struct option {
    const char *name;
    enum option_type type;
    size_t at;           /* in struct options */
    double least, most;  /* of numbers; of a text, its bytes */
    const char *value;   /* as the help calls it */
    const char *help;
} options[] = {
#define AT(field) offsetof(struct options, field)
    {"url", TEXT, AT(url_text), 1, 600, "URL", "where the broker is (tcp://127.0.0.1:1883): tcp, tls, ws or wss"},
    {"subscribe-url", TEXT, AT(subscribe_url_text), 1, 600, "URL", "where those are who do not publish, by the same transport: another node of the cluster (as --url)"},
    {"version", NUMBER, AT(version), 3, 5, "N", "MQTT version: 4 is 3.1.1 (the default), 5 is 5.0"},
    {"user", TEXT, AT(user_name), 0, TEXT_BYTES_MAX, "NAME", "user name"},
    {"password", TEXT, AT(password), 0, TEXT_BYTES_MAX, "TEXT", "password"},
    {"ca", TEXT, AT(ca_file), 1, 4096, "FILE", "PEM: certificates that the broker's has to come from (any will do)"},
    {"keep-sessions", FLAG, AT(keep_sessions), 0, 0, "", "subscribers' sessions outlive their connections: a broker may keep them on disk"},
    {"resume", FLAG, AT(resume), 0, 0, "", "all TLS connections but a thread's first resume its session"},
    {"client-id", TEXT, AT(client_id), 1, TEXT_BYTES_MAX, "PREFIX", "prefix of all client identifiers"},
    {"topic", TEXT, AT(topic), 1, TEXT_BYTES_MAX, "PREFIX", "prefix of all topics (one of this process)"},
    {"sources", NUMBER, AT(sources), 0, 200, "N", "come from N addresses from 127.0.1.1 on; each has about 28,000 ports"},

    {"publishers", NUMBER, AT(publishers), 0, 1000000, "N", "how many publish"},
    {"subscribers", NUMBER, AT(subscribers), 0, 1000000, "N", "how many subscribe"},
    {"idle", NUMBER, AT(idle), 0, 10000000, "N", "further connections that do nothing"},
    {"connect-rate", REAL, AT(connect_rate), 0, 1e7, "N", "connections begun a second (as many as --connecting allows)"},
    {"connecting", NUMBER, AT(connecting), 1, 1000000, "N", "most that a thread has under way at a time (200)"},

    {"foreign", NUMBER, AT(foreign), 0, 1e8, "N", "pair, wildcard: filters of others, which match nothing"},
    {"foreign-kind", KIND, AT(foreign_kind), 0, 0, "KIND", "exact, plus, hash, or mixed (mixed)"},
    {"foreign-below", FLAG, AT(foreign_below), 0, 0, "", "they share the first level of the messages' topics"},
    {"foreign-same", FLAG, AT(foreign_same), 0, 0, "", "every client has the same of them"},
    {"foreign-per-client", NUMBER, AT(foreign_per_client), 32, 1e6, "N", "how many of them one client has (5000)"},
    {"foreign-churn", REAL, AT(churn_rate), 0, 1e6, "N", "so many of them are removed and added again a second"},

    {"qos", NUMBER, AT(qos), 0, 2, "N", "of publishing and subscribing (0)"},
    {"payload", NUMBER, AT(payload), STAMP_BYTES, 1 << 28, "BYTES", "16 or more (64)"},
    {"topics", NUMBER, AT(topics), 1, 9999999, "N", "each publisher goes through so many topics (1)"},
    {"retain", FLAG, AT(retain), 0, 0, "", "publish retained messages"},
    {"rate", REAL, AT(rate), 0, 1e9, "N", "messages a second of all publishers together: an open loop, each message in a write of its own"},
    {"burst", NUMBER, AT(burst), 1, 4096, "N", "with --rate: so many messages at a time, in one write (1)"},
    {"window", NUMBER, AT(window), 1, 60000, "N", "without --rate: messages that a publisher has under way (100); it goes on when half of them have arrived"},
    {"count", NUMBER, AT(count), 0, 1e12, "N", "messages of each publisher (as many as the time allows)"},
    {"duration", REAL, AT(duration_s), 0, 86400, "S", "seconds that are measured (10)"},
    {"warmup", REAL, AT(warmup_s), 0, 3600, "S", "seconds before these (1)"},
    {"drain", REAL, AT(drain_s), 0, 3600, "S", "longest wait for what does not come (3)"},

    {"pid", NUMBER, AT(pid), 1, 1 << 30, "PID", "of the broker: tell its processor time and memory"},
    {"threads", NUMBER, AT(threads), 1, 64, "N", "of this program (1)"},
    {"relay", FLAG, AT(relay), 0, 0, "", "the other end is dunlin-relay, which does not know MQTT"},
    {"json", TEXT, AT(json), 1, 4096, "FILE", "write the figures there; - is standard output, and nothing else then"},
    {"strict", FLAG, AT(strict), 0, 0, "", "any loss or repetition is a failure, whatever the QoS"},
    {"quiet", FLAG, AT(quiet), 0, 0, "", "no progress"},
#undef AT
};
/* clang-format on */

#define OPTIONS (sizeof options / sizeof options[0])

static enum options_next bad(const char *what, const char *why)
{
    fprintf(stderr, "dunlin-bench: %s: %s; --help tells more\n", what, why);
    return OPTIONS_BAD;
}

static void print_help(void)
{
    puts("usage: dunlin-bench SCENARIO [--OPTION VALUE]…\n\n"
         "Puts a load on an MQTT broker, checks that nothing is lost, repeated or out of order,\n"
         "and tells rates, latencies, and what it cost the broker.\n\nScenarios:");
    for (unsigned i = 0; i < scenario_count; i++) {
        printf("  %-10s %s\n", scenarios[i].name, scenarios[i].help);
    }
    puts("\nOptions (with their defaults):");
    for (size_t i = 0; i < OPTIONS; i++) {
        char left[40];
        snprintf(left, sizeof left, "--%s %s", options[i].name, options[i].value);
        printf("  %-22s %s\n", left, options[i].help);
    }
    puts("\nWith --rate, latency counts from the time a message was meant to be sent, so a broker\n"
         "that stalls cannot hide it. Without, each publisher keeps --window messages under way.\n"
         "Exit status: 0; 1 when a promise of the QoS was broken (loss at QoS 1 or 2, repetition "
         "at\n"
         "QoS 0 or 2, order at any); 2 when it could not be run.\n\nExamples:\n"
         "  dunlin-bench pair --rate 10000 --pid $(pidof mosquitto)\n"
         "  dunlin-bench fan-out --subscribers 1000 --qos 1 --payload 1k --json out.json\n"
         "  dunlin-bench conn --idle 10000 --connect-rate 2000 --duration 60");
}

static bool parse_number(const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    if (end == text || !isfinite(*value)) {
        return false;
    }
    const char *const units = "kMG", *const unit = *end != '\0' ? strchr(units, *end) : NULL;
    for (const char *u = units; unit != NULL && u <= unit; u++) {
        *value *= 1024;
    }
    return end[unit != NULL] == '\0';
}

static bool store(struct options *o, const struct option *option, const char *text)
{
    void *const at = (char *)o + option->at;
    double value;
    switch (option->type) {
    case FLAG:
        *(bool *)at = true;
        return true;
    case TEXT:
        *(const char **)at = text;
        return strlen(text) >= (size_t)option->least && strlen(text) <= (size_t)option->most;
    case KIND:
        for (uint64_t i = 0; i < FOREIGN_KINDS; i++) {
            if (strcmp(text, foreign_kind_names[i]) == 0) {
                *(uint64_t *)at = i;
                return true;
            }
        }
        return false;
    case NUMBER:
        if (!parse_number(text, &value) || value != floor(value)) {
            return false;
        }
        *(uint64_t *)at = value >= 0 ? (uint64_t)value : 0;
        break;
    default:
        if (!parse_number(text, &value)) {
            return false;
        }
        *(double *)at = value;
        break;
    }
    return value >= option->least && value <= option->most;
}

static const struct option *find(const char *argument)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        if (strncmp(argument, "--", 2) == 0 && strcmp(argument + 2, options[i].name) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

static enum options_next check_late(struct options *o)
{
    if (o->qos == 0) {
        return bad("--qos", "it has to be 1 or 2: else nobody can tell when all has been stored");
    }
    o->count = o->count > 0 ? o->count : o->topics;
    return OPTIONS_RUN;
}

static enum options_next check(struct options *o)
{

    const char *const why = url_parse(&o->url, o->url_text);
    if (why != NULL) {
        return bad(o->url_text, why);
    }
    if (o->subscribe_url_text == NULL) {
        o->subscribe_url_text = o->url_text;
    }
    const char *const why_not = url_parse(&o->subscribe_url, o->subscribe_url_text);
    if (why_not != NULL) {
        return bad(o->subscribe_url_text, why_not);
    }
    if (o->subscribe_url.is_tls != o->url.is_tls ||
        o->subscribe_url.is_websocket != o->url.is_websocket) {
        return bad(o->subscribe_url_text, "it has to have the scheme of --url");
    }
    if (strpbrk(o->topic, "+#") != NULL) {
        return bad("--topic", "a prefix of topics has no wildcards");
    }
    if (o->relay && o->qos == 2) {
        return bad("--relay", "it does not know the four steps of QoS 2");
    }
    if (o->relay && o->publishers > 1 && strcmp(o->scenario->name, "pair") != 0) {
        return bad("--relay", "it cannot tell where a message ends, so a sink has one source");
    }
    if (o->churn_rate > 0 && o->foreign < FOREIGN_PER_PACKET) {
        return bad("--foreign-churn", "there are too few --foreign filters");
    }
    static char first_level[TEXT_BYTES_MAX];
    snprintf(first_level, sizeof first_level, "%.*s", (int)strcspn(o->topic, "/"), o->topic);
    o->foreign_shape = (struct foreign){.kind = (enum foreign_kind)o->foreign_kind,
                                        .first_level = o->foreign_below ? first_level : NULL};
    return o->scenario->kind == SCENARIO_LATE ? check_late(o) : OPTIONS_RUN;
}

static void set_defaults(struct options *o, const struct scenario *scenario)
{
    static char prefix[TEXT_BYTES_MAX];
    snprintf(prefix, sizeof prefix, "bench/%x", (unsigned)getpid());
    *o = (struct options){
        .scenario = scenario,
        .url_text = "tcp://127.0.0.1:1883",
        .topic = prefix,
        .client_id = prefix,
        .duration_s = 10,
        .warmup_s = 1,
        .drain_s = 3,
        .publishers = scenario->by_default.publishers,
        .subscribers = scenario->by_default.subscribers,
        .idle = scenario->by_default.idle,
        .qos = scenario->by_default.qos,
        .topics = scenario->by_default.topics > 0 ? scenario->by_default.topics : 1,
        .foreign = scenario->by_default.foreign,
        .foreign_per_client = 5000,
        .foreign_kind = FOREIGN_MIXED,
        .payload = 64,
        .window = 100,
        .burst = 1,
        .version = 4,
        .threads = 1,
        .count = scenario->by_default.count,
        .retain = scenario->by_default.retain,
        .connecting = scenario->by_default.connecting > 0 ? scenario->by_default.connecting : 200,
    };
}

enum options_next options_parse(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help();
            return OPTIONS_DONE;
        }
    }
    const struct scenario *const scenario = argc > 1 ? scenario_find(argv[1]) : NULL;
    if (scenario == NULL) {
        return bad(argc > 1 ? argv[1] : "SCENARIO", "there is no such scenario");
    }
    set_defaults(o, scenario);
    for (int i = 2; i < argc; i++) {
        const struct option *const option = find(argv[i]);
        if (option == NULL) {
            return bad(argv[i], "there is no such option");
        }
        const bool has_value = option->type != FLAG;
        if (has_value && i + 1 == argc) {
            return bad(argv[i], "its value is missing");
        }
        if (!store(o, option, has_value ? argv[i + 1] : NULL)) {
            return bad(argv[i], "that value is not in its range");
        }
        i += has_value;
    }
    return check(o);
}
