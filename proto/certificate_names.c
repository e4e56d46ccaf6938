/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/certificate_names.h"

#include <string.h>

#include "proto/utf8.h"

/* Tags of DER (X.690, 8.1.2), as they stand there: class, form, and number in one byte. */
#define BOOLEAN          0x01u
#define INTEGER          0x02u
#define OCTET_STRING     0x04u
#define OBJECT           0x06u
#define UTF8_STRING      0x0cu
#define PRINTABLE_STRING 0x13u
#define IA5_STRING       0x16u
#define SEQUENCE         0x30u
#define SET              0x31u
#define VERSION          0xa0u /* of TBSCertificate: [0] explicit; */
#define ISSUER_ID        0x81u /* [1] and */
#define SUBJECT_ID       0x82u /* [2] implicit; */
#define EXTENSIONS       0xa3u /* [3] explicit */
#define NAME_EMAIL       0x81u /* of GeneralName: [1], */
#define NAME_DNS         0x82u /* [2], and */
#define NAME_URI         0x86u /* [6], all of them IA5String */

#define LENGTH_BYTES_MAX 3u /* a certificate of 16 MiB is none */

static const uint8_t common_name_id[] = {0x55, 0x04, 0x03};      /* 2.5.4.3 */
static const uint8_t alternative_name_id[] = {0x55, 0x1d, 0x11}; /* 2.5.29.17 */

/* How often a kind was there, and the last one of it. */
struct found {
    unsigned count;
    bool readable; /* of a string type that we read */
    struct bytes name;
};

/* ---- DER */

struct element {
    uint8_t tag;
    struct bytes content;
};

/* Takes the first element off the front; false: there is none. */
static bool take(struct bytes *from, struct element *e)
{
    const uint8_t *at = from->at;
    size_t left = from->len;
    if (left < 2 || (at[0] & 0x1f) == 0x1f) {
        return false;
    }
    size_t len = at[1];
    const uint8_t tag = at[0];
    at += 2;
    left -= 2;
    if (len >= 0x80) {
        const size_t bytes = len & 0x7f;
        if (bytes == 0 || bytes > LENGTH_BYTES_MAX || bytes > left) {
            return false;
        }
        len = 0;
        for (size_t i = 0; i < bytes; i++) {
            len = len << 8 | at[i];
        }
        at += bytes;
        left -= bytes;
    }
    if (len > left) {
        return false;
    }
    *e = (struct element){.tag = tag, .content = bytes_of(at, len)};
    *from = bytes_of(at + len, left - len);
    return true;
}

static bool take_tag(struct bytes *from, uint8_t tag, struct bytes *content)
{
    struct element e;
    if (!take(from, &e) || e.tag != tag) {
        return false;
    }
    *content = e.content;
    return true;
}

/* Passes over the next element if it has that tag. */
static bool pass(struct bytes *from, uint8_t tag)
{
    struct element e;
    return from->len == 0 || from->at[0] != tag || take(from, &e);
}

static bool is_id(struct bytes content, const uint8_t id[3])
{
    return content.len == 3 && memcmp(content.at, id, 3) == 0;
}

/* ---- names */

static bool is_ascii(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

static void find(struct found *f, uint8_t tag, struct bytes name)
{
    f->count++;
    f->name = name;
    f->readable =
        tag == UTF8_STRING || ((tag == PRINTABLE_STRING || tag == IA5_STRING) && is_ascii(name));
}

/* C0, DEL, and C1, which is 0xc2 0x80 to 0xc2 0x9f. */
static bool has_control(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t byte = text.at[i];
        const bool c1 = byte == 0xc2 && i + 1 < text.len && text.at[i + 1] < 0xa0;
        if (byte < 0x20 || byte == 0x7f || c1) {
            return true;
        }
    }
    return false;
}

bool certificate_name_is_fair(enum certificate_name kind, struct bytes name)
{
    const bool of_hosts = kind == CERTIFICATE_COMMON_NAME || kind == CERTIFICATE_DNS;
    return name.len > 0 && name.len <= CERTIFICATE_NAME_BYTES_MAX && utf8_valid(name) &&
           !has_control(name) && !(of_hosts && memchr(name.at, '*', name.len) != NULL);
}

