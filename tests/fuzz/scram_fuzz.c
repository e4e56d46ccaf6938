/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scram_fuzz: whatever a client says, it is answered within the bounds or refused, and nobody who
 * does not know a password is let in.
 *
 * Input: messages, each up to a byte 0xff. In a later one "@" is the nonce that the server gave, so
 * that the library's last step is reached.
 */
#include <string.h>

#include "broker/auth/scram.h"
#include "tests/fuzz/fuzz.h"

#define USERS                                                                                      \
    "alice:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"                                           \
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n"  \
    "bob:$scrypt$ln=1,r=1,p=1$MTIzNDU2Nzg$eXUbzuXSKrYboQ3lHPzQqg\n"
#define ROOM 8192u

static struct scram_server *server;
static struct password_file *users;

static void begin_once(void)
{
    struct config_error error = {0};
    if (server == NULL) {
        server = scram_server_create();
        FUZZ_EXPECT(server != NULL && password_file_parse(&users, "fuzz", bytes_text(USERS), 1,
                                                          &error) == PASSWORD_FILE_OK);
    }
}

/* "r=NONCE,…" of the answer. */
static struct bytes nonce_in(struct bytes answer)
{
    const uint8_t *const end = answer.len < 2 ? NULL : memchr(answer.at, ',', answer.len);
    return end == NULL ? bytes_of(NULL, 0) : bytes_of(answer.at + 2, (size_t)(end - answer.at) - 2);
}

static struct bytes filled_in(struct bytes message, struct bytes nonce, uint8_t out[ROOM])
{
    size_t len = 0;
    for (size_t i = 0; i < message.len; i++) {
        const struct bytes part = message.at[i] == '@' ? nonce : bytes_of(message.at + i, 1);
        if (len + part.len > ROOM) {
            break;
        }
        if (part.len > 0) {
            memcpy(out + len, part.at, part.len);
        }
        len += part.len;
    }
    return bytes_of(out, len);
}

static void expect_user(const struct scram *x)
{
    const struct bytes user = scram_user(x);
    FUZZ_EXPECT(scram_line(x) == NULL || bytes_equal(user, bytes_text("alice")));
    FUZZ_EXPECT(user.len <= SCRAM_MESSAGE_BYTES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin_once();
    struct scram *const x = scram_begin(server);
    FUZZ_EXPECT(x != NULL);
    uint8_t answer[SCRAM_ANSWER_BYTES_MAX], message[ROOM];
    struct bytes rest = bytes_of(data, size), nonce = bytes_of(NULL, 0);
    enum scram_result result = SCRAM_GO_ON;
    for (unsigned steps = 0; result == SCRAM_GO_ON && rest.len > 0; steps++) {
        const uint8_t *const end = memchr(rest.at, 0xff, rest.len);
        const size_t len = end == NULL ? rest.len : (size_t)(end - rest.at);
        size_t answer_len = SIZE_MAX;
        result = scram_step(x, users, filled_in(bytes_of(rest.at, len), nonce, message), answer,
                            &answer_len);
        FUZZ_EXPECT(result != SCRAM_RIGHT && steps < 3);
        if (result == SCRAM_GO_ON) {
            FUZZ_EXPECT(answer_len <= sizeof answer);
            nonce = nonce_in(bytes_of(answer, answer_len));
            expect_user(x);
        }
        rest = bytes_of(rest.at + len + (end != NULL), rest.len - len - (end != NULL));
    }
    scram_end(x);
    return 0;
}
