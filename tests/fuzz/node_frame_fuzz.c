/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_frame_fuzz: any bytes are a frame of another node, or are refused; what is read lies in
 * them, and written again reads the same.
 *
 * Input: the bytes of a frame.
 */
#include <string.h>

#include "proto/mqtt.h"
#include "proto/node_claim.h"
#include "proto/node_consensus.h"
#include "proto/node_control.h"
#include "proto/node_dispatch.h"
#include "proto/node_frame.h"
#include "proto/node_hello.h"
#include "proto/node_interest.h"
#include "proto/node_publish.h"
#include "proto/node_relay.h"
#include "proto/node_retained.h"
#include "proto/property.h"
#include "proto/topic.h"
#include "proto/utf8.h"
#include "tests/fuzz/fuzz.h"

#define BODY_MAX (1u << 20)

static void lies_in(struct bytes part, struct bytes in)
{
    FUZZ_EXPECT(part.len == 0 || (part.at >= in.at && part.len <= in.len &&
                                  (size_t)(part.at - in.at) <= in.len - part.len));
}

static uint8_t *room(size_t len)
{
    uint8_t *out = malloc(len > 0 ? len : 1);
    FUZZ_EXPECT(out != NULL);
    return out;
}

static void hello(struct bytes body)
{
    struct node_hello h, again;
    uint8_t out[NODE_HELLO_BYTES_MAX];
    if (node_hello_decode(&h, body) != NODE_OK || h.protocol_min > NODE_PROTOCOL ||
        h.protocol_max < NODE_PROTOCOL) {
        return;
    }
    lies_in(h.name, body);
    lies_in(h.build, body);
    const size_t len = node_hello_encode(out, &h);
    FUZZ_EXPECT(node_hello_decode(&again, bytes_of(out, len)) == NODE_OK);
    FUZZ_EXPECT(bytes_equal(again.name, h.name) && bytes_equal(again.build, h.build));
    again.name = h.name;
    again.build = h.build;
    FUZZ_EXPECT(again.features == h.features && again.generation == h.generation &&
                again.stream == h.stream && again.received_stream == h.received_stream &&
                again.received_seq == h.received_seq && again.credit == h.credit &&
                again.frame_max == h.frame_max && node_uuid_equal(again.to, h.to));
}

static void publish(struct bytes body)
{
    struct node_publish p, again;
    if (node_publish_decode(&p, body) != NODE_OK) {
        return;
    }
    lies_in(p.topic, body);
    lies_in(p.properties, body);
    lies_in(p.payload, body);
    lies_in(p.groups, body);
    struct bytes rest = p.properties, group, name, filter;
    struct property property;
    while (property_next(&rest, &property)) {
        FUZZ_EXPECT(property.id != PROPERTY_TOPIC_ALIAS);
    }
    rest = p.groups;
    while (node_group_next(&rest, &group)) {
        FUZZ_EXPECT(topic_share_parse(group, &name, &filter));
    }
    FUZZ_EXPECT(rest.len == 0);
    const size_t len = node_publish_encode(NULL, &p);
    uint8_t *const out = room(len);
    FUZZ_EXPECT(node_publish_encode(out, &p) == len);
    FUZZ_EXPECT(node_publish_decode(&again, bytes_of(out, len)) == NODE_OK);
    FUZZ_EXPECT(again.op == p.op && again.publisher == p.publisher && again.qos == p.qos &&
                again.retain == p.retain && again.expiry_ms == p.expiry_ms &&
                again.published_ms == p.published_ms && again.stamp == p.stamp);
    FUZZ_EXPECT(bytes_equal(again.topic, p.topic) && bytes_equal(again.payload, p.payload) &&
                bytes_equal(again.properties, p.properties) && bytes_equal(again.groups, p.groups));
    free(out);
}

static void results(struct bytes body)
{
    struct bytes list;
    struct node_result result;
    if (node_results_decode(&list, body) == NODE_OK) {
        lies_in(list, body);
        size_t count = 0;
        while (node_result_next(&list, &result)) {
            count++;
        }
        FUZZ_EXPECT(count > 0 && list.len == 0);
    }
}

/* Every item that was judged is given. */
static void items(struct bytes list, uint32_t *count)
{
    struct node_interest_item item;
    *count = 0;
    while (node_interest_item_next(&list, &item)) {
        FUZZ_EXPECT(item.kind != NODE_INTEREST_FILTER ||
                    (topic_filter_valid(item.text) && utf8_valid(item.text)));
        uint8_t *const out = room(NODE_INTEREST_ITEM_BYTES + item.text.len);
        FUZZ_EXPECT(node_interest_item_encode(out, &item) ==
                    NODE_INTEREST_ITEM_BYTES + item.text.len);
        free(out);
        (*count)++;
    }
    FUZZ_EXPECT(list.len == 0);
}

