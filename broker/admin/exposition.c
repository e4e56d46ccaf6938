/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/exposition.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/admin/process.h"
#include "broker/callbacks.h"
#include "broker/certificates.h"
#include "broker/counters.h"
#include "broker/gossip/gossiper.h"
#include "broker/histogram.h"
#include "broker/key_server.h"
#include "broker/log/log.h"
#include "broker/message.h"
#include "broker/node.h"
#include "broker/shard/shard.h"
#include "broker/tally.h"
#include "broker/transport/listener.h"
#include "broker/version.h"
#include "proto/mqtt.h"
#include "proto/reason.h"

struct page {
    FILE *out;
    bool openmetrics;
};

/* HELP and TYPE of a family. OpenMetrics names a family of counters without their _total. */
static void family(const struct page *p, const char *name, const char *type, const char *help)
{
    const bool total = strcmp(type, "counter") == 0 && !p->openmetrics;
    const char *const suffix = total ? "_total" : "";
    fprintf(p->out, "# HELP %s%s %c%s.\n# TYPE %s%s %s\n", name, suffix, help[0] & ~0x20, help + 1,
            name, suffix, type);
}

static void total(const struct page *p, const char *name, const char *help, uint64_t value)
{
    family(p, name, "counter", help);
    fprintf(p->out, "%s_total %" PRIu64 "\n", name, value);
}

static void gauge(const struct page *p, const char *name, const char *help, double value)
{
    family(p, name, "gauge", help);
    fprintf(p->out, "%s %.17g\n", name, value);
}

static void write_build(const struct page *p)
{
    family(p, "dunlin_build_info", "gauge", "version of the broker; always 1");
    fprintf(p->out, "dunlin_build_info{version=\"%s\"} 1\n", DUNLIN_VERSION);
}

static void write_backend(const struct page *p, const struct node *node)
{
    family(p, "dunlin_io_backend", "gauge",
           "what the shards wait for the kernel with, io_uring or epoll; always 1");
    fprintf(p->out, "dunlin_io_backend{backend=\"%s\"} 1\n", io_backend_name(node->shards[0]->io));
}

