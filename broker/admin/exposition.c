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
#include "broker/key_server.h"
#include "broker/log/log.h"
#include "broker/message.h"
#include "broker/node.h"
#include "broker/version.h"

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
#define TOTAL(name, value, what) total(p, "dunlin_" #name, what, value);
#include "broker/tbl/gauge.h"
    int64_t left_s;
    if (certificates_time_left(node, &left_s)) {
        gauge(p, "dunlin_certificate_seconds_left",
              "time until the first certificate of a listener ends; below 0: one has ended",
              (double)left_s);
    }
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
              (double)f.allocated_bytes);
        gauge(p, "dunlin_allocator_active_bytes", "pages that hold some of it",
              (double)f.active_bytes);
        gauge(p, "dunlin_allocator_retained_bytes", "address space kept for later",
              (double)f.retained_bytes);
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
    write_counters(&page, node);
    write_gauges(&page, node);
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