static void interest_items(uint8_t type, struct bytes body)
{
    struct node_interest_delta delta;
    struct node_interest_snapshot snapshot;
    uint32_t count;
    if (type == NODE_FRAME_INTEREST_DELTA && node_interest_delta_decode(&delta, body) == NODE_OK) {
        lies_in(delta.items, body);
        items(delta.items, &count);
        FUZZ_EXPECT(count == delta.count && count > 0);
    } else if (type == NODE_FRAME_INTEREST_SNAPSHOT &&
               node_interest_snapshot_decode(&snapshot, body) == NODE_OK) {
        lies_in(snapshot.items, body);
        items(snapshot.items, &count);
    }
}

static void interest_state(struct bytes body)
{
    struct node_interest_digest digest;
    struct node_interest_ack ack, again;
    uint8_t out[NODE_INTEREST_HEAD_MAX];
    if (node_interest_digest_decode(&digest, body) == NODE_OK) {
        FUZZ_EXPECT(node_interest_digest_encode(out, &digest) <= sizeof out);
    }
    if (node_interest_ack_decode(&ack, body) == NODE_OK) {
        const size_t len = node_interest_ack_encode(out, &ack);
        FUZZ_EXPECT(node_interest_ack_decode(&again, bytes_of(out, len)) == NODE_OK);
        FUZZ_EXPECT(again.version == ack.version && again.want == ack.want);
    }
}

static void claim_holds(struct bytes body)
{
    struct node_claim_holds holds;
    struct node_hold hold, again;
    if (node_claim_holds_decode(&holds, body) != NODE_OK) {
        return;
    }
    lies_in(holds.items, body);
    while (node_hold_next(&holds.items, &hold)) {
        lies_in(hold.id, body);
        lies_in(hold.will, body);
        uint8_t *const out = room(NODE_CLAIM_HOLD_BYTES + hold.id.len + hold.will.len);
        struct bytes written = bytes_of(out, node_hold_encode(out, &hold));
        FUZZ_EXPECT(node_hold_next(&written, &again) && written.len == 0);
        FUZZ_EXPECT(again.serial == hold.serial && again.claim == hold.claim &&
                    bytes_equal(again.id, hold.id) && bytes_equal(again.will, hold.will));
        free(out);
    }
    FUZZ_EXPECT(holds.items.len == 0);
}

static void claim_words(struct bytes body)
{
    struct bytes items;
    struct node_word word;
    if (node_claim_words_decode(&items, body) == NODE_OK) {
        lies_in(items, body);
        while (node_word_next(&items, &word)) {
            FUZZ_EXPECT(word.serial > 0 && word.claim < NODE_CLAIM_TIME_MAX);
        }
        FUZZ_EXPECT(items.len == 0);
    }
}

static void claim_state(struct bytes body)
{
    struct node_claim_owner owner, again;
    uint32_t number, number_again;
    uint8_t out[NODE_CLAIM_HEAD_MAX];
    if (node_claim_owner_decode(&owner, body) == NODE_OK) {
        const size_t len = node_claim_owner_encode(out, &owner);
        FUZZ_EXPECT(node_claim_owner_decode(&again, bytes_of(out, len)) == NODE_OK &&
                    memcmp(&again, &owner, sizeof owner) == 0);
    }
    if (node_claim_ack_decode(&number, body) == NODE_OK) {
        const size_t len = node_claim_ack_encode(out, number);
        FUZZ_EXPECT(node_claim_ack_decode(&number_again, bytes_of(out, len)) == NODE_OK &&
                    number_again == number);
    }
}

static void retained_items(struct bytes body)
{
    struct node_retained_items n;
    if (node_retained_items_decode(&n, body) != NODE_OK) {
        return;
    }
    struct node_retained_item item;
    struct node_retained_drop drop;
    lies_in(n.items, body);
    lies_in(n.drops, body);
    while (node_retained_item_next(&n.items, &item)) {
        FUZZ_EXPECT(topic_name_valid(item.topic) && utf8_valid(item.topic));
        lies_in(item.topic, body);
        lies_in(item.body, body);
    }
    FUZZ_EXPECT(n.items.len == 0);
    while (node_retained_drop_next(&n.drops, &drop)) {
    }
}

