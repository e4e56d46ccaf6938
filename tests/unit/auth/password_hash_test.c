/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/password_hash.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/memory.h>

/* A salt of the bytes 0 to 63, and one of the bytes 0 to 11. */
#define SALT_64                                                                                    \
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw"
#define SALT_12 "AAECAwQFBgcICQoL"
#define SALT_8  "MTIzNDU2Nzg"
#define HORSE   "correct horse"

/* clang-format off */
static const struct {
    const char *password, *hash;
} rows[] = {
    /* RFC 7914's third, and others that Python's hashlib made */
    {"pleaseletmein", "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+"
     "qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw"},
    {HORSE, "$scrypt$ln=14,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$JbN2hANm9NOw4h5BRHZnbjzQ6Jr0QwNWojTOC2Wg"
     "IbU"},
    {"", "$scrypt$ln=4,r=1,p=1$" SALT_8 "$eXUbzuXSKrYboQ3lHPzQqg"},
    {"Grüße", "$scrypt$ln=10,r=8,p=16$MTIzNDU2NzgxMjM0NTY3ODEyMzQ1Njc4MTIzNDU2NzgxMjM0NTY3ODEyMzQ1N"
     "jc4MTIzNDU2NzgxMjM0NTY3OA$KxPU7mf27oegJj2ZLE9MIptEOZLtm8zI+UdK4b+SDqwQkwiddcQzeFnXZa0pA41mVxw"
     "d4wJXmKIQFiu0qMufZQ"},
    /* The first is of the reference's tests; all were made with libgcrypt, which is not it. */
    {"password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb"
     "2GRPPc"},
    {HORSE, "$argon2id$v=19$m=47104,t=1,p=1$" SALT_64 "$aVo1St5PsxylF7NjjIPOOE5jxNbeUNweT/LEl8ONyx"
     "YqiqflWO7BotCdzcmTPqR4fg0oMZSzDQFY9PDfbH+biw"},
    {"p", "$argon2id$v=19$m=64,t=3,p=4$" SALT_8 "$/geKsZGthvjGB15k22Y4dg"},
    {"Grüße", "$argon2id$v=19$m=64,t=1,p=2$c2FsdHNhbHRzYWx0$fPsOFUenV1+El+hmqMAY4PBJz01bg24VjU1BXb"
     "qZmNPm"},
    /* hashlib again, and the last of each by mosquitto_passwd 2.0.11 */
    {HORSE, "$7$101$" SALT_12 "$lp0Cm29zl+CI/RXyXDKvLye7OxM3OuE6RMzgXTX/f3imS/pFh2Ur7yarLDpKRUKpB0"
     "tOj6l0UrRv41zqxmD4tg=="},
    {HORSE, "$7$1000$" SALT_64 "==$53KiEygVzVVEVUVTe4h79yMtYp0OxxoKFip82vf7OCrEbcm4/E88oGkCyN0NhQ7"
     "fLOSBIpiITuELG/0ldDPFMQ=="},
    {"", "$7$1$MQ==$tab7DX9XclD3xUgv6ua7pk278xciJPXmyltQBSf9o27rX4k/r6pleX8laJfIMWDEYCcPbL6e1+cJqC"
     "Vj0l61Bw=="},
    {HORSE, "$7$101$Fa1IjbbixeTt3iue$Gvf98gp0ue5fOnYQscb0tJ3OyC9lRyR43SupYSi4SdDHRyL7Qluw8HR4fzLCC"
     "l5I76wHYDyi85DeJMvji/Nt4A=="},
    {HORSE, "$6$" SALT_12 "$5W8GCQ9GLgmhmQvoa8jmRaPnsh82mRigdSv6mQsK0sMIII/WznlQb1g+RWddfoAKTMzBJP"
     "1deJU+Rp/1QZ0zZg=="},
    {"", "$6$" SALT_64 "==$7kMg668/208sgysTcgDAjiNeD6e70OsXQMcGO6ig0VHad+ADOY4XFKlV1HWwXj6VC2OVA7R"
     "S7Bhd5CKbxIc5SQ=="},
    {HORSE, "$6$7mF4//KIiTnVDyNu$xornP7vY5fThb0050W2PYRCVrg/+vTwGrpAZBk8xj0OjIdKKoBzrGbbtgKL6bpTkH"
     "vImE42xw4MGElorfw2f8g=="},
    /* RFC 7677's, whose keys follow from its password and salt; and of hashlib and hmac */
    {"pencil", "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtb"
     "sT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="},
    {HORSE, "SCRAM-SHA-256$5000:" SALT_64 "==$fZKmGu4LePqAFzSP00750OtJHS+PAIORs+d/7h8Rahs=:fDMj9R9"
     "bUvN+Jl+2aUmP5LRa6JP0wxjgQ8oUWLfrYBk="},
    {"", "SCRAM-SHA-256$4096:MQ==$H5VnzENzPAUJHU1nXRRwDMVcdZ9umeJZkZx9gb1vFkI=:Qi+KGaQBO7MWjeYUvNb"
     "MnIycDGfBIJMkgyP++m199yQ="},
};
/* clang-format on */

