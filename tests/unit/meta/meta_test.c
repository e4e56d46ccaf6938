/* SPDX-License-Identifier: Apache-2.0 */
/* Commands, one after the other, and what each comes to; duties; the whole as bytes. */
#include "cluster/meta/meta.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/route/random.h"

static struct meta_state state;
static uint64_t last_index;

static struct node_uuid uuid_of(unsigned n)
{
    return (struct node_uuid){{1, (uint8_t)(n >> 8), (uint8_t)n}};
}

static size_t node_item(uint8_t *out, unsigned n, uint32_t features, const char *zone)
{
    char name[16];
    (void)snprintf(name, sizeof name, "node-%u", n);
    const struct node_meta_node node = {.uuid = uuid_of(n),
                                        .features = features,
                                        .name = bytes_text(name),
                                        .zone = bytes_text(zone)};
    return node_meta_node_encode(out, &node);
}

static enum meta_outcome apply(const struct node_meta_command *c)
{
    uint8_t out[NODE_META_HEAD_MAX + NODE_META_FORM_MAX * NODE_META_NODE_MAX];
    uint64_t before, after;
    cr_assert(meta_hash(&state, &before));
    const enum meta_outcome outcome =
        meta_apply(&state, bytes_of(out, node_meta_command_encode(out, c)), ++last_index);
    cr_assert(meta_hash(&state, &after));
    cr_expect_eq(outcome == META_APPLIED, before != after, "%s", meta_outcome_text(outcome));
    return outcome;
}

static enum meta_outcome form(unsigned count, uint8_t replicas)
{
    uint8_t items[NODE_META_FORM_MAX * NODE_META_NODE_MAX];
    size_t len = 0;
    for (unsigned i = 1; i <= count; i++) {
        len += node_item(items + len, i, 1, "");
    }
    return apply(&(struct node_meta_command){.kind = NODE_META_FORM,
                                             .value = replicas,
                                             .cluster = {{7}},
                                             .items = bytes_of(items, len)});
}

static enum meta_outcome add(unsigned n, uint32_t features, const char *zone)
{
    uint8_t item[NODE_META_NODE_MAX];
    const size_t len = node_item(item, n, features, zone);
    return apply(&(struct node_meta_command){.kind = NODE_META_ADD, .items = bytes_of(item, len)});
}

static enum meta_outcome of_number(enum node_meta_kind kind, uint32_t number, uint8_t value)
{
    return apply(
        &(struct node_meta_command){.kind = (uint8_t)kind, .number = number, .value = value});
}

static enum meta_outcome move(uint8_t p, uint32_t incarnation, struct node_replicas to)
{
    return apply(&(struct node_meta_command){
        .kind = NODE_META_MOVE, .value = p, .incarnation = incarnation, .replicas = to});
}

static enum meta_outcome of_partition(enum node_meta_kind kind, uint8_t p, uint32_t incarnation,
                                      uint64_t index)
{
    return apply(&(struct node_meta_command){
        .kind = (uint8_t)kind, .value = p, .incarnation = incarnation, .index = index});
}

static void begin(unsigned count, uint8_t replicas)
{
    meta_init(&state);
    last_index = 0;
    cr_assert_eq(form(count, replicas), META_APPLIED);
}

Test(meta, the_first_word_is_form_and_it_comes_once)
{
    meta_init(&state);
    cr_expect_eq(add(4, 1, ""), META_NOT_FORMED);
    cr_expect_eq(form(3, 2), META_UNFIT_REPLICAS);
    cr_expect_eq(form(0, 3), META_MALFORMED);
    cr_expect_eq(form(3, 3), META_APPLIED);
    cr_expect_eq(form(3, 3), META_FORMED);
    cr_expect_eq(state.members_count, 3);
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        cr_expect_eq(state.partitions[p].replicas.count, 3);
        cr_expect_eq(state.partitions[p].incarnation, 1);
    }
}

Test(meta, a_number_is_given_once)
{
    begin(3, 3);
    cr_expect_eq(add(9, 1, "z"), META_APPLIED);
    cr_expect_eq(add(9, 1, "z"), META_SAME);
    cr_expect_eq(meta_member_by_uuid(&state, uuid_of(9))->number, 4);
    cr_expect_eq(add(9, 2, "y"), META_APPLIED, "it has come back as another version, elsewhere");
    cr_expect_eq(meta_member_by_uuid(&state, uuid_of(9))->number, 4);
    cr_expect_eq(of_number(NODE_META_REMOVE, 4, 0), META_APPLIED);
    cr_expect_eq(of_number(NODE_META_REMOVE, 4, 0), META_NO_MEMBER);
    cr_expect(meta_was_removed(&state, uuid_of(9)));
    cr_expect_eq(add(9, 2, "y"), META_WAS_REMOVED);
    cr_expect_eq(add(10, 1, ""), META_APPLIED);
    cr_expect_eq(meta_member_by_uuid(&state, uuid_of(10))->number, 5);
}

