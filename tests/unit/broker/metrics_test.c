/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/metrics.h"

#include <criterion/criterion.h>
#include <string.h>

Test(metrics, names_are_unique_and_fit_for_prometheus)
{
    for (unsigned i = 0; i < METRICS; i++) {
        const char *name = metrics_name((enum metric)i);
        cr_expect_eq(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_"), strlen(name));
        cr_expect(name[0] >= 'a' && name[0] <= 'z');
        cr_expect_geq(strlen(metrics_text((enum metric)i)), 10);
        for (unsigned k = 0; k < i; k++) {
            cr_expect_str_neq(name, metrics_name((enum metric)k));
        }
    }
}

Test(metrics, what_is_dropped_is_called_so)
{
    cr_expect_str_eq(metrics_name(METRIC_drop_expired), "drop_expired");
    cr_expect_str_eq(metrics_name(METRIC_connections_accepted), "connections_accepted");
    cr_expect_eq(METRIC_connections_accepted, 0);
}

Test(metrics, add_up)
{
    static struct metrics m;
    metrics_add(&m, METRIC_bytes_sent, 1ull << 40);
    metrics_add(&m, METRIC_bytes_sent, 5);
    cr_expect_eq(metrics_read(&m, METRIC_bytes_sent), (1ull << 40) + 5);
    cr_expect_eq(metrics_read(&m, METRIC_bytes_received), 0);
}
