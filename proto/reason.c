/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/reason.h"

#include <assert.h>
#include <stddef.h>

#include "proto/carrier.h"

static const struct {
    const char *text;  /* NULL: no reason code has this number */
    uint32_t carriers; /* IN_… */
} rules[UINT8_MAX + 1] = {
#define REASON(name, value, text, packets) [value] = {text, packets},
#include "proto/tbl/reason.h"
};

const char *mqtt_reason_text(uint8_t reason)
{
    return rules[reason].text != NULL ? rules[reason].text : "?";
}

bool mqtt_reason_allowed(uint8_t reason, unsigned type, bool from_server)
{
    assert(type > 0);
    assert(type < MQTT_TYPES);

    return (rules[reason].carriers & carrier_of(type, from_server)) != 0;
}

uint8_t mqtt_reason_to_return_code(uint8_t reason)
{
    if (reason < 0x80) {
        return 0; /* Connection accepted */
    }
    switch (reason) {
    case MQTT_REASON_UNSUPPORTED_PROTOCOL_VERSION:
        return 1; /* unacceptable protocol version */
    case MQTT_REASON_CLIENT_IDENTIFIER_NOT_VALID:
        return 2; /* identifier rejected */
    case MQTT_REASON_BAD_USER_NAME_OR_PASSWORD:
        return 4; /* bad user name or password */
    case MQTT_REASON_NOT_AUTHORIZED:
    case MQTT_REASON_BANNED:
    case MQTT_REASON_BAD_AUTHENTICATION_METHOD:
        return 5; /* not authorized */
    default:
        return 3; /* server unavailable: for this client, with this CONNECT, it is */
    }
}
