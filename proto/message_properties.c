/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/message_properties.h"

#include "proto/carrier.h"
#include "proto/decode.h"
#include "proto/property.h"
#include "proto/varint.h"

bool message_properties_valid(struct bytes raw)
{
    struct mqtt_properties properties;
    return raw.len <= VARINT_MAX &&
           property_decode_raw(&properties, raw, CARRIER_CLIENT(MQTT_PUBLISH)) == MQTT_OK &&
           !property_has(&properties, PROPERTY_TOPIC_ALIAS) &&
           !property_has(&properties, PROPERTY_MESSAGE_EXPIRY_INTERVAL);
}
