/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gossip_fuzz: any bytes are fair gossip. What is read, written again, reads the same; and a
 * membership that is told any messages keeps its table and its bounds, and says nothing that cannot
 * be read.
 *
 * Input: messages, each after two bytes: the length of the message (low 11 bits), and from bit 11
 * on what else happens: who says it (3 bits), whether time goes on (1), by a stream (1).
 */
#include <string.h>

#include "cluster/membership/membership.h"
#include "tests/fuzz/fuzz.h"

static void expect_same(const struct gossip_word *a, const struct gossip_word *b)
{
    FUZZ_EXPECT(a->kind == b->kind && a->whole == b->whole && a->age_s == b->age_s);
    FUZZ_EXPECT(a->gone == b->gone);
    FUZZ_EXPECT(node_uuid_equal(a->node, b->node));
    FUZZ_EXPECT(incarnation_compare(a->incarnation, b->incarnation) == 0);
    FUZZ_EXPECT(node_uuid_equal(a->accuser, b->accuser));
    FUZZ_EXPECT(node_address_equal(&a->address, &b->address));
    FUZZ_EXPECT(bytes_equal(a->name, b->name) && bytes_equal(a->data, b->data));
}

static void write_again(struct bytes message)
{
    struct gossip g, g_again;
    if (gossip_decode(&g, message) != GOSSIP_OK) {
        return;
    }
    struct gossip_word word, again;
    while (gossip_next_word(&g.fields, &word)) {
        uint8_t out[2 + GOSSIP_WORD_MAX];
        struct gossip_writer w;
        gossip_begin(&w, out, sizeof out, GOSSIP_RUMOURS);
        FUZZ_EXPECT(gossip_put_word(&w, &word));
        FUZZ_EXPECT(gossip_decode(&g_again, bytes_of(out, w.len)) == GOSSIP_OK);
        FUZZ_EXPECT(gossip_next_word(&g_again.fields, &again));
        expect_same(&word, &again);
    }
}

static void on_send(void *context, const struct membership_via *via, struct node_uuid to,
                    struct bytes message)
{
    struct gossip g;
    (void)context;
    (void)via;
    (void)to;
    FUZZ_EXPECT(gossip_decode(&g, message) == GOSSIP_OK);
}

static void on_event(void *context, enum membership_event event, const struct member *member)
{
    (void)context;
    FUZZ_EXPECT(event <= MEMBERSHIP_CONFLICT);
    FUZZ_EXPECT(node_name_is_valid(bytes_of(member->name, member->name_len)));
}

static struct membership *create(uint64_t now_ms)
{
    struct membership_conf conf = membership_lan();
    const struct membership_shell shell = {.send = on_send, .event = on_event};
    conf.identity = (struct identity){.node = {{1}}, .generation = 5, .name_len = 1, .name = {'n'}};
    conf.address = (struct node_address){.port = 1};
    conf.members_max = 8;
    conf.tombstones_max = 4;
    struct membership *m = membership_create(&conf, &shell, now_ms);
    FUZZ_EXPECT(m != NULL);
    return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t now_ms = 1000000;
    struct membership *m = create(now_ms);
    while (size >= 2) {
        const unsigned head = (unsigned)data[0] << 8 | data[1];
        size_t len = head & 0x7ff;
        len = len < size - 2 ? len : size - 2;
        const struct bytes message = bytes_of(data + 2, len);
        const struct node_uuid sender = {{(uint8_t)(2 + (head >> 11 & 7))}};
        const struct membership_via via = {.carrier = (head >> 15 & 1) != 0 ? MEMBERSHIP_STREAM
                                                                            : MEMBERSHIP_DATAGRAM,
                                           .address = {.port = 9}};
        write_again(message);
        (void)membership_receive(m, now_ms, &via, sender, message);
        for (unsigned i = 0; (head >> 14 & 1) != 0 && i < 8; i++) {
            const uint64_t due = membership_due(m);
            now_ms = due > now_ms ? due : now_ms;
            membership_tick(m, now_ms);
        }
        FUZZ_EXPECT(membership_check(m));
        data += 2 + len;
        size -= 2 + len;
    }
    membership_destroy(m);
    return 0;
}
