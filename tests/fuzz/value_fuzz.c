/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_fuzz: any text as the value of any key is refused in words, or has a plain form, which is
 * its own plain form; and of a listen URL all parts are there again when it is written anew.
 *
 * Input: one byte that chooses the key, then the text, up to a NUL.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "broker/config/listen_url.h"
#include "broker/config/value.h"
#include "tests/fuzz/fuzz.h"

static void told(const char *problem)
{
    const size_t len = strnlen(problem, VALUE_PROBLEM_BYTES);
    FUZZ_EXPECT(len > 0 && len < VALUE_PROBLEM_BYTES);
}

static bool is_loopback(const struct listen_url *url)
{
    const struct sockaddr_in6 *const in6 = (const struct sockaddr_in6 *)&url->address;
    const struct sockaddr_in *const in = (const struct sockaddr_in *)&url->address;
    if (url->address.ss_family == AF_INET) {
        FUZZ_EXPECT(ntohs(in->sin_port) == url->port);
        return (ntohl(in->sin_addr.s_addr) & 0xff000000u) == 0x7f000000u;
    }
    if (url->address.ss_family == AF_UNIX) {
        FUZZ_EXPECT(url->unix_socket && url->path[0] == '/');
        return true;
    }
    FUZZ_EXPECT(url->address.ss_family == AF_INET6 && ntohs(in6->sin6_port) == url->port);
    static const uint8_t mapped[13] = {[10] = 0xff, 0xff, 127};
    return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
           memcmp(in6->sin6_addr.s6_addr, mapped, sizeof mapped) == 0;
}

static void write_url(const struct listen_url *url, char *out, size_t size)
{
    static const char *const schemes[2][2] = {{"tcp", "ws"}, {"tls", "wss"}}; /* [tls][websocket] */
    if (url->unix_socket) {
        snprintf(out, size, "unix://%s", url->path);
        return;
    }
    const bool six = strchr(url->host, ':') != NULL;
    snprintf(out, size, "%s://%s%s%s:%u%s", schemes[url->tls][url->websocket], six ? "[" : "",
             url->host, six ? "]" : "", url->port, url->path);
}

static void url_again(const char *text)
{
    struct listen_url url, again;
    const char *const wrong = listen_url_parse(&url, text);
    if (wrong != NULL) {
        FUZZ_EXPECT(wrong[0] != '\0');
        return;
    }
    FUZZ_EXPECT(url.loopback == is_loopback(&url)); /* what is open to others needs a password */
    char anew[sizeof "unix://[]:65535" + LISTEN_URL_HOST_BYTES + LISTEN_URL_PATH_BYTES];
    write_url(&url, anew, sizeof anew);
    FUZZ_EXPECT(listen_url_parse(&again, anew) == NULL);
    FUZZ_EXPECT(again.unix_socket == url.unix_socket && again.tls == url.tls &&
                again.websocket == url.websocket && strcmp(again.path, url.path) == 0);
    FUZZ_EXPECT(again.port == url.port && again.loopback == url.loopback);
    FUZZ_EXPECT(strcmp(again.host, url.host) == 0 && again.address_len == url.address_len);
    FUZZ_EXPECT(memcmp(&again.address, &url.address, url.address_len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const struct schema_key *const key = schema_at(data[0] % schema_count());
    char *const text = strndup((const char *)data + 1, size - 1);
    char problem[VALUE_PROBLEM_BYTES];
    FUZZ_EXPECT(text != NULL);
    char *const plain = value_plain(key, text, problem);
    if (plain == NULL) {
        told(problem);
    } else {
        char *const again = value_plain(key, plain, problem);
        FUZZ_EXPECT(again != NULL && strcmp(again, plain) == 0);
        free(again);
    }
    url_again(text);
    free(plain);
    free(text);
    return 0;
}
