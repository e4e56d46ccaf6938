/* SPDX-License-Identifier: Apache-2.0 */
/* Every topic below $SYS/broker/ that has a figure, once. The names and formats are Mosquitto's, so
 * that what reads them from there reads them from here. Included with SYS_FIGURE(), SYS_MAXIMUM()
 * (the highest that was seen) and SYS_LOAD() (a counter's growth a minute, averaged over 1, 5 and
 * 15 minutes) defined, where `node` is a const struct node. */
/* clang-format off */
/*          topic                          value */
SYS_FIGURE("clients/total",                counters_now(&node->sessions))
SYS_FIGURE("clients/connected",            counters_now(&node->clients))
SYS_FIGURE("clients/active",               counters_now(&node->clients))
SYS_FIGURE("clients/disconnected",         away(node))
SYS_FIGURE("clients/inactive",             away(node))
SYS_FIGURE("clients/expired",              counters_sum(node, METRIC_sessions_expired))
SYS_FIGURE("messages/received",            counters_sum(node, METRIC_packets_received))
SYS_FIGURE("messages/sent",                counters_sum(node, METRIC_packets_sent))
SYS_FIGURE("messages/stored",              message_count())
SYS_FIGURE("store/messages/count",         message_count())
SYS_FIGURE("store/messages/bytes",         message_memory())
SYS_FIGURE("publish/messages/received",    counters_sum(node, METRIC_publish_received))
SYS_FIGURE("publish/messages/sent",        counters_sum(node, METRIC_publish_sent))
SYS_FIGURE("publish/messages/dropped",     counters_dropped(node))
SYS_FIGURE("publish/bytes/received",       counters_sum(node, METRIC_publish_bytes_received))
SYS_FIGURE("publish/bytes/sent",           counters_sum(node, METRIC_publish_bytes_sent))
SYS_FIGURE("bytes/received",               counters_sum(node, METRIC_bytes_received))
SYS_FIGURE("bytes/sent",                   counters_sum(node, METRIC_bytes_sent))
SYS_FIGURE("retained messages/count",      counters_now(&node->retained))
SYS_FIGURE("subscriptions/count",          counters_subscriptions(node))
SYS_FIGURE("shared_subscriptions/count",   counters_shared_subscriptions(node))
SYS_FIGURE("connections/socket/count",     counters_sum(node, METRIC_connections_accepted))
SYS_FIGURE("heap/current",                 heap(node))
SYS_MAXIMUM("heap/maximum",                heap(node))
SYS_MAXIMUM("clients/maximum",             counters_now(&node->clients))
SYS_LOAD("load/messages/received",         counters_sum(node, METRIC_packets_received))
SYS_LOAD("load/messages/sent",             counters_sum(node, METRIC_packets_sent))
SYS_LOAD("load/publish/received",          counters_sum(node, METRIC_publish_received))
SYS_LOAD("load/publish/sent",              counters_sum(node, METRIC_publish_sent))
SYS_LOAD("load/publish/dropped",           counters_dropped(node))
SYS_LOAD("load/bytes/received",            counters_sum(node, METRIC_bytes_received))
SYS_LOAD("load/bytes/sent",                counters_sum(node, METRIC_bytes_sent))
SYS_LOAD("load/sockets",                   counters_sum(node, METRIC_connections_accepted))
SYS_LOAD("load/connections",               connects(node))
#undef SYS_FIGURE
#undef SYS_MAXIMUM
#undef SYS_LOAD
/* clang-format on */
