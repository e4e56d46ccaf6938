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

static double ratio(double of, double to)
{
    return to > 0 ? of / to : 0;
}

static double per_operation(const struct stage *s, uint64_t begin, uint64_t end)
{
    return ratio((double)end - (double)begin, (double)s->operations);
}

static bool is_about_connecting(const struct run *r)
{
    const enum scenario_kind kind = r->options->scenario->kind;
    return kind == SCENARIO_CONNECT || kind == SCENARIO_CHURN;
}

/* ---- for people */

static void print_broker(const struct stage *s)
{
    const struct process_usage *const b = &s->broker_begin, *const e = &s->broker_end;
    const double busy_ns = (double)(e->processor_ns - b->processor_ns);
    printf("           broker: %.3f us each (user %.3f, system %.3f), %.0f %% of a processor\n",
           per_operation(s, b->processor_ns, e->processor_ns) / 1e3,
           per_operation(s, b->user_ns, e->user_ns) / 1e3,
           per_operation(s, b->system_ns, e->system_ns) / 1e3, ratio(busy_ns, s->seconds * 1e7));
    printf("           memory: %.1f MiB resident, %+.0f bytes each; %.1f MiB proportional\n",
           (double)e->rss_bytes / 1048576, per_operation(s, b->rss_bytes, e->rss_bytes),
           (double)e->pss_bytes / 1048576);
}

static void print_stage(const struct run *r, const struct stage *s)
{
    printf("%-10s %" PRIu64 " %ss in %.2f s, %.0f a second", s->name, s->operations, s->operation,
           s->seconds, ratio((double)s->operations, s->seconds));
    const uint64_t received = s->end.received - s->begin.received;
    if (received > 0) {
        printf(", %.1f MiB/s",
               ratio((double)received * (double)r->options->payload / 1048576, s->seconds));
    }
    printf("\n");
    if (r->has_broker) {
        print_broker(s);
    }
}

static void print_latency(const struct run *r)
{
    printf("%-10s", is_about_connecting(r) ? "connecting" : "latency");
    for (size_t i = 0; i < PERCENTILES; i++) {
        printf(" %s %.1f us,", percentiles[i].name,
               (double)histogram_percentile(&r->latency, percentiles[i].percent) / 1e3);
    }
    printf(" most %.1f us\n", (double)r->latency.most / 1e3);
}

void report_print(const struct run *r, const struct faults *f)
{
    const struct options *const o = r->options;
    printf("%s, %s: QoS %" PRIu64 ", %" PRIu64 " bytes, %u publishers, %u connections\n",
           o->scenario->name, o->url_text, o->qos, o->payload, r->plan.publisher_count,
           r->plan.client_count);
    for (unsigned i = 0; i < r->stage_count; i++) {
        print_stage(r, &r->stages[i]);
    }
    if (r->latency.count > 0) {
        print_latency(r);
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
    if (r->finish.resumed > 0) {
        printf("resumed    %" PRIu64 " TLS sessions\n", r->finish.resumed);
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

static void json_broker(FILE *out, const struct stage *s)
{
    const struct process_usage *const b = &s->broker_begin, *const e = &s->broker_end;
    json_count(out, "processor_ns", e->processor_ns - b->processor_ns);
    json_count(out, "user_ns", e->user_ns - b->user_ns);
    json_count(out, "system_ns", e->system_ns - b->system_ns);
    json_number(out, "ns_each", per_operation(s, b->processor_ns, e->processor_ns));
    json_count(out, "rss_begin_bytes", b->rss_bytes);
    json_count(out, "rss_end_bytes", e->rss_bytes);
    json_count(out, "pss_begin_bytes", b->pss_bytes);
    json_count(out, "pss_end_bytes", e->pss_bytes);
    json_number(out, "rss_bytes_each", per_operation(s, b->rss_bytes, e->rss_bytes));
}

/* By name. */
static void json_stages(FILE *out, const struct run *r)
{
    fputs("  \"stages\": {\n", out);
    for (unsigned i = 0; i < r->stage_count; i++) {
        const struct stage *const s = &r->stages[i];
        fprintf(out, "  \"%s\": {\n", s->name);
        json_text(out, "operation", s->operation);
        json_count(out, "operations", s->operations);
        json_number(out, "per_s", ratio((double)s->operations, s->seconds));
        if (r->has_broker) {
            json_broker(out, s);
        }
        json_count(out, "sent", s->end.sent - s->begin.sent);
        json_count(out, "received", s->end.received - s->begin.received);
        fprintf(out, "  \"seconds\": %.6f\n  }%s\n", s->seconds, i + 1 < r->stage_count ? "," : "");
    }
    fputs("  },\n", out);
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
    json_stages(out, r);
    json_latency(out, &r->latency);
    json_count(out, "sent", r->finish.sent);
    json_count(out, "received", r->finish.received);
    json_count(out, "writes", r->finish.writes);
    json_count(out, "reads", r->finish.reads);
    json_count(out, "connected", r->finish.connected);
    json_count(out, "resumed", r->finish.resumed);
    json_count(out, "refused", r->finish.refused);
    json_count(out, "broken_connections", r->finish.broken);
    json_count(out, "churned_filters", r->finish.churned);
    json_count(out, "unsent", r->finish.unsent);
    json_count(out, "expected", f->expected);
    json_count(out, "lost", f->lost);
    json_count(out, "duplicates", f->duplicates);
    json_count(out, "disordered", f->disordered);
    fprintf(out, "  \"broken_promise\": %s\n}\n", f->broken_promise ? "true" : "false");
    const bool written = ferror(out) == 0;
    return (out == stdout ? fflush(out) == 0 : fclose(out) == 0) && written;
}
