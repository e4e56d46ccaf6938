/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bench/load/options.h"

static const struct {
    const char *name;
    double percent;
} percentiles[] = {
    {"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"p99.99", 99.99},
};

#define PERCENTILES (sizeof percentiles / sizeof percentiles[0])

/* What the measured time is divided by: deliveries, or where none are watched what was sent. */
static uint64_t operations(const struct run *r)
{
    if (r->options->scenario->kind == SCENARIO_CONNECT) {
        return r->end.connected - r->begin.connected;
    }
    const uint64_t received = r->end.received - r->begin.received;
    return received > 0 || r->plan.track_count > 0 ? received : r->end.sent - r->begin.sent;
}

static double per_operation(const struct run *r, uint64_t begin, uint64_t end)
{
    const uint64_t count = operations(r);
    return count > 0 ? (double)(end - begin) / (double)count : 0;
}

static double per_second(const struct run *r, uint64_t begin, uint64_t end)
{
    return r->measured_s > 0 ? (double)(end - begin) / r->measured_s : 0;
}

/* ---- for people */

static void print_broker(const struct run *r)
{
    const struct process_usage *const b = &r->broker_begin, *const e = &r->broker_end;
    const char *const what =
        r->options->scenario->kind == SCENARIO_CONNECT ? "connection" : "message";
    const double cores =
        r->measured_s > 0 ? (double)(e->processor_ns - b->processor_ns) / 1e9 / r->measured_s : 0;
    printf("broker     %.3f us a %s (user %.3f, system %.3f), %.0f %% of a processor\n",
           per_operation(r, b->processor_ns, e->processor_ns) / 1e3, what,
           per_operation(r, b->user_ns, e->user_ns) / 1e3,
           per_operation(r, b->system_ns, e->system_ns) / 1e3, cores * 100);
    printf("memory     %.1f MiB resident (%+.1f), %.1f MiB proportional (%+.1f)\n",
           (double)e->rss_bytes / 1048576, ((double)e->rss_bytes - (double)b->rss_bytes) / 1048576,
           (double)e->pss_bytes / 1048576, ((double)e->pss_bytes - (double)b->pss_bytes) / 1048576);
}

static void print_latency(const struct run *r)
{
    printf("%-10s", r->options->scenario->kind == SCENARIO_CONNECT ? "connecting" : "latency");
    for (size_t i = 0; i < PERCENTILES; i++) {
        printf(" %s %.1f us,", percentiles[i].name,
               (double)histogram_percentile(&r->latency, percentiles[i].percent) / 1e3);
    }
    printf(" most %.1f us\n", (double)r->latency.most / 1e3);
}

void report_print(const struct run *r, const struct faults *f)
{
    const struct options *const o = r->options;
    printf("%s, %s: QoS %" PRIu64 ", %" PRIu64 " bytes, %u publishers, %u connections, %.1f s\n",
           o->scenario->name, o->url_text, o->qos, o->payload, r->plan.publisher_count,
           r->plan.client_count, r->measured_s);
    if (o->scenario->kind == SCENARIO_CONNECT) {
        printf("connected  %" PRIu64 " in %.2f s, %.0f a second; %" PRIu64 " refused, %" PRIu64
               " broken\n",
               r->end.connected, r->connect_s, per_second(r, 0, r->end.connected),
               r->finish.refused, r->finish.broken);
    } else {
        printf("sent       %.0f a second, received %.0f a second (%.1f MiB/s), %.2f messages a "
               "write\n",
               per_second(r, r->begin.sent, r->end.sent),
               per_second(r, r->begin.received, r->end.received),
               per_second(r, r->begin.received, r->end.received) * (double)o->payload / 1048576,
               (double)r->finish.sent / (double)(r->finish.writes + (r->finish.writes == 0)));
    }
    if (r->latency.count > 0) {
        print_latency(r);
    }
    if (r->has_broker) {
        print_broker(r);
    }
    if (r->plan.track_count > 0) {
        printf("checked    %" PRIu64 " deliveries: %" PRIu64 " lost, %" PRIu64 " repeated, %" PRIu64
               " out of order%s\n",
               f->expected, f->lost, f->duplicates, f->disordered,
               f->broken_promise ? "  <- BROKEN PROMISE" : "");
    }
    if (r->finish.unsent > 0) {
        printf("unsent     %" PRIu64 " messages had no room to be sent from: the latency is too "
               "good\n",
               r->finish.unsent);
    }
    if (r->finish.refused + r->finish.broken > 0) {
        printf("clients    %" PRIu64 " refusals, %" PRIu64 " connections ended unasked\n",
               r->finish.refused, r->finish.broken);
    }
}

/* ---- JSON */

static void json_text(FILE *out, const char *name, const char *value)
{
    fprintf(out, "  \"%s\": \"", name);
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\') {
            fprintf(out, "\\%c", *c);
        } else if ((unsigned char)*c >= ' ') {
            fputc(*c, out);
        }
    }
    fputs("\",\n", out);
}

