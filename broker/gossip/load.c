/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/gossip/load.h"

#include <assert.h>

#define LOAD_DRAINING 1u
#define LOAD_ENCRYPTS 2u

#define MUCH_MS     2000u /* a sixteenth of the clients have come or gone, */
#define MUCH        16u
#define LITTLE_MS   10000u /* or any */
#define NODES_AT_MS 32u    /* so many nodes have these times; twice as many, twice the times */

enum { AT_VERSION, AT_SHARDS, AT_BITS, AT_CLIENTS, AT_ADMITS = AT_CLIENTS + 4 };

static void put_u32(uint8_t *out, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        out[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

static uint32_t get_u32(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

void load_encode(uint8_t out[LOAD_BYTES], unsigned shards, const struct node_load *load)
{
    assert(shards > 0 && shards <= UINT8_MAX);
    out[AT_VERSION] = LOAD_VERSION;
    out[AT_SHARDS] = (uint8_t)shards;
    out[AT_BITS] =
        (uint8_t)((load->draining ? LOAD_DRAINING : 0) | (load->encrypts ? LOAD_ENCRYPTS : 0));
    put_u32(out + AT_CLIENTS, load->clients);
    put_u32(out + AT_ADMITS, load->admits);
}

unsigned load_shards(struct bytes data)
{
    return data.len > AT_SHARDS && data.at[AT_VERSION] == LOAD_VERSION ? data.at[AT_SHARDS] : 0;
}

struct node_load load_decode(struct bytes data)
{
    if (load_shards(data) == 0 || data.len < LOAD_BYTES) {
        return (struct node_load){.known = false};
    }
    return (struct node_load){.known = true,
                              .draining = (data.at[AT_BITS] & LOAD_DRAINING) != 0,
                              .encrypts = (data.at[AT_BITS] & LOAD_ENCRYPTS) != 0,
                              .clients = get_u32(data.at + AT_CLIENTS),
                              .admits = get_u32(data.at + AT_ADMITS)};
}

static uint32_t difference(uint32_t a, uint32_t b)
{
    return a > b ? a - b : b - a;
}

bool load_is_to_be_told(const struct node_load *told, const struct node_load *now, uint64_t ago_ms,
                        unsigned nodes)
{
    const uint64_t slower = 1 + nodes / NODES_AT_MS;
    if (told->draining != now->draining) {
        return true;
    }
    if (told->clients == now->clients && told->admits == now->admits) {
        return false;
    }
    const bool much = difference(told->clients, now->clients) > told->clients / MUCH;
    return ago_ms >= (much ? MUCH_MS : LITTLE_MS) * slower;
}
