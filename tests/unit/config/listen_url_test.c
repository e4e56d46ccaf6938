/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/listen_url.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>

Test(listen_url, good)
{
    static const struct {
        const char *url;
        const char *host;
        uint16_t port;
        bool loopback;
        int family;
    } rows[] = {
        {"tcp://127.0.0.1:1883", "127.0.0.1", 1883, true, AF_INET},
        {"tcp://127.9.8.7:1", "127.9.8.7", 1, true, AF_INET},
        {"tcp://localhost:65535", "127.0.0.1", 65535, true, AF_INET},
        {"tcp://*:1883", "0.0.0.0", 1883, false, AF_INET},
        {"tcp://0.0.0.0:0", "0.0.0.0", 0, false, AF_INET},
        {"tcp://192.168.1.2:1883", "192.168.1.2", 1883, false, AF_INET},
        {"tcp://[::1]:1883", "::1", 1883, true, AF_INET6},
        {"tcp://[0:0:0:0:0:0:0:1]:1883", "::1", 1883, true, AF_INET6},
        {"tcp://[::]:1883", "::", 1883, false, AF_INET6},
        {"tcp://[::ffff:127.0.0.1]:7", "::ffff:127.0.0.1", 7, true, AF_INET6},
        {"tcp://[2001:db8::1]:1883", "2001:db8::1", 1883, false, AF_INET6},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct listen_url u;
        cr_assert_null(listen_url_parse(&u, rows[i].url), "%s", rows[i].url);
        cr_expect_str_eq(u.host, rows[i].host);
        cr_expect_eq(u.port, rows[i].port);
        cr_expect_eq(u.loopback, rows[i].loopback, "%s", rows[i].url);
        cr_expect_eq(u.address.ss_family, rows[i].family);
        const bool six = rows[i].family == AF_INET6;
        const in_port_t port = six ? ((struct sockaddr_in6 *)&u.address)->sin6_port
                                   : ((struct sockaddr_in *)&u.address)->sin_port;
        cr_expect_eq(ntohs(port), rows[i].port);
        cr_expect_eq(u.address_len, six ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    }
}

Test(listen_url, what_is_spoken_there)
{
    static const struct {
        const char *url;
        bool tls, websocket, unix_socket;
        const char *path;
    } rows[] = {
        {"tcp://127.0.0.1:1", false, false, false, ""},
        {"tls://127.0.0.1:1", true, false, false, ""},
        {"ws://127.0.0.1:1", false, true, false, ""},
        {"ws://127.0.0.1:1/", false, true, false, "/"},
        {"ws://[::1]:1/mqtt", false, true, false, "/mqtt"},
        {"wss://*:443/a/b:c", true, true, false, "/a/b:c"},
        {"unix:///run/a.sock", false, false, true, "/run/a.sock"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct listen_url u;
        cr_assert_null(listen_url_parse(&u, rows[i].url), "%s", rows[i].url);
        cr_expect_eq(u.tls, rows[i].tls, "%s", rows[i].url);
        cr_expect_eq(u.websocket, rows[i].websocket, "%s", rows[i].url);
        cr_expect_eq(u.unix_socket, rows[i].unix_socket, "%s", rows[i].url);
        cr_expect_str_eq(u.path, rows[i].path);
        cr_expect_eq(u.loopback, strchr(rows[i].url, '*') == NULL, "%s", rows[i].url);
    }
}

Test(listen_url, bad)
{
    static const struct {
        const char *url;
        const char *part;
    } rows[] = {
        {"", "no scheme"},
        {"127.0.0.1:1883", "no scheme"},
        {"tcp:127.0.0.1:1883", "no scheme"},
        {"ssl://127.0.0.1:8883", "is not tcp, tls, ws, wss, or unix"},
        {"TCP://127.0.0.1:8883", "is not tcp, tls, ws, wss, or unix"},
        {"tcp://", "host is missing"},
        {"tcp://:1883", "host is missing"},
        {"tcp://[]:1883", "host is missing"},
        {"tcp://[::1", "host is missing"},
        {"tcp://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1", "too long"},
        {"tcp://127.0.0.1", "port is not a number"},
        {"tcp://127.0.0.1:", "port is not a number"},
        {"tcp://127.0.0.1:x", "port is not a number"},
        {"tcp://127.0.0.1:65536", "port is not a number"},
        {"tcp://127.0.0.1:99999999999999999999", "port is not a number"},
        {"tcp://127.0.0.1:1883/path", "only ws:// and wss:// have a path"},
        {"tls://127.0.0.1:1883/", "only ws:// and wss:// have a path"},
        {"ws://127.0.0.1:1x/path", "port is not a number"},
        {"ws://127.0.0.1/path:1", "port is not a number"},
        {"ws://127.0.0.1:1/a path", "would have to be escaped"},
        {"ws://127.0.0.1:1/a?b", "would have to be escaped"},
        {"unix://a", "has to begin with a slash"},
        {"unix://", "has to begin with a slash"},
        {"unix:///aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "takes 107 bytes"},
        {"tcp://[::1]1883", "port is not a number"},
        {"tcp://::1:1883", "stands in brackets"},
        {"tcp://example.org:1883", "not looked up"},
        {"tcp://127.0.0.256:1883", "host is not"},
        {"tcp://[127.0.0.1]:1883", "host is not"},
        {"tcp://[*]:1883", "host is not"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct listen_url u;
        memset(&u, 7, sizeof u);
        const char *const wrong = listen_url_parse(&u, rows[i].url);
        cr_assert_not_null(wrong, "%s", rows[i].url);
        cr_expect_not_null(strstr(wrong, rows[i].part), "%s: %s", rows[i].url, wrong);
        cr_expect_eq(u.port, 0x0707, "nothing is written");
    }
}
