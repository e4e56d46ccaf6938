/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates made here, element by element, as openssl would not write them. That of a real one
 * the same names come out is tests/e2e/test_certificate_names.py's to show. */
#include "proto/certificate_names.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define UTF8      0x0c
#define PRINTABLE 0x13
#define TELETEX   0x14
#define IA5       0x16
#define BMP       0x1e
#define EMAIL     0x81
#define DNS       0x82
#define DIRECTORY 0xa4
#define URI       0x86

#define NAMES_MAX 4u

struct text {
    uint8_t tag;
    const char *at; /* NULL: no more of them */
    size_t len;
};

#define TEXT(tag, literal)                                                                         \
    {                                                                                              \
        tag, literal, sizeof(literal) - 1                                                          \
    }

/* A certificate's names: of the subject, and the alternative ones. */
struct sample {
    const char *what;
    struct text common[NAMES_MAX], alternative[NAMES_MAX];
    const char *want[CERTIFICATE_NAMES]; /* NULL: none */
    bool one_set;                        /* common names are in one set, not in one each */
    bool two_extensions;                 /* each alternative name in one of its own */
    bool version1;                       /* without a version, and extensions */
};

static const struct sample samples[] = {
    {"nothing", .want = {NULL}},
    {"of version 1", .common = {TEXT(UTF8, "a")}, .want = {"a"}, .version1 = true},
    {"one of each kind", .common = {TEXT(PRINTABLE, "a device")},
     .alternative = {TEXT(EMAIL, "a@b"), TEXT(DNS, "a.b"), TEXT(URI, "urn:a")},
     .want = {"a device", "a.b", "urn:a", "a@b"}},
    {"UTF-8", .common = {TEXT(UTF8, "Gerät 1")}, .want = {"Gerät 1"}},
    {"IA5", .common = {TEXT(IA5, "a")}, .want = {"a"}},
    {"UTF-8 in a type without it", .common = {TEXT(IA5, "Gerät")}},
    {"a type of other characters", .common = {TEXT(BMP, "\0a")}},
    {"an old type", .common = {TEXT(TELETEX, "a")}},
    {"ill-formed UTF-8", .common = {TEXT(UTF8, "admin\xc0\x80")}},
    {"cut off", .common = {TEXT(UTF8, "admin\xc3")}},
    {"NUL", .common = {TEXT(UTF8, "admin\0.example.org")}},
    {"NUL at the end", .common = {TEXT(UTF8, "admin\0")}},
    {"NUL in all others",
     .alternative = {TEXT(EMAIL, "a@b\0c"), TEXT(DNS, "a\0b"), TEXT(URI, "urn:\0a")}},
    {"control character", .common = {TEXT(UTF8, "admin\n")}},
    {"DEL", .common = {TEXT(UTF8, "admin\x7f")}},
    {"control character of C1", .common = {TEXT(UTF8, "admin\xc2\x9f")}},
    {"none of C1", .common = {TEXT(UTF8, "admin\xc2\xa0")}, .want = {"admin\xc2\xa0"}},
    {"empty", .common = {TEXT(UTF8, "")}, .alternative = {TEXT(DNS, "")}},
    {"asterisk", .common = {TEXT(UTF8, "*.a")}, .alternative = {TEXT(DNS, "*.a")}},
    {"asterisk within", .common = {TEXT(UTF8, "a*")}, .alternative = {TEXT(DNS, "a.*.b")}},
    {"asterisk where it stands for nothing else",
     .alternative = {TEXT(URI, "urn:*"), TEXT(EMAIL, "*@a")},
     .want = {[CERTIFICATE_URI] = "urn:*", [CERTIFICATE_EMAIL] = "*@a"}},
    {"two common names", .common = {TEXT(UTF8, "a"), TEXT(UTF8, "b")}},
    {"the same one twice", .common = {TEXT(UTF8, "a"), TEXT(UTF8, "a")}},
    {"two in one set", .common = {TEXT(UTF8, "a"), TEXT(UTF8, "b")}, .one_set = true},
    {"a second one that cannot be read", .common = {TEXT(UTF8, "a"), TEXT(BMP, "\0b")}},
    {"a second one that is empty", .common = {TEXT(UTF8, "a"), TEXT(UTF8, "")}},
    {"two hosts, one address", .alternative = {TEXT(DNS, "a"), TEXT(DNS, "b"), TEXT(EMAIL, "a@b")},
     .want = {[CERTIFICATE_EMAIL] = "a@b"}},
    {"two in two extensions", .alternative = {TEXT(DNS, "a"), TEXT(DNS, "b")},
     .two_extensions = true},
    {"other kinds beside", .alternative = {TEXT(DIRECTORY, "\x30\0"), TEXT(DNS, "a")},
     .want = {[CERTIFICATE_DNS] = "a"}},
};