#define ROWS (sizeof rows / sizeof rows[0])

static struct password_hash parsed(const char *text)
{
    struct password_hash h;
    const char *const wrong = password_hash_parse(&h, bytes_text(text));
    cr_assert_null(wrong, "%s: %s", text, wrong);
    return h;
}

Test(password_hash, the_password_is_right_and_no_other)
{
    for (size_t i = 0; i < ROWS; i++) {
        const struct password_hash h = parsed(rows[i].hash);
        const size_t len = strlen(rows[i].password);
        char other[64];
        snprintf(other, sizeof other, "%s?", rows[i].password);
        cr_expect_eq(password_hash_verify(&h, bytes_of(other, len)), PASSWORD_OK, "%s",
                     rows[i].hash);
        cr_expect_eq(password_hash_verify(&h, bytes_of(other, len + 1)), PASSWORD_WRONG, "%s",
                     rows[i].hash);
        other[0] ^= 1;
        cr_expect_eq(password_hash_verify(&h, bytes_of(other, len > 0 ? len : 1)), PASSWORD_WRONG,
                     "%s", rows[i].hash);
    }
}

/* Of the same salt and cost, both keys of SCRAM included, of which a login needs one only. */
Test(password_hash, what_is_made_is_what_others_make)
{
    for (size_t i = 0; i < ROWS; i++) {
        const struct password_hash h = parsed(rows[i].hash);
        struct password_hash made = h;
        memset(made.digest, 0xa5, made.digest_len);
        if (h.form == PASSWORD_SCRAM_SHA256) {
            memset(made.server_key, 0xa5, sizeof made.server_key);
        }
        cr_assert_eq(password_hash_make(&made, bytes_text(rows[i].password)), PASSWORD_OK);
        char text[PASSWORD_HASH_TEXT];
        password_hash_print(&made, text);
        cr_expect_str_eq(text, rows[i].hash);
    }
}