static void write_counters(const struct page *p, const struct node *node)
{
#define COUNTER(name, what) total(p, "dunlin_" #name, what, counters_sum(node, METRIC_##name));
#define DROP(name, what)
#include "broker/tbl/metric.h"

    family(
        p, "dunlin_messages_dropped", "counter",
        "messages that someone might have hoped for and that will not come, by their one reason");
#define COUNTER(name, what)
#define DROP(name, what)                                                                           \
    fprintf(p->out, "dunlin_messages_dropped_total{reason=\"" #name "\"} %" PRIu64 "\n",           \
            counters_sum(node, METRIC_drop_##name));
#include "broker/tbl/metric.h"
}

static void write_gauges(const struct page *p, const struct node *node)
{
    struct log_counts lines;
    log_counts(&lines);
#define GAUGE(name, value, what) gauge(p, "dunlin_" #name, what, (double)(value));
#define MILLIS(name, value, what)                                                                  \
    gauge(p, "dunlin_" #name "_seconds", what, (double)(value) / 1000);
#define TOTAL(name, value, what) total(p, "dunlin_" #name, what, value);
#include "broker/tbl/gauge.h"
    int64_t left_s;
    if (certificates_time_left(node, &left_s)) {
        gauge(p, "dunlin_certificate_seconds_left",
              "time until the first certificate of a listener ends; below 0: one has ended",
              (double)left_s);
    }
}

static void write_cluster(const struct page *p, const struct node *node)
{
    struct gossiper_figures f;
    gossiper_figures(counters_may_look(node) ? node->gossiper : NULL, &f);
#define FIGURE_GAUGE(name, value, what) gauge(p, "dunlin_cluster_" #name, what, (double)(value));
#define FIGURE_TOTAL(name, value, what) total(p, "dunlin_cluster_" #name, what, value);
#include "broker/gossip/tbl/figure.h"
    family(p, "dunlin_cluster_messages_refused", "counter",
           "messages from the network of the cluster that were not opened, by the reason");
#define REFUSED(reason, name)                                                                      \
    fprintf(p->out, "dunlin_cluster_messages_refused_total{reason=\"" #name "\"} %" PRIu64 "\n",   \
            f.refused[SEAL_##reason]);
#include "broker/gossip/tbl/figure.h"
}

/* ---- histograms */

static void write_histogram(const struct page *p, enum histogram which,
                            const struct histogram_sum *sum)
{
    const char *const name = histogram_family(which);
    const char *const labels = histogram_labels(which);
    const char *const comma = labels[0] == '\0' ? "" : ",";
    const char *const open = labels[0] == '\0' ? "" : "{";
    const char *const close = labels[0] == '\0' ? "" : "}";
    uint64_t upto = 0;
    for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++) {
        upto += sum->count[i];
        fprintf(p->out, "dunlin_%s_seconds_bucket{%s%sle=\"%.6f\"} %" PRIu64 "\n", name, labels,
                comma, (double)((uint64_t)HISTOGRAM_FIRST_US << i) / 1e6, upto);
    }
    upto += sum->count[HISTOGRAM_BOUNDS];
    fprintf(p->out, "dunlin_%s_seconds_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma,
            upto);
    fprintf(p->out, "dunlin_%s_seconds_sum%s%s%s %.6f\n", name, open, labels, close,
            (double)sum->sum_us / 1e6);
    fprintf(p->out, "dunlin_%s_seconds_count%s%s%s %" PRIu64 "\n", name, open, labels, close, upto);
}

static void write_histograms(const struct page *p, const struct node *node)
{
    for (unsigned i = 0; i < HISTOGRAMS; i++) {
        const char *const text = histogram_text((enum histogram)i);
        struct histogram_sum sum;
        counters_histogram(node, (enum histogram)i, &sum);
        if (text[0] != '\0') {
            char name[96];
            snprintf(name, sizeof name, "dunlin_%s_seconds", histogram_family((enum histogram)i));
            family(p, name, "histogram", text);
        }
        write_histogram(p, (enum histogram)i, &sum);
    }
}

/* ---- what is counted apart for each listener, and for each reason code */

/* A label's value: a path may have anything in it. */
static void write_escaped(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '\\':
            fputs("\\\\", out);
            break;
        case '"':
            fputs("\\\"", out);
            break;
        case '\n':
            fputs("\\n", out);
            break;
        default:
            fputc(*text, out);
        }
    }
}

/* Two listeners may have the same URL: with port 0, or to share a port. Hence the number. */
static void write_of_listener(const struct page *p, const struct node *node, const char *name,
                              unsigned listener, uint64_t value)
{
    fprintf(p->out, "%s{listener=\"%u\",url=\"", name, listener);
    write_escaped(p->out, node->listeners[listener].settings.url);
    fprintf(p->out, "\"} %" PRIu64 "\n", value);
}

static void write_listeners(const struct page *p, const struct node *node)
{
    if (!counters_may_look(node)) {
        return;
    }
    family(p, "dunlin_listener_connections", "gauge",
           "connections accepted by the listener and not yet closed");
    for (unsigned i = 0; i < node->listener_count; i++) {
        write_of_listener(p, node, "dunlin_listener_connections", i,
                          counters_now(&node->listeners[i].connections));
    }
#define LISTENER_COUNTER(name, what)                                                               \
    family(p, "dunlin_listener_" #name, "counter", what);                                          \
    for (unsigned i = 0; i < node->listener_count; i++) {                                          \
        write_of_listener(p, node, "dunlin_listener_" #name "_total", i,                           \
                          counters_of_listener(node, i, TALLY_##name));                            \
    }
#include "broker/tbl/listener_metric.h"
}

/* "Not authorized" ─▶ not_authorized */
static void write_reason(FILE *out, uint8_t reason)
{
    for (const char *at = mqtt_reason_text(reason); *at != '\0'; at++) {
        fputc(*at == ' ' || *at == '-'   ? '_'
              : *at >= 'A' && *at <= 'Z' ? *at + ('a' - 'A')
                                         : *at,
              out);
    }
}

/* Every reason that the packet may have, also those that it never had. */
static void write_reasons(const struct page *p, const struct node *node)
{
#define REASON_COUNTER(name, type, from_server, what)                                              \
    family(p, "dunlin_" #name, "counter", what);                                                   \
    for (unsigned reason = 0; reason <= UINT8_MAX; reason++) {                                     \
        if (mqtt_reason_allowed((uint8_t)reason, type, from_server)) {                             \
            fputs("dunlin_" #name "_total{reason=\"", p->out);                                     \
            write_reason(p->out, (uint8_t)reason);                                                 \
            fprintf(p->out, "\"} %" PRIu64 "\n",                                                   \
                    counters_of_reason(node, TALLY_##name, (uint8_t)reason));                      \
        }                                                                                          \
    }
#include "broker/tbl/reason_metric.h"
}

/* Under the names that every exporter has them by. */
static void write_process(const struct page *p)
{
    struct process_figures f;
    process_read(&f);
    family(p, "process_cpu_seconds", "counter", "processor time, user and system");
    fprintf(p->out, "process_cpu_seconds_total %.6f\n", f.cpu_s);
    gauge(p, "process_resident_memory_bytes", "resident memory", (double)f.resident_bytes);
    gauge(p, "process_virtual_memory_bytes", "address space", (double)f.virtual_bytes);
    gauge(p, "process_open_fds", "open descriptors", (double)f.open_descriptors);
    gauge(p, "process_max_fds", "descriptors that may be open", (double)f.descriptors_max);
    gauge(p, "process_start_time_seconds", "when the process began, Unix time", f.start_s);
    if (f.has_allocator) {
        gauge(p, "dunlin_allocator_allocated_bytes", "what the broker has asked of the allocator",
              (double)f.allocator.allocated_bytes);
        gauge(p, "dunlin_allocator_active_bytes", "pages that hold some of it",
              (double)f.allocator.active_bytes);
        gauge(p, "dunlin_allocator_metadata_bytes", "what the allocator needs to know of it",
              (double)f.allocator.metadata_bytes);
        gauge(p, "dunlin_allocator_resident_bytes",
              "memory of all that, and of pages kept for later",
              (double)f.allocator.resident_bytes);
        gauge(p, "dunlin_allocator_mapped_bytes", "address space that is in use",
              (double)f.allocator.mapped_bytes);
        gauge(p, "dunlin_allocator_retained_bytes", "address space kept for later",
              (double)f.allocator.retained_bytes);
    }
}

char *exposition_write(const struct node *node, bool openmetrics, size_t *len)
{
    char *text = NULL;
    const struct page page = {.out = open_memstream(&text, len), .openmetrics = openmetrics};
    if (page.out == NULL) {
        return NULL;
    }
    write_build(&page);
    write_backend(&page, node);
    write_counters(&page, node);
    write_gauges(&page, node);
    write_cluster(&page, node);
    write_listeners(&page, node);
    write_reasons(&page, node);
    write_histograms(&page, node);
    write_process(&page);
    if (openmetrics) {
        fputs("# EOF\n", page.out);
    }
    if (fclose(page.out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

bool exposition_wants_openmetrics(const char *accept)
{
    return accept != NULL && strstr(accept, "application/openmetrics-text") != NULL;
}