static void retained(uint8_t type, struct bytes body)
{
    uint8_t out[NODE_RETAINED_HEAD_MAX];
    struct node_retained_digest digest, again;
    struct node_retained_ask ask;
    struct node_retained_sums sums;
    if (type == NODE_FRAME_RETAINED_DIGEST &&
        node_retained_digest_decode(&digest, body) == NODE_OK) {
        const size_t len = node_retained_digest_encode(out, &digest);
        FUZZ_EXPECT(node_retained_digest_decode(&again, bytes_of(out, len)) == NODE_OK);
        FUZZ_EXPECT(again.high == digest.high && again.floor == digest.floor &&
                    again.complete == digest.complete);
    } else if (type == NODE_FRAME_RETAINED_ASK && node_retained_ask_decode(&ask, body) == NODE_OK) {
        lies_in(ask.known, body);
        for (size_t i = 0; i < ask.known.len / NODE_RETAINED_KNOWN_BYTES; i++) {
            (void)node_retained_known_at(ask.known, i);
        }
    } else if (type == NODE_FRAME_RETAINED_SUMS &&
               node_retained_sums_decode(&sums, body) == NODE_OK) {
        FUZZ_EXPECT(sums.sums.len == (size_t)NODE_SUMS * NODE_SUM_BYTES);
        lies_in(sums.sums, body);
    } else if (type == NODE_FRAME_RETAINED_ITEMS) {
        retained_items(body);
    }
}

static void control(struct bytes body)
{
    enum node_close why;
    uint64_t credit;
    struct node_gap_body gap;
    if (node_close_decode(&why, body) == NODE_OK) {
        FUZZ_EXPECT(node_close_text(why) != NULL);
    }
    if (node_credit_decode(&credit, body) == NODE_OK) {
        uint8_t out[NODE_CONTROL_BYTES_MAX];
        uint64_t again;
        const size_t len = node_credit_encode(out, credit);
        FUZZ_EXPECT(node_credit_decode(&again, bytes_of(out, len)) == NODE_OK && again == credit);
    }
    if (node_clock_decode(&credit, body) == NODE_OK) {
        FUZZ_EXPECT(body.len >= sizeof credit);
    }
    if (node_gap_decode(&gap, body) == NODE_OK) {
        FUZZ_EXPECT(gap.why == NODE_GAP_FRESH || gap.why == NODE_GAP_LOST);
    }
}

static void relay(uint8_t type, struct bytes body)
{
    struct node_relay r, again;
    if (node_relay_decode(&r, type, body) != NODE_OK) {
        return;
    }
    lies_in(r.data, body);
    FUZZ_EXPECT(r.data.len <= NODE_RELAY_DATA_MAX && r.credit <= NODE_RELAY_WINDOW);
    const size_t len = node_relay_encode(NULL, &r);
    uint8_t *const out = room(len);
    FUZZ_EXPECT(node_relay_encode(out, &r) == len);
    FUZZ_EXPECT(node_relay_decode(&again, type, bytes_of(out, len)) == NODE_OK);
    FUZZ_EXPECT(again.id == r.id && again.flags == r.flags && again.listener == r.listener &&
                again.port == r.port && again.uid == r.uid && again.gid == r.gid &&
                again.pid == r.pid && again.credit == r.credit && again.why == r.why &&
                memcmp(again.address, r.address, sizeof r.address) == 0 &&
                bytes_equal(again.data, r.data));
    for (unsigned i = 0; i < NODE_RELAY_NAMES; i++) {
        lies_in(r.names[i], body);
        FUZZ_EXPECT(utf8_valid(r.names[i]) && bytes_equal(again.names[i], r.names[i]));
    }
    free(out);
}

/* It has no frame of its own yet: any body may be one. */
static void consensus(struct bytes body)
{
    struct node_consensus m, again;
    struct node_entry entry;
    struct node_server server;
    if (node_consensus_decode(&m, body) != NODE_OK) {
        return;
    }
    lies_in(m.configuration, body);
    lies_in(m.data, body);
    const size_t len = node_consensus_encode(NULL, &m);
    uint8_t *const out = room(len);
    FUZZ_EXPECT(node_consensus_encode(out, &m) == len);
    FUZZ_EXPECT(node_consensus_decode(&again, bytes_of(out, len)) == NODE_OK);
    FUZZ_EXPECT(again.kind == m.kind && again.term == m.term && again.index == m.index &&
                bytes_equal(again.data, m.data) &&
                bytes_equal(again.configuration, m.configuration));
    free(out);
    while (m.kind == NODE_APPEND && m.data.len > 0) {
        FUZZ_EXPECT(node_entry_next(&m.data, &entry) && entry.term > 0);
    }
    while (m.configuration.len > 0) {
        FUZZ_EXPECT(node_server_next(&m.configuration, &server) && server.id > 0);
    }
}

