/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/packet_ids.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <string.h>

#include "tests/unit/route/random.h"

#define PACKET_IDS 65536u

/* As a bitmap does; identifiers near each other, as clients give them, and all over the place. */
Test(packet_ids, are_a_set)
{
    struct random random = random_init();
    cr_log_info("TEST_SEED=%#llx", (unsigned long long)random.seed);
    static const uint32_t spreads[] = {3, 20, 1000, PACKET_IDS - 1};
    for (unsigned i = 0; i < sizeof spreads / sizeof spreads[0]; i++) {
        struct packet_ids set = {0};
        static bool in[PACKET_IDS];
        memset(in, 0, sizeof in);
        uint32_t count = 0;
        for (unsigned step = 0; step < 300000; step++) {
            const uint32_t base = step / 50000 * 9000;
            const uint16_t id =
                (uint16_t)(1 + (base + random_below(&random, spreads[i])) % (PACKET_IDS - 1));
            switch (random_below(&random, 3)) {
            case 0:
                cr_assert_eq(packet_ids_add(&set, id), in[id] ? PACKET_IDS_KNOWN : PACKET_IDS_OK);
                count += !in[id];
                in[id] = true;
                break;
            case 1:
                cr_assert_eq(packet_ids_remove(&set, id), in[id]);
                count -= in[id];
                in[id] = false;
                break;
            default:
                cr_assert_eq(packet_ids_has(&set, id), in[id]);
            }
            cr_assert_eq(packet_ids_count(&set), count);
        }
        packet_ids_fini(&set);
        cr_expect_not(packet_ids_has(&set, 1));
        cr_expect_eq(packet_ids_count(&set), 0);
    }
}

/* All there are: in 256 KiB, as the header says. */
Test(packet_ids, hold_every_identifier)
{
    struct packet_ids set = {0};
    for (uint32_t id = 1; id < PACKET_IDS; id++) {
        cr_assert_eq(packet_ids_add(&set, (uint16_t)id), PACKET_IDS_OK);
    }
    cr_expect_eq(packet_ids_count(&set), 65535);
    cr_expect_leq(set.capacity * sizeof *set.slots, 256 * 1024);
    for (uint32_t id = 1; id < PACKET_IDS; id += 2) {
        cr_assert(packet_ids_remove(&set, (uint16_t)id));
    }
    for (uint32_t id = 1; id < PACKET_IDS; id++) {
        cr_assert_eq(packet_ids_has(&set, (uint16_t)id), id % 2 == 0);
    }
    packet_ids_fini(&set);
}
