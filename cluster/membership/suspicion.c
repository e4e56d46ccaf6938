/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/membership/suspicion.h"

#include <assert.h>

#define ONE         65536u
#define LOG2_OF_TEN 217706u /* log2(10) * 65536 */

uint32_t suspicion_log2(uint32_t value)
{
    assert(value >= 1);

    const uint32_t whole = 31 - (uint32_t)__builtin_clz(value);
    uint64_t x = ((uint64_t)value << 31) >> whole; /* 1 <= x < 2, in 1/2^31 */
    uint32_t fraction = 0;
    for (unsigned bit = 0; bit < 16; bit++) {
        x = x * x >> 31;
        fraction <<= 1;
        if (x >= (uint64_t)1 << 32) {
            x >>= 1;
            fraction |= 1;
        }
    }
    return whole * ONE + fraction;
}

struct suspicion_time suspicion_time(uint32_t members, uint32_t mult, uint32_t max_mult,
                                     uint32_t probe_interval_ms)
{
    assert(members >= 1);

    const uint64_t log = suspicion_log2(members);
    const uint64_t scale = log > LOG2_OF_TEN ? log : LOG2_OF_TEN; /* of max(1, log10(members)) */
    struct suspicion_time time = {
        .least_ms = (uint32_t)((uint64_t)mult * probe_interval_ms * scale / LOG2_OF_TEN)};
    time.most_ms = time.least_ms * max_mult;
    const uint32_t wanted = mult > 2 ? mult - 2 : 0;
    /* There are not so many who could confirm: neither this node nor the suspect does. */
    time.confirmations = members < wanted + 2 ? 0 : wanted;
    return time;
}

uint32_t suspicion_timeout_ms(const struct suspicion_time *time, uint32_t confirmed)
{
    if (time->confirmations == 0 || confirmed >= time->confirmations) {
        return time->least_ms;
    }
    const uint64_t span = time->most_ms - time->least_ms;
    return time->most_ms - (uint32_t)(span * suspicion_log2(confirmed + 1) /
                                      suspicion_log2(time->confirmations + 1));
}

uint32_t suspicion_retransmits(uint32_t members, uint32_t mult)
{
    uint32_t digits = 0; /* ceil(log10(members + 1)): the digits of members */
    for (uint32_t rest = members; rest > 0; rest /= 10) {
        digits++;
    }
    return mult * (digits > 0 ? digits : 1);
}
