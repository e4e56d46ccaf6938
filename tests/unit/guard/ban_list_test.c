/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/guard/ban_list.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/route/fault.h"

#define SEED   4711u
#define WALL_S 1800000000 /* 2027-01-15T08:00:00Z */
#define NOW_MS 1000000u

static const struct ban_clock now = {.wall_s = WALL_S, .now_ms = NOW_MS};
static struct config_error error;

static struct ban_list *list_of(const char *text)
{
    struct ban_list *l = NULL;
    memset(&error, 0, sizeof error);
    const enum ban_list_err err = ban_list_parse(&l, "bans", bytes_text(text), SEED, now, &error);
    cr_assert_eq(err == BAN_LIST_OK, l != NULL);
    return l;
}

static unsigned client(const struct ban_list *l, const char *id, uint64_t at_ms)
{
    return ban_list_find(l, BAN_CLIENT, bytes_text(id), at_ms);
}

static unsigned address(const struct ban_list *l, const char *text)
{
    struct in6_addr a;
    cr_assert_eq(inet_pton(AF_INET6, text, &a), 1, "%s", text);
    return ban_list_find_address(l, &a, NOW_MS);
}

Test(ban_list, kinds_are_apart)
{
    struct ban_list *l = list_of("client a\nuser b\n# client c\n\naddress 192.0.2.1\n");
    cr_expect_eq(ban_list_count(l), 3);
    cr_expect_eq(client(l, "a", NOW_MS), 1);
    cr_expect_eq(client(l, "b", NOW_MS), 0);
    cr_expect_eq(client(l, "c", NOW_MS), 0);
    cr_expect_eq(client(l, "", NOW_MS), 0);
    cr_expect_eq(ban_list_find(l, BAN_USER, bytes_text("b"), NOW_MS), 2);
    cr_expect_eq(ban_list_find(l, BAN_USER, bytes_text("a"), NOW_MS), 0);
    cr_expect_eq(client(l, "192.0.2.1", NOW_MS), 0);
    cr_expect_eq(address(l, "::ffff:192.0.2.1"), 5);
    ban_list_destroy(l);
}

Test(ban_list, ranges_of_any_length)
{
    struct ban_list *l = list_of("address 10.0.0.0/8\naddress 10.1.2.3\naddress 192.0.2.128/25\n"
                                 "address 2001:db8::/33\n");
    cr_expect_neq(address(l, "::ffff:10.255.0.1"), 0);
    cr_expect_neq(address(l, "::ffff:10.1.2.3"), 0);
    cr_expect_eq(address(l, "::ffff:11.0.0.1"), 0);
    cr_expect_eq(address(l, "::ffff:192.0.2.127"), 0);
    cr_expect_eq(address(l, "::ffff:192.0.2.128"), 3);
    cr_expect_eq(address(l, "2001:db8:7fff::1"), 4);
    cr_expect_eq(address(l, "2001:db8:8000::1"), 0);
    cr_expect_eq(address(l, "::10.0.0.1"), 0, "not IPv4");
    ban_list_destroy(l);
    l = list_of("address ::/0");
    cr_expect_eq(address(l, "::1"), 1);
    cr_expect_eq(address(l, "::ffff:1.2.3.4"), 1);
    ban_list_destroy(l);
}

Test(ban_list, bans_end)
{
    struct ban_list *l = list_of("client a until 2027-01-15T08:00:10Z\n"
                                 "client b until 2027-01-15T08:00:00Z\n"
                                 "client c until 2020-01-01T00:00:00Z\n");
    cr_expect_eq(ban_list_count(l), 1, "those that are over are left out");
    cr_expect_eq(client(l, "a", NOW_MS), 1);
    cr_expect_eq(client(l, "a", NOW_MS + 9999), 1);
    cr_expect_eq(client(l, "a", NOW_MS + 10000), 0);
    cr_expect_eq(client(l, "b", NOW_MS), 0);
    cr_expect_eq(client(l, "c", NOW_MS), 0);
    ban_list_destroy(l);
}