/* ---- DER, written from the end to the front */

struct der {
    uint8_t bytes[4096];
    size_t at; /* of the first byte */
};

static void front(struct der *d, const void *bytes, size_t len)
{
    cr_assert_leq(len, d->at);
    d->at -= len;
    memcpy(d->bytes + d->at, bytes, len);
}

/* What was written since `end` becomes the content of one. */
static void wrap(struct der *d, uint8_t tag, size_t end)
{
    const size_t len = end - d->at;
    const uint8_t large[] = {tag, 0x82, (uint8_t)(len >> 8), (uint8_t)len};
    const uint8_t small[] = {tag, (uint8_t)len};
    if (len < 0x80) {
        front(d, small, sizeof small);
    } else {
        front(d, large, sizeof large);
    }
}

static void element(struct der *d, uint8_t tag, const void *content, size_t len)
{
    const size_t end = d->at;
    front(d, content, len);
    wrap(d, tag, end);
}

static void put_extension(struct der *d, const struct text *names, size_t count)
{
    const size_t end = d->at;
    for (size_t i = count; i-- > 0;) {
        element(d, names[i].tag, names[i].at, names[i].len);
    }
    wrap(d, 0x30, end);
    wrap(d, 0x04, end);
    element(d, 0x01, "\xff", 1); /* critical */
    element(d, 0x06, "\x55\x1d\x11", 3);
    wrap(d, 0x30, end);
}

static size_t count_of(const struct text *names)
{
    size_t count = 0;
    while (count < NAMES_MAX && names[count].at != NULL) {
        count++;
    }
    return count;
}

static void put_extensions(struct der *d, const struct sample *s)
{
    const size_t end = d->at, count = count_of(s->alternative);
    if (s->two_extensions) {
        for (size_t i = count; i-- > 0;) {
            put_extension(d, &s->alternative[i], 1);
        }
    } else if (count > 0) {
        put_extension(d, s->alternative, count);
    }
    wrap(d, 0x30, end);
    wrap(d, 0xa3, end);
}

static void put_subject(struct der *d, const struct sample *s)
{
    const size_t end = d->at;
    for (size_t i = count_of(s->common); i-- > 0;) {
        const size_t here = d->at;
        element(d, s->common[i].tag, s->common[i].at, s->common[i].len);
        element(d, 0x06, "\x55\x04\x03", 3);
        wrap(d, 0x30, here);
        if (!s->one_set) {
            wrap(d, 0x31, here);
        }
    }
    if (s->one_set) {
        wrap(d, 0x31, end);
    }
    const size_t organization = d->at;
    element(d, UTF8, "Example", 7);
    element(d, 0x06, "\x55\x04\x0a", 3);
    wrap(d, 0x30, organization);
    wrap(d, 0x31, organization);
    wrap(d, 0x30, end);
}