/* One AttributeTypeAndValue. */
static bool read_attribute(struct bytes attribute, struct found *common_name)
{
    struct bytes type;
    struct element value;
    if (!take_tag(&attribute, OBJECT, &type) || !take(&attribute, &value)) {
        return false;
    }
    if (is_id(type, common_name_id)) {
        find(common_name, value.tag, value.content);
    }
    return attribute.len == 0;
}

/* A Name: a sequence of sets of attributes. */
static bool read_subject(struct bytes subject, struct found *common_name)
{
    while (subject.len > 0) {
        struct bytes set, attribute;
        if (!take_tag(&subject, SET, &set)) {
            return false;
        }
        while (set.len > 0) {
            if (!take_tag(&set, SEQUENCE, &attribute) || !read_attribute(attribute, common_name)) {
                return false;
            }
        }
    }
    return true;
}

static bool read_alternative_names(struct bytes value, struct found *found)
{
    struct bytes names;
    struct element name;
    if (!take_tag(&value, SEQUENCE, &names) || value.len > 0) {
        return false;
    }
    while (names.len > 0) {
        if (!take(&names, &name)) {
            return false;
        }
        switch (name.tag) {
        case NAME_EMAIL:
            find(&found[CERTIFICATE_EMAIL], IA5_STRING, name.content);
            break;
        case NAME_DNS:
            find(&found[CERTIFICATE_DNS], IA5_STRING, name.content);
            break;
        case NAME_URI:
            find(&found[CERTIFICATE_URI], IA5_STRING, name.content);
            break;
        default:
            break; /* an address, a directory name, … */
        }
    }
    return true;
}

static bool read_extensions(struct bytes explicit, struct found *found)
{
    struct bytes extensions, extension, id, value;
    if (!take_tag(&explicit, SEQUENCE, &extensions) || explicit.len > 0) {
        return false;
    }
    while (extensions.len > 0) {
        if (!take_tag(&extensions, SEQUENCE, &extension) || !take_tag(&extension, OBJECT, &id) ||
            !pass(&extension, BOOLEAN) || !take_tag(&extension, OCTET_STRING, &value) ||
            extension.len > 0) {
            return false;
        }
        if (is_id(id, alternative_name_id) && !read_alternative_names(value, found)) {
            return false;
        }
    }
    return true;
}

static bool read_certificate(struct bytes der, struct found *found)
{
    struct bytes certificate, tbs, skipped, subject, extensions;
    if (!take_tag(&der, SEQUENCE, &certificate) || der.len > 0 ||
        !take_tag(&certificate, SEQUENCE, &tbs)) {
        return false;
    }
    if (!pass(&tbs, VERSION) || !take_tag(&tbs, INTEGER, &skipped) ||
        !take_tag(&tbs, SEQUENCE, &skipped) || /* the signature's algorithm */
        !take_tag(&tbs, SEQUENCE, &skipped) || /* issuer */
        !take_tag(&tbs, SEQUENCE, &skipped) || /* validity */
        !take_tag(&tbs, SEQUENCE, &subject) || !take_tag(&tbs, SEQUENCE, &skipped) /* key */) {
        return false;
    }
    if (!read_subject(subject, &found[CERTIFICATE_COMMON_NAME]) || !pass(&tbs, ISSUER_ID) ||
        !pass(&tbs, SUBJECT_ID)) {
        return false;
    }
    return tbs.len == 0 || (take_tag(&tbs, EXTENSIONS, &extensions) && tbs.len == 0 &&
                            read_extensions(extensions, found));
}

bool certificate_names_decode(struct certificate_names *names, struct bytes der)
{
    struct found found[CERTIFICATE_NAMES] = {{.count = 0}};
    if (!read_certificate(der, found)) {
        return false;
    }
    for (unsigned i = 0; i < CERTIFICATE_NAMES; i++) {
        const struct found *const f = &found[i];
        const bool fair = f->count == 1 && f->readable &&
                          certificate_name_is_fair((enum certificate_name)i, f->name);
        names->name[i] = fair ? f->name : bytes_of(NULL, 0);
    }
    return true;
}