Test(meta, members_have_a_bound_and_so_have_those_that_were)
{
    begin(3, 3);
    for (unsigned n = 4; n <= META_MEMBERS_MAX; n++) {
        cr_assert_eq(add(n, 1, ""), META_APPLIED);
    }
    cr_expect_eq(add(1000, 1, ""), META_FULL);
    for (unsigned n = 1; n <= META_REMOVED_MAX + 5; n++) {
        cr_assert_eq(of_number(NODE_META_REMOVE, state.members[0].number, 0), META_APPLIED);
        cr_assert_eq(add(1000 + n, 1, ""), META_APPLIED);
    }
    cr_expect_eq(state.removed_count, META_REMOVED_MAX);
    cr_expect_not(meta_was_removed(&state, uuid_of(5)));
    cr_expect(meta_was_removed(&state, uuid_of(6)));
    struct meta_state *const again = malloc(sizeof *again);
    uint8_t *const out = malloc(meta_encode(&state, NULL));
    cr_assert(again != NULL && out != NULL);
    cr_expect(meta_decode(again, bytes_of(out, meta_encode(&state, out))));
    cr_expect_eq(again->removed_count, META_REMOVED_MAX);
    free(out);
    free(again);
}

Test(meta, somebody_stays)
{
    begin(2, 3);
    cr_expect_eq(of_number(NODE_META_LEAVING, 1, 1), META_APPLIED);
    cr_expect_eq(of_number(NODE_META_LEAVING, 1, 1), META_SAME);
    cr_expect_eq(of_number(NODE_META_LEAVING, 2, 1), META_LAST);
    cr_expect_eq(of_number(NODE_META_REMOVE, 2, 0), META_LAST);
    cr_expect_eq(of_number(NODE_META_LEAVING, 1, 0), META_APPLIED, "it stays after all");
    cr_expect_eq(of_number(NODE_META_REMOVE, 2, 0), META_APPLIED);
    cr_expect_eq(of_number(NODE_META_LEAVING, 7, 1), META_NO_MEMBER);
}

Test(meta, a_level_of_features_is_one_that_all_know)
{
    begin(3, 3);
    cr_expect_eq(of_number(NODE_META_FEATURES, 2, 0), META_NOT_ALL_KNOW);
    cr_expect_eq(of_number(NODE_META_FEATURES, 1, 0), META_APPLIED);
    cr_expect_eq(of_number(NODE_META_FEATURES, 1, 0), META_SAME);
    cr_expect_eq(of_number(NODE_META_FEATURES, 0, 0), META_NOT_ALL_KNOW, "never a lower one");
    cr_expect_eq(add(4, 0, ""), META_TOO_OLD);
    cr_expect_eq(of_number(NODE_META_REPLICAS, 0, 4), META_UNFIT_REPLICAS);
    cr_expect_eq(of_number(NODE_META_REPLICAS, 0, 5), META_APPLIED);
    cr_expect_eq(of_number(NODE_META_REPLICAS, 0, 5), META_SAME);
    cr_expect_eq(meta_replicas_possible(&state), 3);
}

static const struct node_replicas to_124 = {3, {1, 2, 4}};
static const struct node_replicas to_125 = {3, {1, 2, 5}};

static void begin_five(void)
{
    begin(3, 3);
    cr_assert_eq(add(4, 1, ""), META_APPLIED);
    cr_assert_eq(add(5, 1, ""), META_APPLIED);
}

