/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/property.h"

#include <assert.h>

#include "proto/carrier.h"
#include "proto/cursor.h"
#include "proto/decode.h"
#include "proto/topic.h"
#include "proto/varint.h"

#define STRING_BYTES_MAX 65535u

enum wire { WIRE_BYTE, WIRE_U16, WIRE_U32, WIRE_VARINT, WIRE_STRING, WIRE_BINARY, WIRE_PAIR };

struct rule {
    const char *text; /* NULL: no property has this identifier */
    enum wire wire;
    uint32_t least; /* least..most: of the number types */
    uint32_t most;
    size_t offset;     /* of the value in struct mqtt_properties; not of a PAIR */
    uint32_t repeats;  /* IN_…: where it may come more than once */
    uint32_t carriers; /* IN_…: where it may come at all */
};

/* clang-format off */
#define RULE(name, id, text, wire, field, least, most, repeats, packets)                           \
    [id] = {text, WIRE_##wire, least, most, offsetof(struct mqtt_properties, field), repeats, packets},
/* clang-format on */

static const struct rule rules[PROPERTY_IDS] = {
/* Through one more macro, so that "ANY16" has become its two arguments. */
#define PROPERTY(...) RULE(__VA_ARGS__)
#include "proto/tbl/property.h"
};

#define SAME_ID(name, id, ...)                                                                     \
    static_assert((int)PROPERTY_##name == (id), "property.h and its table disagree");
#define PROPERTY(...) SAME_ID(__VA_ARGS__)
#include "proto/tbl/property.h"

static_assert(PROPERTY_IDS <= 64, "one bit of `present` each");

/* ---- Decoding */

static bool number_take(struct cursor *c, enum wire wire, uint32_t *number)
{
    uint8_t u8;
    uint16_t u16;
    switch (wire) {
    case WIRE_BYTE:
        if (!cursor_u8(c, &u8)) {
            return false;
        }
        *number = u8;
        return true;
    case WIRE_U16:
        if (!cursor_u16(c, &u16)) {
            return false;
        }
        *number = u16;
        return true;
    case WIRE_U32:
        return cursor_u32(c, number);
    default:
        assert(wire == WIRE_VARINT);
        return cursor_varint(c, number);
    }
}

/* Takes the value that follows an identifier; false when it is cut off or ill-formed. */
static bool value_take(struct cursor *c, enum wire wire, struct property *property)
{
    switch (wire) {
    case WIRE_STRING:
        return cursor_string(c, &property->string);
    case WIRE_BINARY:
        return cursor_binary(c, &property->string);
    case WIRE_PAIR:
        return cursor_string(c, &property->string) && cursor_string(c, &property->value);
    default:
        return number_take(c, wire, &property->number);
    }
}

/* Puts the value into the field that the table names. */
static void value_store(struct mqtt_properties *properties, const struct property *property)
{
    uint8_t *field = (uint8_t *)properties + rules[property->id].offset;
    const uint8_t u8 = (uint8_t)property->number;
    const uint16_t u16 = (uint16_t)property->number;
    switch (rules[property->id].wire) {
    case WIRE_BYTE:
        memcpy(field, &u8, sizeof u8);
        break;
    case WIRE_U16:
        memcpy(field, &u16, sizeof u16);
        break;
    case WIRE_U32:
    case WIRE_VARINT:
        memcpy(field, &property->number, sizeof property->number);
        break;
    case WIRE_STRING:
    case WIRE_BINARY:
        memcpy(field, &property->string, sizeof property->string);
        break;
    case WIRE_PAIR:
        break; /* many may come: they are found in `raw` */
    }
}

/* May the property with this identifier stand here, after those that are `present`? */
static enum mqtt_err place_check(uint8_t id, uint64_t present, uint32_t carrier)
{
    if (id >= PROPERTY_IDS || rules[id].text == NULL) {
        return MQTT_ERR_MALFORMED; /* the identifier is a varint, but of one byte in all cases */
    }
    if ((rules[id].carriers & carrier) == 0) {
        /* The packet may, but it is not for this side to say [MQTT-3.3.4-6, 3.14.2-2]. */
        const bool the_others = (rules[id].carriers & carrier_reversed(carrier)) != 0;
        return the_others ? MQTT_ERR_PROTOCOL : MQTT_ERR_MALFORMED;
    }
    const bool again = (present >> id & 1) != 0;
    return again && (rules[id].repeats & carrier) == 0 ? MQTT_ERR_PROTOCOL : MQTT_OK;
}

static enum mqtt_err value_check(const struct property *property)
{
    const struct rule *rule = &rules[property->id];
    if (rule->most != 0 && (property->number < rule->least || property->number > rule->most)) {
        return property->id == PROPERTY_TOPIC_ALIAS ? MQTT_ERR_TOPIC_ALIAS : MQTT_ERR_PROTOCOL;
    }
    if (property->id == PROPERTY_RESPONSE_TOPIC && !topic_name_valid(property->string)) {
        return MQTT_ERR_PROTOCOL; /* [MQTT-3.3.2-14, 4.7.3-1] */
    }
    return MQTT_OK;
}

/* Takes the property whose identifier has just been taken. */
static enum mqtt_err property_take(struct mqtt_properties *properties, uint8_t id, struct cursor *c,
                                   uint32_t carrier)
{
    enum mqtt_err err = place_check(id, properties->present, carrier);
    if (err != MQTT_OK) {
        return err;
    }
    struct property property = {.id = id};
    if (!value_take(c, rules[id].wire, &property)) {
        return MQTT_ERR_MALFORMED;
    }
    err = value_check(&property);
    if (err != MQTT_OK) {
        return err;
    }
    value_store(properties, &property);
    properties->present |= UINT64_C(1) << id;
    return MQTT_OK;
}

/* What `raw` has. */
static enum mqtt_err take_all(struct mqtt_properties *properties, uint32_t carrier)
{
    struct cursor in = {properties->raw.at, properties->raw.at + properties->raw.len};
    uint8_t id;
    while (cursor_u8(&in, &id)) {
        const enum mqtt_err err = property_take(properties, id, &in, carrier);
        if (err != MQTT_OK) {
            return err;
        }
    }
    return MQTT_OK;
}

enum mqtt_err property_decode(struct mqtt_properties *properties, struct cursor *c,
                              uint32_t carrier)
{
    assert(carrier != 0);
    assert((carrier & (carrier - 1)) == 0); /* one packet */

    property_decode_none(properties);
    uint32_t len;
    if (!cursor_varint(c, &len) || !cursor_bytes(c, len, &properties->raw)) {
        return MQTT_ERR_MALFORMED;
    }
    return take_all(properties, carrier);
}

enum mqtt_err property_decode_raw(struct mqtt_properties *properties, struct bytes raw,
                                  uint32_t carrier)
{
    property_decode_none(properties);
    properties->raw = raw;
    return raw.len == 0 ? MQTT_OK : take_all(properties, carrier);
}

bool property_next(struct bytes *rest, struct property *property)
{
    if (rest->len == 0) {
        return false;
    }
    const uint8_t id = rest->at[0];
    assert(id < PROPERTY_IDS);
    assert(rules[id].text != NULL);

    struct cursor c = {rest->at + 1, rest->at + rest->len};
    *property = (struct property){.id = id};
    const bool whole = value_take(&c, rules[id].wire, property);
    assert(whole); /* the decoder checked it */

    property->whole = bytes_of(rest->at, (size_t)(c.at - rest->at));
    *rest = bytes_of(c.at, cursor_left(&c));
    return true;
}

/* ---- Composing */

/* Room for len bytes, or NULL and `overflow`, also after an earlier one. */
static uint8_t *room(struct property_writer *w, size_t len)
{
    assert(w->len <= w->size);

    if (w->overflow || len > w->size - w->len) {
        w->overflow = true;
        return NULL;
    }
    uint8_t *at = w->at + w->len;
    w->len += len;
    return at;
}

static uint8_t *big_endian_put(uint8_t *out, uint32_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        out[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    }
    return out + bytes;
}

static uint8_t *string_put(uint8_t *out, struct bytes value)
{
    out = big_endian_put(out, (uint32_t)value.len, 2);
    if (value.len > 0) {
        memcpy(out, value.at, value.len);
    }
    return out + value.len;
}

static size_t number_size(enum wire wire, uint32_t value)
{
    switch (wire) {
    case WIRE_BYTE:
        return 1;
    case WIRE_U16:
        return 2;
    case WIRE_U32:
        return 4;
    default:
        assert(wire == WIRE_VARINT);
        return varint_size(value);
    }
}

void property_put_number(struct property_writer *w, enum property_id id, uint32_t value)
{
    assert(id < PROPERTY_IDS);
    assert(rules[id].most != 0); /* a number */
    assert(value >= rules[id].least);
    assert(value <= rules[id].most);

    const size_t size = number_size(rules[id].wire, value);
    uint8_t *at = room(w, 1 + size);
    if (at == NULL) {
        return;
    }
    *at++ = (uint8_t)id;
    if (rules[id].wire == WIRE_VARINT) {
        varint_encode(at, value);
    } else {
        big_endian_put(at, value, size);
    }
}

void property_put_string(struct property_writer *w, enum property_id id, struct bytes value)
{
    assert(id < PROPERTY_IDS);
    assert(rules[id].wire == WIRE_STRING || rules[id].wire == WIRE_BINARY);
    assert(value.len <= STRING_BYTES_MAX);

    uint8_t *at = room(w, 1 + 2 + value.len);
    if (at != NULL) {
        *at++ = (uint8_t)id;
        string_put(at, value);
    }
}

void property_put_pair(struct property_writer *w, struct bytes name, struct bytes value)
{
    assert(name.len <= STRING_BYTES_MAX);
    assert(value.len <= STRING_BYTES_MAX);

    uint8_t *at = room(w, 1 + 2 + name.len + 2 + value.len);
    if (at != NULL) {
        *at++ = PROPERTY_USER_PROPERTY;
        at = string_put(at, name);
        string_put(at, value);
    }
}

void property_put_whole(struct property_writer *w, struct bytes whole)
{
    uint8_t *at = room(w, whole.len);
    if (at != NULL && whole.len > 0) {
        memcpy(at, whole.at, whole.len);
    }
}

const char *property_name(enum property_id id)
{
    return id < PROPERTY_IDS && rules[id].text != NULL ? rules[id].text : "?";
}