static void json_count(FILE *out, const char *name, uint64_t value)
{
    fprintf(out, "  \"%s\": %" PRIu64 ",\n", name, value);
}

static void json_number(FILE *out, const char *name, double value)
{
    fprintf(out, "  \"%s\": %.9g,\n", name, value);
}

static void json_latency(FILE *out, const struct histogram *h)
{
    fprintf(out, "  \"latency_ns\": {\n    \"count\": %" PRIu64 ",\n    \"mean\": %.1f,\n",
            h->count, histogram_mean(h));
    for (size_t i = 0; i < PERCENTILES; i++) {
        fprintf(out, "    \"%s\": %" PRIu64 ",\n", percentiles[i].name,
                histogram_percentile(h, percentiles[i].percent));
    }
    fprintf(out, "    \"least\": %" PRIu64 ",\n    \"most\": %" PRIu64 "\n  },\n",
            h->count > 0 ? h->least : 0, h->most);
}

static void json_broker(FILE *out, const struct run *r)
{
    const struct process_usage *const b = &r->broker_begin, *const e = &r->broker_end;
    json_count(out, "broker_processor_ns", e->processor_ns - b->processor_ns);
    json_count(out, "broker_user_ns", e->user_ns - b->user_ns);
    json_count(out, "broker_system_ns", e->system_ns - b->system_ns);
    json_number(out, "broker_ns_per_operation", per_operation(r, b->processor_ns, e->processor_ns));
    json_count(out, "broker_rss_begin_bytes", b->rss_bytes);
    json_count(out, "broker_rss_end_bytes", e->rss_bytes);
    json_count(out, "broker_pss_begin_bytes", b->pss_bytes);
    json_count(out, "broker_pss_end_bytes", e->pss_bytes);
}

static void json_settings(FILE *out, const struct run *r)
{
    const struct options *const o = r->options;
    json_text(out, "scenario", o->scenario->name);
    json_text(out, "url", o->url_text);
    json_count(out, "relay", o->relay);
    json_count(out, "version", o->version);
    json_count(out, "qos", o->qos);
    json_count(out, "payload", o->payload);
    json_count(out, "publishers", r->plan.publisher_count);
    json_count(out, "clients", r->plan.client_count);
    json_count(out, "threads", o->threads);
    json_number(out, "rate", o->rate);
    json_count(out, "burst", o->burst);
    json_count(out, "window", o->window);
}

bool report_write_json(const struct run *r, const struct faults *f, const char *path)
{
    FILE *const out = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    if (out == NULL) {
        return false;
    }
    fputs("{\n", out);
    json_settings(out, r);
    json_number(out, "measured_s", r->measured_s);
    json_number(out, "connect_s", r->connect_s);
    json_count(out, "operations", operations(r));
    json_number(out, "operations_per_s", per_second(r, 0, operations(r)));
    json_number(out, "sent_per_s", per_second(r, r->begin.sent, r->end.sent));
    json_latency(out, &r->latency);
    if (r->has_broker) {
        json_broker(out, r);
    }
    json_count(out, "sent", r->finish.sent);
    json_count(out, "received", r->finish.received);
    json_count(out, "writes", r->finish.writes);
    json_count(out, "reads", r->finish.reads);
    json_count(out, "connected", r->finish.connected);
    json_count(out, "refused", r->finish.refused);
    json_count(out, "broken_connections", r->finish.broken);
    json_count(out, "unsent", r->finish.unsent);
    json_count(out, "expected", f->expected);
    json_count(out, "lost", f->lost);
    json_count(out, "duplicates", f->duplicates);
    json_count(out, "disordered", f->disordered);
    fprintf(out, "  \"broken_promise\": %s\n}\n", f->broken_promise ? "true" : "false");
    const bool written = ferror(out) == 0;
    return (out == stdout ? fflush(out) == 0 : fclose(out) == 0) && written;
}
