/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta_fuzz: any bytes are commands of META, a state of it, a word about a formation, or reports,
 * or are refused; what is refused changes nothing; what is read, written again, reads the same; and
 * whatever commands come, the state can be written and read, and has duties for everybody.
 *
 * Input: a byte that says what, then: 0: a state; 1: a record of a formation; else pieces of u8
 * length and that many bytes: commands, one after the other, in front of which a cluster is formed
 * if the byte is odd; each also goes to a formation as a message.
 */
#include <string.h>

#include "cluster/meta/decide.h"
#include "cluster/meta/formation.h"
#include "cluster/meta/meta.h"
#include "tests/fuzz/fuzz.h"

static struct meta_state state, again;

static uint8_t *room(size_t len)
{
    uint8_t *out = malloc(len > 0 ? len : 1);
    FUZZ_EXPECT(out != NULL);
    return out;
}

static void reads_as_it_is(void)
{
    uint64_t was, is;
    const size_t len = meta_encode(&state, NULL);
    uint8_t *const out = room(len);
    FUZZ_EXPECT(meta_encode(&state, out) == len);
    FUZZ_EXPECT(meta_decode(&again, bytes_of(out, len)));
    FUZZ_EXPECT(meta_hash(&state, &was) && meta_hash(&again, &is) && was == is);
    free(out);
}

static void duties(void)
{
    for (uint32_t self = 1; self < 10; self++) {
        for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
            const struct meta_duty d = meta_duty(&state, self, p);
            FUZZ_EXPECT(d.forget == (d.run == 0 && d.copy == 0));
            FUZZ_EXPECT(!node_replicas_has(&d.from, self));
            FUZZ_EXPECT(d.run == 0 || node_replicas_has(&d.servers, self));
            FUZZ_EXPECT(!d.copy_sealed || (d.copy_index > 0 && d.moved > 0));
        }
    }
}

static void decide(void)
{
    static struct meta_decision decision;
    static struct meta_reports reports;
    const struct meta_limits limits = meta_limits_defaults();
    const struct meta_view view = {.now_ms = 1000000, .self = 1, .reports = &reports};
    meta_decide(&decision, &state, &view, &limits);
    FUZZ_EXPECT(decision.count <= META_DECIDED_MAX);
}

static void command(struct bytes in)
{
    struct node_meta_command c, twice;
    if (node_meta_command_decode(&c, in) == NODE_OK) {
        const size_t len = node_meta_command_encode(NULL, &c);
        uint8_t *const out = room(len);
        FUZZ_EXPECT(node_meta_command_encode(out, &c) == len);
        FUZZ_EXPECT(node_meta_command_decode(&twice, bytes_of(out, len)) == NODE_OK);
        FUZZ_EXPECT(twice.kind == c.kind && twice.value == c.value && twice.number == c.number &&
                    twice.incarnation == c.incarnation && twice.index == c.index &&
                    node_replicas_same(&twice.replicas, &c.replicas) &&
                    bytes_equal(twice.items, c.items));
        free(out);
    }
}

/* What nodes say of themselves, and give each other. */
static void words(struct bytes in)
{
    uint8_t out[NODE_META_MEMBER_MAX];
    struct node_meta_member m, twice;
    struct node_meta_copy copy;
    if (node_meta_member_decode(&m, in) == NODE_OK) {
        const size_t len = node_meta_member_encode(out, &m);
        FUZZ_EXPECT(node_meta_member_decode(&twice, bytes_of(out, len)) == NODE_OK);
        FUZZ_EXPECT(twice.number == m.number && twice.features == m.features &&
                    bytes_equal(twice.zone, m.zone));
    }
    if (node_meta_copy_decode(&copy, in) == NODE_OK) {
        FUZZ_EXPECT(copy.index > 0 && copy.state.len <= in.len);
    }
}

static void form(void)
{
    uint8_t out[1024], items[3 * NODE_META_NODE_MAX];
    size_t len = 0;
    for (unsigned i = 1; i <= 3; i++) {
        const struct node_meta_node node = {
            .uuid = {{(uint8_t)i}}, .features = 1, .name = bytes_text("n"), .zone = bytes_text("")};
        len += node_meta_node_encode(items + len, &node);
    }
    const struct node_meta_command c = {
        .kind = NODE_META_FORM, .value = 3, .cluster = {{7}}, .items = bytes_of(items, len)};
    FUZZ_EXPECT(meta_apply(&state, bytes_of(out, node_meta_command_encode(out, &c)), 1) ==
                META_APPLIED);
}

static void on_write(void *context, struct bytes record)
{
    (void)context;
    FUZZ_EXPECT(record.len <= FORMATION_RECORD_MAX);
}

static void on_send(void *context, struct node_uuid to, struct bytes message)
{
    struct node_form m;
    (void)context;
    (void)to;
    FUZZ_EXPECT(node_form_decode(&m, message) == NODE_OK);
}

static struct formation *new_formation(void)
{
    struct formation_conf conf = formation_conf_defaults();
    conf.self.bytes[0] = 2;
    conf.events = (struct formation_events){on_write, on_send, NULL};
    struct formation *const f = formation_create(&conf);
    FUZZ_EXPECT(f != NULL);
    return f;
}

static void record(struct bytes in)
{
    struct formation *const f = new_formation();
    if (formation_recover(f, in)) {
        formation_turn(f, NULL, 0, 5000);
        formation_durable(f, formation_written(f), 6000);
        FUZZ_EXPECT(formation_phase(f) != FORMATION_FORMED || formation_number(f) > 0);
    }
    formation_destroy(f);
}

static void pieces(struct bytes rest, bool is_formed)
{
    struct formation *const f = new_formation();
    uint64_t index = 1;
    meta_init(&state);
    if (is_formed) {
        form();
    }
    while (rest.len > 1 && index < 64) {
        const size_t len = rest.at[0] < rest.len - 1 ? rest.at[0] : rest.len - 1;
        const struct bytes piece = bytes_of(rest.at + 1, len);
        uint64_t was, is;
        struct bytes items;
        command(piece);
        words(piece);
        FUZZ_EXPECT(meta_hash(&state, &was));
        const bool is_applied = meta_apply(&state, piece, ++index) == META_APPLIED;
        FUZZ_EXPECT(meta_hash(&state, &is) && (is_applied || was == is));
        if (node_reports_decode(&items, piece) == NODE_OK) {
            static struct meta_reports reports;
            meta_reports_take(&reports, &state, 1, items);
        }
        formation_received(f, (struct node_uuid){{1}}, piece, index * 100);
        formation_durable(f, formation_written(f), index * 100);
        rest = bytes_of(rest.at + 1 + len, rest.len - 1 - len);
    }
    reads_as_it_is();
    duties();
    decide();
    formation_destroy(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const struct bytes rest = bytes_of(data + 1, size - 1);
    if (data[0] == 0) {
        if (meta_decode(&state, rest)) {
            reads_as_it_is();
            duties();
            decide();
        }
    } else if (data[0] == 1) {
        record(rest);
    } else {
        pieces(rest, data[0] % 2 == 1);
    }
    return 0;
}