Test(ban_list, of_several_the_longest_counts)
{
    struct ban_list *l = list_of("client a until 2027-01-15T08:00:20Z\n"
                                 "client a until 2027-01-15T08:00:30Z\n"
                                 "client a until 2027-01-15T08:00:10Z\n"
                                 "client b\n"
                                 "client b until 2027-01-15T08:00:10Z\n");
    cr_expect_eq(ban_list_count(l), 2);
    cr_expect_eq(client(l, "a", NOW_MS + 29999), 2);
    cr_expect_eq(client(l, "a", NOW_MS + 30000), 0);
    cr_expect_eq(client(l, "b", UINT64_MAX - 1), 4);
    ban_list_destroy(l);
}

Test(ban_list, each_mistake_is_told_with_its_line)
{
    cr_expect_null(list_of("client a\nclint b\n\nuser\naddress 1.2.3\n"));
    cr_expect_eq(error.count, 3);
    cr_expect_eq(strncmp(error.text, "bans:2: ", 8), 0, "%s", error.text);
    cr_expect(strstr(error.text, "\nbans:4: ") != NULL, "%s", error.text);
    cr_expect(strstr(error.text, "\nbans:5: ") != NULL, "%s", error.text);
}

Test(ban_list, empty_bans_nobody)
{
    struct ban_list *l = list_of("");
    cr_expect_eq(ban_list_count(l), 0);
    cr_expect_eq(client(l, "a", NOW_MS), 0);
    cr_expect_eq(address(l, "::1"), 0);
    ban_list_destroy(l);
}

Test(ban_list, file_that_cannot_be_read)
{
    struct ban_list *l = NULL;
    memset(&error, 0, sizeof error);
    cr_expect_eq(ban_list_read(&l, "/nonexistent/bans", SEED, now, &error), BAN_LIST_INVALID);
    cr_expect_eq(error.count, 1);
    cr_expect_null(l);
}

static double milliseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* 100,000 of them are each found, their neighbours are not, and a look-up does not go through them:
 * that would take a thousand times as long as is allowed here. */
Test(ban_list, hundred_thousand)
{
    const size_t room = 100000 * 40;
    char *text = malloc(room);
    cr_assert_not_null(text);
    size_t len = 0;
    for (unsigned i = 0; i < 50000; i++) {
        len += (size_t)snprintf(text + len, room - len, "client device-%u\n", 2 * i);
        len += (size_t)snprintf(text + len, room - len, "address 10.%u.%u.%u/%u\n", i >> 15,
                                i >> 7 & 255, i << 1 & 255, 31u);
    }
    struct ban_list *l = list_of(text);
    cr_assert_eq(ban_list_count(l), 100000);
    const double begin = milliseconds();
    for (unsigned i = 0; i < 100000; i++) {
        char id[32];
        snprintf(id, sizeof id, "device-%u", i);
        cr_assert_eq(client(l, id, NOW_MS) != 0, i % 2 == 0, "%s", id);
        const struct in6_addr a = {
            .s6_addr = {[10] = 0xff, 0xff, 10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}};
        cr_assert_neq(ban_list_find_address(l, &a, NOW_MS), 0, "%u", i);
    }
    cr_expect_lt(milliseconds() - begin, 5000);
    ban_list_destroy(l);
    free(text);
}

Test(ban_list, too_many)
{
    const size_t len = (BANS_MAX + 1) * sizeof "user a";
    char *text = malloc(len + 1);
    cr_assert_not_null(text);
    for (size_t i = 0; i < len; i += sizeof "user a") {
        memcpy(text + i, "user a\n", sizeof "user a");
    }
    text[len] = '\0';
    cr_expect_null(list_of(text));
    cr_expect_eq(error.count, 1);
    text[len - sizeof "user a"] = '\0';
    struct ban_list *l = list_of(text);
    cr_expect_not_null(l);
    ban_list_destroy(l);
    free(text);
}

Test(ban_list, every_allocation_may_fail)
{
    for (unsigned failing = 0;; failing++) {
        struct ban_list *l = NULL;
        memset(&error, 0, sizeof error);
        fault_at(failing);
        const enum ban_list_err err =
            ban_list_parse(&l, "bans", bytes_text("client a\n"), SEED, now, &error);
        const bool happened = fault_happened();
        fault_at(FAULT_NEVER);
        if (!happened) {
            cr_expect_eq(err, BAN_LIST_OK);
            ban_list_destroy(l);
            break;
        }
        cr_expect(err == BAN_LIST_NO_MEMORY || err == BAN_LIST_OK);
        ban_list_destroy(l);
    }
}