static struct bytes make(struct der *d, const struct sample *s)
{
    const size_t end = d->at = sizeof d->bytes;
    element(d, 0x03, "\0signature", 10);
    element(d, 0x30, "", 0); /* its algorithm */
    const size_t tbs = d->at;
    if (!s->version1) {
        put_extensions(d, s);
    }
    element(d, 0x30, "", 0); /* key */
    put_subject(d, s);
    element(d, 0x30, "", 0);         /* validity */
    element(d, 0x30, "", 0);         /* issuer */
    element(d, 0x30, "", 0);         /* signature */
    element(d, 0x02, "\x12\x34", 2); /* serial */
    if (!s->version1) {
        element(d, 0xa0, "\x02\x01\x02", 3); /* version */
    }
    wrap(d, 0x30, tbs);
    wrap(d, 0x30, end);
    return bytes_of(d->bytes + d->at, sizeof d->bytes - d->at);
}

/* ---- tests */

Test(certificate_names, given_if_they_can_be_mistaken_for_no_other)
{
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        static struct der d;
        struct certificate_names names;
        cr_assert(certificate_names_decode(&names, make(&d, &samples[i])), "%s", samples[i].what);
        for (unsigned kind = 0; kind < CERTIFICATE_NAMES; kind++) {
            const char *const want = samples[i].want[kind];
            cr_expect(bytes_equal(names.name[kind], bytes_text(want == NULL ? "" : want)),
                      "%s, kind %u", samples[i].what, kind);
        }
    }
}

Test(certificate_names, up_to_the_longest)
{
    static char text[CERTIFICATE_NAME_BYTES_MAX + 1];
    memset(text, 'a', sizeof text);
    for (size_t len = sizeof text - 1; len <= sizeof text; len++) {
        static struct der d;
        struct certificate_names names;
        const struct sample s = {.common = {{UTF8, text, len}}, .alternative = {{URI, text, len}}};
        const size_t want = len < sizeof text ? len : 0;
        cr_assert(certificate_names_decode(&names, make(&d, &s)));
        cr_expect_eq(names.name[CERTIFICATE_COMMON_NAME].len, want);
        cr_expect_eq(names.name[CERTIFICATE_URI].len, want);
    }
}

/* Whatever is missing from the end, or more there than is said: nothing is read beyond. */
Test(certificate_names, cut_off_is_none)
{
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        static struct der d;
        const struct bytes whole = make(&d, &samples[i]);
        for (size_t len = 0; len < whole.len; len++) {
            struct certificate_names names;
            uint8_t *const exact = malloc(len == 0 ? 1 : len);
            memcpy(exact, whole.at, len);
            cr_expect_not(certificate_names_decode(&names, bytes_of(exact, len)), "%zu", len);
            free(exact);
        }
    }
}

/* Every byte of it may be another: no read beyond, whatever it is taken for. */
Test(certificate_names, any_byte_changed_is_fair_input)
{
    static struct der d;
    const struct bytes whole = make(&d, &samples[2]);
    for (size_t at = 0; at < whole.len; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            struct certificate_names names;
            uint8_t *const exact = malloc(whole.len);
            memcpy(exact, whole.at, whole.len);
            exact[at] = (uint8_t)byte;
            if (certificate_names_decode(&names, bytes_of(exact, whole.len))) {
                for (unsigned kind = 0; kind < CERTIFICATE_NAMES; kind++) {
                    const struct bytes name = names.name[kind];
                    cr_expect(name.len == 0 ||
                              certificate_name_is_fair((enum certificate_name)kind, name));
                }
            }
            free(exact);
        }
    }
}

Test(certificate_names, bytes_behind_it_are_none_of_it)
{
    static struct der d;
    const struct bytes whole = make(&d, &samples[2]);
    uint8_t more[4096];
    struct certificate_names names;
    memcpy(more, whole.at, whole.len);
    more[whole.len] = 0;
    cr_expect_not(certificate_names_decode(&names, bytes_of(more, whole.len + 1)));
}