Test(meta, a_partition_moves_step_by_step)
{
    begin_five();
    const struct meta_partition *const p = &state.partitions[9];
    cr_expect_eq(of_partition(NODE_META_STARTED, 9, 1, 1), META_WRONG_STEP);
    cr_expect_eq(move(9, 2, to_124), META_OTHER_MOVE, "there is no second one yet");
    cr_expect_eq(move(64, 1, to_124), META_NO_PARTITION);
    cr_expect_eq(move(9, 1, to_124), META_APPLIED);
    cr_expect_eq(move(9, 1, to_124), META_SAME);
    const uint64_t moved = p->moved;
    cr_expect_eq(moved, last_index - 1);
    cr_expect_eq(of_partition(NODE_META_STARTED, 9, 1, moved), META_WRONG_STEP);
    cr_expect_eq(of_partition(NODE_META_SEALED, 9, 1, 0), META_WRONG_STEP);
    cr_expect_eq(of_partition(NODE_META_SEALED, 9, 1, 77), META_APPLIED);
    cr_expect_eq(of_partition(NODE_META_SEALED, 9, 1, 77), META_SAME);
    cr_expect_eq(of_partition(NODE_META_STARTED, 9, 1, moved + 1), META_OTHER_MOVE);
    cr_expect_eq(of_partition(NODE_META_STARTED, 9, 1, moved), META_APPLIED);
    cr_expect_eq(p->incarnation, 2);
    cr_expect_eq(p->began, 77);
    cr_expect_eq(p->step, META_STEADY);
    cr_expect(node_replicas_same(&p->replicas, &to_124));
    cr_expect_eq(of_partition(NODE_META_SEALED, 9, 1, 78), META_OTHER_MOVE);
}

Test(meta, a_move_goes_elsewhere_or_back)
{
    begin_five();
    const struct meta_partition *const p = &state.partitions[0];
    const struct node_replicas home = p->replicas;
    cr_expect_eq(move(0, 1, home), META_SAME);
    cr_expect_eq(move(0, 1, to_124), META_APPLIED);
    cr_expect_eq(move(0, 1, home), META_APPLIED);
    cr_expect_eq(p->step, META_STEADY);
    cr_expect_eq(move(0, 1, to_124), META_APPLIED);
    cr_expect_eq(of_partition(NODE_META_SEALED, 0, 1, 5), META_APPLIED);
    const uint64_t moved = p->moved;
    cr_expect_eq(move(0, 1, to_125), META_APPLIED);
    cr_expect_eq(p->step, META_SEALED);
    cr_expect_eq(of_partition(NODE_META_STARTED, 0, 1, moved), META_OTHER_MOVE,
                 "others have it than those who take over");
    cr_expect_eq(move(0, 1, home), META_APPLIED, "back, as the next incarnation");
    cr_expect_eq(of_partition(NODE_META_STARTED, 0, 1, p->moved), META_APPLIED);
    cr_expect(node_replicas_same(&p->replicas, &home));
    cr_expect_eq(p->incarnation, 2);
}

/* The move was called off when its log already had the end in it. */
Test(meta, what_is_sealed_without_a_move_goes_on_where_it_is)
{
    begin_five();
    const struct meta_partition *const p = &state.partitions[3];
    cr_expect_eq(of_partition(NODE_META_SEALED, 3, 1, 5), META_APPLIED);
    cr_expect_eq(p->step, META_SEALED);
    cr_expect(node_replicas_same(&p->to, &p->replicas));
    cr_expect_eq(of_partition(NODE_META_STARTED, 3, 1, p->moved), META_APPLIED);
}

Test(meta, replicas_are_members_that_stay)
{
    begin_five();
    cr_expect_eq(move(0, 1, (struct node_replicas){3, {1, 2, 6}}), META_UNFIT_REPLICAS);
    cr_expect_eq(move(0, 1, (struct node_replicas){3, {1, 2, 2}}), META_UNFIT_REPLICAS);
    cr_expect_eq(move(0, 1, (struct node_replicas){0, {0}}), META_UNFIT_REPLICAS);
    cr_expect_eq(move(0, 1, (struct node_replicas){5, {1, 2, 3, 4, 5}}), META_UNFIT_REPLICAS);
    cr_expect_eq(of_number(NODE_META_LEAVING, 4, 1), META_APPLIED);
    cr_expect_eq(move(0, 1, to_124), META_UNFIT_REPLICAS);
}

Test(meta, bytes_that_are_no_command_change_nothing)
{
    static const uint8_t critical[] = {0x81, 0};
    begin(3, 3);
    cr_expect_eq(meta_apply(&state, bytes_of(NULL, 0), 9), META_MALFORMED);
    cr_expect_eq(meta_apply(&state, bytes_of("\xff\xff", 2), 9), META_MALFORMED);
    cr_expect_eq(meta_apply(&state, bytes_of(critical, sizeof critical), 9), META_UNKNOWN);
    cr_expect_eq(of_number((enum node_meta_kind)99, 1, 1), META_UNKNOWN);
}

/* ---- Duties */