static void dispatch(struct bytes body)
{
    struct node_dispatch d, again;
    struct node_dispatch_item item;
    if (node_dispatch_decode(&d, body) != NODE_OK) {
        return;
    }
    lies_in(d.items, body);
    lies_in(d.bytes, body);
    const size_t len = node_dispatch_encode(NULL, &d);
    uint8_t *const out = room(len);
    FUZZ_EXPECT(node_dispatch_encode(out, &d) == len);
    FUZZ_EXPECT(node_dispatch_decode(&again, bytes_of(out, len)) == NODE_OK);
    FUZZ_EXPECT(again.origin == d.origin && again.op == d.op && bytes_equal(again.items, d.items) &&
                bytes_equal(again.bytes, d.bytes));
    free(out);
    while (node_dispatch_item_next(&d.items, &item)) {
        FUZZ_EXPECT(item.partition <= NODE_DISPATCH_NODE && item.run > 0 && item.place > 0);
    }
    FUZZ_EXPECT(d.items.len == 0);
}

static void dispatched(struct bytes body)
{
    struct node_dispatched d;
    struct node_dispatched_item item;
    if (node_dispatched_decode(&d, body) != NODE_OK) {
        return;
    }
    lies_in(d.items, body);
    FUZZ_EXPECT(node_dispatched_encode(NULL, &d) <= NODE_DISPATCH_HEAD_MAX + d.items.len);
    while (node_dispatched_item_next(&d.items, &item)) {
        FUZZ_EXPECT(item.partition <= NODE_DISPATCH_NODE);
    }
    FUZZ_EXPECT(d.items.len == 0);
}

static void leases(uint8_t type, struct bytes body)
{
    uint8_t out[NODE_DISPATCH_HEAD_MAX];
    struct node_lease_ask ask, again;
    struct node_lease lease;
    struct node_lease_item item;
    if (type == NODE_FRAME_LEASE_ASK && node_lease_ask_decode(&ask, body) == NODE_OK) {
        const size_t len = node_lease_ask_encode(out, &ask);
        FUZZ_EXPECT(node_lease_ask_decode(&again, bytes_of(out, len)) == NODE_OK &&
                    again.number == ask.number && again.version == ask.version);
    } else if (type == NODE_FRAME_LEASE && node_lease_decode(&lease, body) == NODE_OK) {
        lies_in(lease.items, body);
        while (node_lease_item_next(&lease.items, &item)) {
            FUZZ_EXPECT(item.partition < NODE_DISPATCH_PARTITIONS && item.term > 0);
        }
        FUZZ_EXPECT(lease.items.len == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct node_frame frame;
    size_t used = 0;
    const enum node_err err = node_frame_decode(&frame, data, size, BODY_MAX, &used);
    if (err != NODE_OK) {
        FUZZ_EXPECT(err == NODE_TOO_LARGE || (err == NODE_NEED_MORE && used > size));
        return 0;
    }
    FUZZ_EXPECT(used == NODE_FRAME_HEAD_BYTES + frame.body.len && used <= size);
    lies_in(frame.body, bytes_of(data, size));
    uint8_t head[NODE_FRAME_HEAD_BYTES];
    node_frame_head_encode(head, &frame);
    FUZZ_EXPECT(memcmp(head, data, sizeof head) == 0);
    consensus(frame.body);
    switch (frame.type) {
    case NODE_FRAME_HELLO:
        hello(frame.body);
        break;
    case NODE_FRAME_PUBLISH:
        publish(frame.body);
        break;
    case NODE_FRAME_RESULT:
        results(frame.body);
        break;
    case NODE_FRAME_INTEREST_DELTA:
    case NODE_FRAME_INTEREST_SNAPSHOT:
        interest_items(frame.type, frame.body);
        break;
    case NODE_FRAME_INTEREST_DIGEST:
    case NODE_FRAME_INTEREST_ACK:
        interest_state(frame.body);
        break;
    case NODE_FRAME_CLAIM_HOLDS:
        claim_holds(frame.body);
        break;
    case NODE_FRAME_CLAIM_WORDS:
        claim_words(frame.body);
        break;
    case NODE_FRAME_CLAIM_OWNER:
    case NODE_FRAME_CLAIM_ACK:
        claim_state(frame.body);
        break;
    case NODE_FRAME_RETAINED_DIGEST:
    case NODE_FRAME_RETAINED_ASK:
    case NODE_FRAME_RETAINED_SUMS:
    case NODE_FRAME_RETAINED_ITEMS:
        retained(frame.type, frame.body);
        break;
    case NODE_FRAME_RELAY_OPEN:
    case NODE_FRAME_RELAY_DATA:
    case NODE_FRAME_RELAY_CREDIT:
    case NODE_FRAME_RELAY_END:
        relay(frame.type, frame.body);
        break;
    case NODE_FRAME_DISPATCH:
        dispatch(frame.body);
        break;
    case NODE_FRAME_DISPATCHED:
        dispatched(frame.body);
        break;
    case NODE_FRAME_LEASE_ASK:
    case NODE_FRAME_LEASE:
        leases(frame.type, frame.body);
        break;
    default:
        control(frame.body);
        break;
    }
    return 0;
}
