/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/stored_fair.h"

#include <stdint.h>

#include "broker/store/stored_message.h"
#include "proto/message_properties.h"
#include "proto/topic.h"
#include "proto/utf8.h"

bool stored_fair_message(struct bytes stored)
{
    struct stored_message m;
    return stored_message_read(stored, &m) && utf8_valid(m.topic) && topic_name_valid(m.topic) &&
           m.payload.len <= UINT32_MAX && message_properties_valid(m.properties);
}

bool stored_fair_filter(struct bytes filter)
{
    struct bytes name;
    struct bytes plain = filter;
    return filter.len >= 1 && filter.len <= UINT16_MAX && utf8_valid(filter) &&
           (!topic_is_share(filter) || topic_share_parse(filter, &name, &plain)) &&
           topic_filter_valid(plain);
}

bool stored_fair_client_id(struct bytes client_id)
{
    return client_id.len <= UINT16_MAX && utf8_valid(client_id);
}
