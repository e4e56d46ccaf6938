/* SPDX-License-Identifier: Apache-2.0 */
/* Every length of time that a shard measures, once: one row is one series of a family. Included
 * with HISTOGRAM() defined. Rows of a family stand together, and `what` is the family's: its first
 * row has it. */
/* clang-format off */
/*        name              family                labels                            what */
HISTOGRAM(delivery_qos0,    publish_to_delivery,  "from=\"local\",qos=\"0\"",       "from a PUBLISH packet, as it came, to its first sending to a subscriber that was connected then; qos is the subscriber's, from says whether the publisher is a client of this node")
HISTOGRAM(delivery_qos1,    publish_to_delivery,  "from=\"local\",qos=\"1\"",       "")
HISTOGRAM(delivery_qos2,    publish_to_delivery,  "from=\"local\",qos=\"2\"",       "")
HISTOGRAM(journal_commit,   journal_commit,       "",                               "from the first entry of a batch that somebody waits for to its being on disk")
HISTOGRAM(journal_write,    journal_write,        "",                               "a write of the journal with its sync, on the disk alone")
HISTOGRAM(checkpoint,       checkpoint,           "",                               "a shard's part of a checkpoint, from its beginning to its being on disk")
HISTOGRAM(handshake_full,   tls_handshake,        "kind=\"full\"",                  "from accepting a TLS connection to the end of its handshake, the client's share included; full or resumed")
HISTOGRAM(handshake_resumed, tls_handshake,       "kind=\"resumed\"",               "")
HISTOGRAM(http_answer,      http_answer,          "",                               "from asking the server of http.url about a client to the end of that, to the millisecond")
HISTOGRAM(turn,             turn,                 "",                               "a turn of a shard's loop, without its waiting for the kernel")
HISTOGRAM(wake_up,          wake_up,              "",                               "from one shard's waking another to the other's being awake")
HISTOGRAM(partition_revival, partition_revival,   "",                               "from being elected to lead a partition of kept sessions to serving it: its sessions are read from disk")
#undef HISTOGRAM
/* clang-format on */
