/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/counters.h"

#include "broker/certificates.h"
#include "broker/io/io.h"
#include "broker/log/log.h"
#include "broker/message.h"
#include "broker/metrics.h"
#include "broker/node.h"
#include "broker/shard/shard.h"

static uint64_t sum(const struct node *node, enum metric metric)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < node->shard_count; i++) {
        total += metrics_read(&node->shards[i]->metrics, metric);
    }
    return total;
}

static uint64_t sum_io(const struct node *node, enum io_counter counter)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < node->shard_count; i++) {
        total += io_counter_read(node->shards[i]->io, counter);
    }
    return total;
}

/* A line each, from a place each: the limit of lines per place must not cut the list short. */
#define LINE(what, number)                                                                         \
    log_event(LOG_INFO, "counter", LOG_TEXT("name", what), LOG_NUMBER("value", number))

static void log_gauges(const struct node *node)
{
    LINE("connections", atomic_load_explicit(&node->connections, memory_order_relaxed));
    LINE("clients", atomic_load_explicit(&node->clients, memory_order_relaxed));
    LINE("sessions", atomic_load_explicit(&node->sessions, memory_order_relaxed));
    LINE("handshakes", atomic_load_explicit(&node->handshakes, memory_order_relaxed));
    int64_t days;
    if (certificates_days_left(node, &days)) {
        LINE("certificate_days_left", days);
    }
    LINE("retained", atomic_load_explicit(&node->retained, memory_order_relaxed));
    LINE("filters", index_filter_count(node->index));
    LINE("index_bytes", index_bytes(node->index));
    LINE("message_memory_bytes", message_memory());
}

static void log_io(const struct node *node)
{
    LINE("io_turns", sum_io(node, IO_TURNS));
    LINE("io_submission_full", sum_io(node, IO_SUBMISSION_FULL));
    LINE("io_completion_overflow", sum_io(node, IO_COMPLETION_OVERFLOW));
    LINE("io_no_buffer", sum_io(node, IO_NO_BUFFER));
    LINE("io_partial_send", sum_io(node, IO_PARTIAL_SEND));
    LINE("io_accept_failed", sum_io(node, IO_ACCEPT_FAILED));
    LINE("io_wake_ups", sum_io(node, IO_WAKE_UPS));
}

void counters_log(const struct node *node)
{
#define COUNTER(name, what) LINE(#name, sum(node, METRIC_##name));
#define DROP(name, what)    LINE("drop_" #name, sum(node, METRIC_drop_##name));
#include "broker/tbl/metric.h"
    log_gauges(node);
    log_io(node);
    struct log_counts lines;
    log_counts(&lines);
    LINE("log_lines", lines.written);
    LINE("log_lines_dropped", lines.dropped);
    LINE("log_lines_suppressed", lines.suppressed);
}