Test(meta, what_a_member_has_to_do_follows_from_the_step)
{
    begin_five();
    const struct node_replicas from = {3, {1, 2, 3}}, to = {3, {2, 3, 4}};
    struct meta_duty d = meta_duty(&state, 1, 0);
    cr_expect(d.run == 1 && !d.seal && !d.sealed && d.copy == 0 && !d.forget && d.begins == 0);
    cr_expect(node_replicas_same(&d.servers, &from));
    cr_expect(meta_duty(&state, 4, 0).forget);

    cr_assert_eq(move(0, 1, to), META_APPLIED);
    d = meta_duty(&state, 1, 0);
    cr_expect(d.run == 1 && d.seal && !d.sealed && d.copy == 0);
    d = meta_duty(&state, 4, 0);
    cr_expect(d.run == 0 && d.copy == 1 && !d.copy_sealed && !d.forget);
    cr_expect(node_replicas_same(&d.from, &from));
    cr_expect(meta_duty(&state, 5, 0).forget);

    cr_assert_eq(of_partition(NODE_META_SEALED, 0, 1, 50), META_APPLIED);
    d = meta_duty(&state, 1, 0);
    cr_expect(d.run == 1 && !d.seal && d.sealed && d.copy == 0 && !d.forget, "it gives");
    d = meta_duty(&state, 2, 0);
    cr_expect(d.run == 1 && d.sealed && d.copy == 1 && d.copy_sealed && d.copy_index == 50);
    cr_expect_not(node_replicas_has(&d.from, 2));
    d = meta_duty(&state, 4, 0);
    cr_expect(d.run == 0 && d.copy == 1 && d.copy_sealed && d.copy_index == 50 && d.moved > 0);

    cr_assert_eq(of_partition(NODE_META_STARTED, 0, 1, state.partitions[0].moved), META_APPLIED);
    d = meta_duty(&state, 1, 0);
    cr_expect(d.run == 0 && d.forget);
    d = meta_duty(&state, 4, 0);
    cr_expect(d.run == 2 && d.begins == 50 && d.copy == 0 && node_replicas_same(&d.servers, &to));
}

/* ---- The whole, as bytes */

/* Whatever commands come, fair and unfair ones: a state reads as it was written, and no beginning
 * of it is one. */
Test(meta, what_is_written_is_read)
{
    struct random random = random_init();
    struct meta_state *const again = malloc(sizeof *again);
    cr_assert_not_null(again);
    for (unsigned round = 0; round < 20; round++) {
        begin(1 + random_below(&random, 7), 3);
        for (unsigned i = 0; i < 300; i++) {
            const uint8_t p = (uint8_t)random_below(&random, 66);
            const uint32_t n = random_below(&random, 12);
            const struct node_replicas to = {.count = (uint8_t)(1 + random_below(&random, 3)),
                                             .at = {1 + n, 1 + (n + 1) % 12, 1 + (n + 5) % 12}};
            const uint32_t incarnation = p < 64 ? state.partitions[p].incarnation : 1;
            const uint64_t moved = p < 64 ? state.partitions[p].moved : 1;
            switch (random_below(&random, 8)) {
            case 0:
                (void)add(random_below(&random, 40), random_below(&random, 3), "z");
                break;
            case 1:
                (void)of_number(NODE_META_REMOVE, n, 0);
                break;
            case 2:
                (void)of_number(NODE_META_LEAVING, n, (uint8_t)(n % 2));
                break;
            case 3:
                (void)of_number(NODE_META_FEATURES, n % 3, 0);
                break;
            case 4:
                (void)of_partition(NODE_META_SEALED, p, incarnation, n);
                break;
            case 5:
                (void)of_partition(NODE_META_STARTED, p, incarnation, moved);
                break;
            default:
                (void)move(p, incarnation, to);
                break;
            }
        }
        const size_t len = meta_encode(&state, NULL);
        uint8_t *const out = malloc(len);
        uint64_t was, is;
        cr_assert_not_null(out);
        cr_assert_eq(meta_encode(&state, out), len);
        cr_assert(meta_decode(again, bytes_of(out, len)), "seed %llu",
                  (unsigned long long)random.seed);
        cr_assert(meta_hash(&state, &was) && meta_hash(again, &is));
        cr_expect_eq(was, is);
        cr_expect_eq(again->next_number, state.next_number);
        for (size_t cut = 0; cut < len; cut += 1 + len / 97) {
            cr_expect_not(meta_decode(again, bytes_of(out, cut)));
        }
        free(out);
    }
    free(again);
}