/* Not one byte of it may be passed over. */
Test(password_hash, each_bit_of_the_digest_counts)
{
    static const char *const cheap[] = {
        "$scrypt$ln=4,r=1,p=1$" SALT_8 "$eXUbzuXSKrYboQ3lHPzQqg",
        "$7$1$MQ==$tab7DX9XclD3xUgv6ua7pk278xciJPXmyltQBSf9o27rX4k/r6pleX8laJfIMWDEYCcPbL6e1+"
        "cJqCVj0l61Bw=="};
    for (size_t i = 0; i < sizeof cheap / sizeof cheap[0]; i++) {
        struct password_hash h = parsed(cheap[i]);
        cr_assert_eq(password_hash_verify(&h, bytes_of(NULL, 0)), PASSWORD_OK);
        for (unsigned bit = 0; bit < 8u * h.digest_len; bit++) {
            h.digest[bit / 8] ^= (uint8_t)(1u << bit % 8);
            cr_expect_eq(password_hash_verify(&h, bytes_of(NULL, 0)), PASSWORD_WRONG, "bit %u",
                         bit);
            h.digest[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

/* RFC 7914, section 12: the first two, whose salts are too short for a file. */
Test(password_hash, scrypt_vectors)
{
    static const uint8_t first[] = {
        0x77, 0xd6, 0x57, 0x62, 0x38, 0x65, 0x7b, 0x20, 0x3b, 0x19, 0xca, 0x42, 0xc1,
        0x8a, 0x04, 0x97, 0xf1, 0x6b, 0x48, 0x44, 0xe3, 0x07, 0x4a, 0xe8, 0xdf, 0xdf,
        0xfa, 0x3f, 0xed, 0xe2, 0x14, 0x42, 0xfc, 0xd0, 0x06, 0x9d, 0xed, 0x09, 0x48,
        0xf8, 0x32, 0x6a, 0x75, 0x3a, 0x0f, 0xc8, 0x1f, 0x17, 0xe8, 0xd3, 0xe0, 0xfb,
        0x2e, 0x0d, 0x36, 0x28, 0xcf, 0x35, 0xe2, 0x0c, 0x38, 0xd1, 0x89, 0x06};
    struct password_hash h = {
        .form = PASSWORD_SCRYPT, .ln = 4, .r = 1, .p = 1, .digest_len = sizeof first};
    cr_assert_eq(password_hash_make(&h, bytes_of(NULL, 0)), PASSWORD_OK);
    cr_expect_arr_eq(h.digest, first, sizeof first);

    static const uint8_t second[] = {
        0xfd, 0xba, 0xbe, 0x1c, 0x9d, 0x34, 0x72, 0x00, 0x78, 0x56, 0xe7, 0x19, 0x0d,
        0x01, 0xe9, 0xfe, 0x7c, 0x6a, 0xd7, 0xcb, 0xc8, 0x23, 0x78, 0x30, 0xe7, 0x73,
        0x76, 0x63, 0x4b, 0x37, 0x31, 0x62, 0x2e, 0xaf, 0x30, 0xd9, 0x2e, 0x22, 0xa3,
        0x88, 0x6f, 0xf1, 0x09, 0x27, 0x9d, 0x98, 0x30, 0xda, 0xc7, 0x27, 0xaf, 0xb9,
        0x4a, 0x83, 0xee, 0x6d, 0x83, 0x60, 0xcb, 0xdf, 0xa2, 0xcc, 0x06, 0x40};
    h = (struct password_hash){.form = PASSWORD_SCRYPT,
                               .ln = 10,
                               .r = 8,
                               .p = 16,
                               .salt_len = 4,
                               .salt = "NaCl",
                               .digest_len = sizeof second};
    cr_assert_eq(password_hash_make(&h, bytes_text("password")), PASSWORD_OK);
    cr_expect_arr_eq(h.digest, second, sizeof second);
}

Test(password_hash, text_is_written_as_it_was_read)
{
    for (size_t i = 0; i < ROWS; i++) {
        const struct password_hash h = parsed(rows[i].hash);
        char text[PASSWORD_HASH_TEXT];
        cr_expect_eq(password_hash_print(&h, text), strlen(rows[i].hash));
        cr_expect_str_eq(text, rows[i].hash);
    }
}

/* The largest of each, which also have to find room in the text. */
Test(password_hash, parameters_at_their_bounds)
{
#define DIGEST_64 SALT_64
#define KEY       "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    static const struct {
        const char *text;
        bool good;
    } bounds[] = {
        {"$scrypt$ln=16,r=8,p=4$" SALT_64 "$" DIGEST_64, true},
        {"$scrypt$ln=16,r=8,p=5$" SALT_64 "$" DIGEST_64, false},
        {"$scrypt$ln=17,r=8,p=1$" SALT_64 "$" DIGEST_64, false},
        {"$scrypt$ln=14,r=9,p=1$" SALT_64 "$" DIGEST_64, false},
        {"$scrypt$ln=14,r=8,p=16$" SALT_64 "$" DIGEST_64, true},
        {"$scrypt$ln=4,r=8,p=17$" SALT_64 "$" DIGEST_64, false},
        {"$scrypt$ln=15,r=1,p=1$" SALT_64 "$" DIGEST_64, true},
        {"$scrypt$ln=16,r=1,p=1$" SALT_64 "$" DIGEST_64, false},
        {"$scrypt$ln=9999999,r=9999999,p=9999999$" SALT_64 "$" DIGEST_64, false},
        {"$scrypt$ln=0,r=8,p=1$" SALT_64 "$" DIGEST_64, false},
        {"$scrypt$ln=14,r=0,p=1$" SALT_64 "$" DIGEST_64, false},
        {"$scrypt$ln=14,r=8,p=0$" SALT_64 "$" DIGEST_64, false},
        {"$scrypt$ln=14,r=8,p=1$MTIzNDU2Nw$" DIGEST_64, false},    /* a salt of 7 bytes */
        {"$scrypt$ln=14,r=8,p=1$" SALT_64 "AA$" DIGEST_64, false}, /* of 65 or 66 */
        {"$scrypt$ln=14,r=8,p=1$" SALT_64 "$" DIGEST_64 "A", false},
        {"$scrypt$ln=14,r=8,p=1$" SALT_64 "$AAECAwQFBgcICQoLDA0O", false}, /* 15 bytes */
        {"$argon2id$v=19$m=65536,t=4,p=16$" SALT_64 "$" DIGEST_64, true},
        {"$argon2id$v=19$m=65536,t=5,p=16$" SALT_64 "$" DIGEST_64, false},
        {"$argon2id$v=19$m=65537,t=1,p=1$" SALT_64 "$" DIGEST_64, false},
        {"$argon2id$v=19$m=8,t=32768,p=1$" SALT_64 "$" DIGEST_64, true},
        {"$argon2id$v=19$m=8,t=32769,p=1$" SALT_64 "$" DIGEST_64, false},
        {"$argon2id$v=19$m=7,t=1,p=1$" SALT_64 "$" DIGEST_64, false},
        {"$argon2id$v=19$m=31,t=1,p=4$" SALT_64 "$" DIGEST_64, false},
        {"$argon2id$v=19$m=64,t=1,p=17$" SALT_64 "$" DIGEST_64, false},
        {"$argon2id$v=19$m=0,t=1,p=1$" SALT_64 "$" DIGEST_64, false},
        {"$argon2id$v=16$m=64,t=1,p=1$" SALT_64 "$" DIGEST_64, false},
        {"$argon2id$v=19$m=64,t=1,p=1$MTIzNDU2Nw$" DIGEST_64, false},
        {"$7$1000000$" SALT_64 "==$" DIGEST_64 "==", true},
        {"$7$1000001$" SALT_64 "==$" DIGEST_64 "==", false},
        {"$7$10000000$" SALT_64 "==$" DIGEST_64 "==", false},
        {"$7$4294967297$" SALT_64 "==$" DIGEST_64 "==", false},
        {"$7$-1$" SALT_64 "==$" DIGEST_64 "==", false},
        {"$7$0$" SALT_64 "==$" DIGEST_64 "==", false},
        {"$7$01$" SALT_64 "==$" DIGEST_64 "==", false},
        {"$7$1$$" DIGEST_64 "==", false},
        {"$7$1$" SALT_64 "==$" KEY, false},
        {"$7$1$" SALT_64 "==$" DIGEST_64, false}, /* without its = */
        {"$7$1$" SALT_64 "$" DIGEST_64 "==", false},
        {"$6$" SALT_64 "==$" DIGEST_64 "==", true},
        {"$6$$" DIGEST_64 "==", false},
        {"$6$" SALT_64 "==$" KEY, false},
        {"$6$" SALT_64 "==$" DIGEST_64 "==$", false},
        {"SCRAM-SHA-256$1000000:" SALT_64 "==$" KEY ":" KEY, true},
        {"SCRAM-SHA-256$1000001:" SALT_64 "==$" KEY ":" KEY, false},
        {"SCRAM-SHA-256$4096:" SALT_64 "==$" KEY ":" KEY, true},
        {"SCRAM-SHA-256$4095:" SALT_64 "==$" KEY ":" KEY, false},
        {"SCRAM-SHA-256$4096:$" KEY ":" KEY, false},
        {"SCRAM-SHA-256$4096:" SALT_64 "==$" DIGEST_64 "==:" KEY, false},
        {"SCRAM-SHA-256$4096:" SALT_64 "==$" KEY ":" DIGEST_64 "==", false},
        {"SCRAM-SHA-256$4096:" SALT_64 "==$" KEY, false},
        {"SCRAM-SHA-1$4096:" SALT_64 "==$" KEY ":" KEY, false},
        {"$5$" SALT_64 "==$" DIGEST_64 "==", false},
        {"$2b$12$abcdefghijklmnopqrstuu", false},
        {"secret", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        const char *const text = bounds[i].text;
        struct password_hash h = {.iterations = 4711};
        const char *const wrong = password_hash_parse(&h, bytes_text(text));
        cr_expect_eq(wrong == NULL, bounds[i].good, "%s: %s", text, wrong);
        if (wrong != NULL) {
            cr_expect_gt(strlen(wrong), 30u, "%s: %s", text, wrong);
            cr_expect_eq(h.iterations, 4711, "written on success only");
        } else {
            char again[PASSWORD_HASH_TEXT];
            password_hash_print(&h, again);
            cr_expect_str_eq(again, text);
        }
    }
}

/* Every beginning of a good one is bad, and is not read beyond. */
Test(password_hash, beginnings)
{
    for (size_t i = 0; i < ROWS; i++) {
        const size_t whole = strlen(rows[i].hash);
        for (size_t len = 0; len < whole; len++) {
            char *const exact = malloc(len > 0 ? len : 1);
            struct password_hash h;
            memcpy(exact, rows[i].hash, len);
            const char *const wrong = password_hash_parse(&h, bytes_of(exact, len));
            free(exact);
            if (wrong == NULL) { /* of a PHC string, a shorter digest is one too */
                cr_expect_lt(h.digest_len, 64);
                cr_expect(h.form == PASSWORD_SCRYPT || h.form == PASSWORD_ARGON2ID);
            }
        }
    }
}

Test(password_hash, what_is_made_is_verified)
{
    static const enum password_form forms[] = {PASSWORD_SCRYPT, PASSWORD_SCRAM_SHA256};
    for (size_t i = 0; i < 2; i++) {
        struct password_hash h;
        char text[PASSWORD_HASH_TEXT];
        password_hash_init(&h, forms[i], bytes_text("sixteen bytes, !"));
        cr_assert_eq(password_hash_make(&h, bytes_text(HORSE)), PASSWORD_OK);
        password_hash_print(&h, text);
        const struct password_hash again = parsed(text);
        char text_again[PASSWORD_HASH_TEXT];
        password_hash_print(&again, text_again);
        cr_expect_str_eq(text_again, text);
        cr_expect_eq(password_hash_verify(&again, bytes_text(HORSE)), PASSWORD_OK);
        cr_expect_eq(password_hash_verify(&again, bytes_text("correct horsf")), PASSWORD_WRONG);
        cr_expect_eq(strncmp(text, i == 0 ? "$scrypt$ln=14,r=8,p=1$" : "SCRAM-SHA-256$15000:", 20),
                     0, "%s", text);
    }
}

/* A NUL is a byte like others, and the longest that MQTT can carry is judged, a longer one not. */
Test(password_hash, any_bytes_are_a_password)
{
    static uint8_t bytes[PASSWORD_BYTES_MAX + 1];
    memset(bytes, 'x', sizeof bytes);
    const struct password_hash nul = parsed("$scrypt$ln=1,r=1,p=1$" SALT_8
                                            "$QOZnyv1kM+6zlJ2b0sE0yGWjYRxNwwFNnGFM1knyYjzjfjk7jCvs"
                                            "wDwssI+wXW3g9pr+Vm9DmUmCYxfmd8O5EA");
    cr_expect_eq(password_hash_verify(&nul, bytes_of("a\0b", 3)), PASSWORD_OK);
    cr_expect_eq(password_hash_verify(&nul, bytes_of("a\0c", 3)), PASSWORD_WRONG);
    cr_expect_eq(password_hash_verify(&nul, bytes_of("a", 1)), PASSWORD_WRONG);
    const struct password_hash longest =
        parsed("$scrypt$ln=15,r=1,p=1$" SALT_8 "$CqEfvQSK3kYOuSf7fxVGnXXG2Uvde/ddI2hRhaEDpZg");
    cr_expect_eq(password_hash_verify(&longest, bytes_of(bytes, PASSWORD_BYTES_MAX)), PASSWORD_OK);
    cr_expect_eq(password_hash_verify(&longest, bytes_of(bytes, PASSWORD_BYTES_MAX + 1)),
                 PASSWORD_WRONG);
}

static double processor_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Of processor time, the least of some: what the dummy takes and what a wrong password takes. */
Test(password_hash, dummy_takes_the_time_of_a_wrong_password)
{
    const struct password_hash h = parsed(rows[1].hash);
    double dummy = 1e9, wrong = 1e9;
    for (unsigned i = 0; i < 5; i++) {
        const double begin = processor_ms();
        cr_expect_eq(password_hash_dummy(bytes_text("secret")), PASSWORD_WRONG);
        const double between = processor_ms();
        cr_expect_eq(password_hash_verify(&h, bytes_text("secret")), PASSWORD_WRONG);
        const double end = processor_ms();
        dummy = between - begin < dummy ? between - begin : dummy;
        wrong = end - between < wrong ? end - between : wrong;
    }
    cr_expect(dummy > wrong / 3 && dummy < wrong * 3, "%g and %g ms", dummy, wrong);
}

static void *no_memory(size_t size)
{
    (void)size;
    return NULL;
}

/* It could not be judged, which is neither right nor wrong. */
Test(password_hash, without_memory)
{
    const struct password_hash h = parsed(rows[1].hash);
    cr_assert_eq(wolfSSL_SetAllocators(no_memory, free, realloc), 0);
    const enum password_err verified = password_hash_verify(&h, bytes_text(HORSE));
    const enum password_err dummy = password_hash_dummy(bytes_text(HORSE));
    cr_assert_eq(wolfSSL_SetAllocators(malloc, free, realloc), 0);
    cr_expect_eq(verified, PASSWORD_NO_MEMORY);
    cr_expect_eq(dummy, PASSWORD_NO_MEMORY);
}
