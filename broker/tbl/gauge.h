/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that is as it is now, and what the kernel's interface and the log have counted.
 * Included with GAUGE(), MILLIS() (a time, which Prometheus gets in seconds) and TOTAL() defined,
 * where `node` is a const struct node, and `lines` a struct log_counts of now. */
/* clang-format off */
/*    name                   value                                what */
GAUGE(shards,                node->shard_count,                   "threads that own connections and sessions")
GAUGE(connections,           counters_now(&node->connections),    "connections accepted and not yet closed")
GAUGE(handshakes,            counters_now(&node->handshakes),     "connections at their PROXY, TLS or WebSocket handshake")
GAUGE(clients,               counters_now(&node->clients),        "clients connected")
GAUGE(draining,              counters_are_draining(node),         "whether clients are to go elsewhere: 1 from SIGTERM on, otherwise 0")
GAUGE(sessions,              counters_now(&node->sessions),       "sessions, connected or not")
GAUGE(retained,              counters_now(&node->retained),       "retained messages")
GAUGE(subscriptions,         counters_subscriptions(node),        "subscriptions of all sessions")
GAUGE(shared_subscriptions,  counters_shared_subscriptions(node), "of those, shared ones")
GAUGE(message_memory_max_bytes, atomic_load_explicit(&node->message_memory_max, memory_order_relaxed), "memory that all messages may take (limits.message_memory_max)")
GAUGE(connections_max,       atomic_load_explicit(&node->connections_max, memory_order_relaxed), "connections that there may be (limits.connections_max)")
GAUGE(messages,              message_count(),                     "messages in memory, each once however many it is for")
GAUGE(filters,               index_filter_count(node->index),     "topic filters that somebody is subscribed to")
GAUGE(index_bytes,           index_bytes(node->index),            "memory of the subscription index")
GAUGE(message_memory_bytes,  message_memory(),                    "memory of messages, wherever they are")
GAUGE(acl_bytes,             counters_now(&node->acl_bytes),      "memory of the lists of rules that concern each client, and of clients' own rules")

GAUGE(token_keys_age_seconds, counters_may_look(node) ? key_server_age_s(node->key_server) : 0, "time since the keys of token.keys_url came last, or since the start if they never did; 0 without it")
GAUGE(kept_sessions,         counters_now(&node->kept_sessions),   "sessions that are kept on disk")
GAUGE(deliveries_on_disk,    counters_now(&node->deliveries_on_disk), "QoS 1 and 2 deliveries that are queued on disk only")
GAUGE(answers_owed,          counters_now(&node->answers_owed),    "answers to clients that wait until what they say is kept")
GAUGE(wills_open,            counters_now(&node->wills_open),      "wills of kept sessions that are being published, until all of it is on disk")
GAUGE(journal_segments,      counters_now(&node->journal_segments), "files of the journals")
GAUGE(disk_troubles,         atomic_load_explicit(&node->disk_troubles, memory_order_relaxed), "shards whose disk takes nothing at the moment")
MILLIS(unkept,               counters_unkept_ms(node),             "age of the oldest entry that is not on disk; what a crash now would lose of what data.durability or topics acknowledges at once")
MILLIS(checkpoint_age,       counters_checkpoint_age_ms(node),     "time since the beginning of the newest checkpoint that is on disk, of the shard where that is longest; it grows, too, while nothing changes that would have to be written; 0: there is none yet")
GAUGE(http_requests,         counters_may_look(node) ? callbacks_load(node->callbacks) : 0,   "questions to the server of http.url, waiting or under way")
GAUGE(traces,                counters_now(&node->traces),          "traces under way, which somebody watches by the API")
GAUGE(links,                 counters_link(node, PEERS_LINKS),         "links with other nodes that are alive; one for each shard of the node that has fewer")
GAUGE(links_up,              counters_link(node, PEERS_LINKS_UP),      "of those, connected")
GAUGE(links_slow,            counters_link(node, PEERS_LINKS_SLOW),    "links that hold as much as slows publishers, as the other node takes too little")
GAUGE(link_kept_bytes,       counters_link(node, PEERS_KEPT_BYTES),    "memory of numbered frames that other nodes have not acknowledged")
GAUGE(link_passing_bytes,    counters_link(node, PEERS_PASSING_BYTES), "memory of frames without a number that are still to be sent to other nodes")

TOTAL(token_keys_fetched,    key_server_fetched(node->key_server),      "times that keys came from token.keys_url")
TOTAL(token_keys_failed,     key_server_failed(node->key_server),       "times that token.keys_url gave no good answer, and the former keys stayed in force")
TOTAL(io_turns,              counters_io(node, IO_TURNS),               "waits for the kernel that came back")
TOTAL(io_submission_full,    counters_io(node, IO_SUBMISSION_FULL),     "times that the submission queue was full")
TOTAL(io_completion_overflow, counters_io(node, IO_COMPLETION_OVERFLOW), "turns that began with the kernel holding completions back")
TOTAL(io_no_buffer,          counters_io(node, IO_NO_BUFFER),           "receives that ended for want of a buffer, and were started again")
TOTAL(io_partial_send,       counters_io(node, IO_PARTIAL_SEND),        "sends that the kernel did in part, and were continued")
TOTAL(io_accept_failed,      counters_io(node, IO_ACCEPT_FAILED),       "connections that could not be accepted")
TOTAL(io_wake_ups,           counters_io(node, IO_WAKE_UPS),            "wake-ups sent to other shards")
TOTAL(api_requests,          counters_total(&node->api_requests),        "requests of the API that were let in")
TOTAL(api_denied,            counters_total(&node->api_denied),          "requests of the API refused: no key, a wrong one, one that may not, or too many guesses")
TOTAL(api_busy,              counters_total(&node->api_busy),            "requests of the API answered with 503: too many at a time, or a shard that had too much to do")
TOTAL(log_lines,             lines.written,                             "lines of the log")
TOTAL(log_lines_dropped,     lines.dropped,                             "lines of the log lost because it could not be written fast enough")
TOTAL(log_lines_suppressed,  lines.suppressed,                          "lines of the log left out because their place had many")
#undef GAUGE
#undef MILLIS
#undef TOTAL
/* clang-format on */
