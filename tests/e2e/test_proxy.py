# SPDX-License-Identifier: Apache-2.0
"""The PROXY protocol: who the client is behind a load balancer, on raw bytes and behind HAProxy."""
import contextlib
import os
import re
import socket
import time

from harness import (PORTS, Client, Launch, equal, finish, lines_until, pass_time, test,
                     wait_until)
from pki import pki
from proxy import LOCAL, TCP4, UNIX, tlv, v1, v2
from raw import V5, V311, Unexpected, until_end, wire
from tls import V1_2, V1_3, Tls
from websocket import Ws

SET = {'log.level': 'debug'}
SECONDS = 30
CLIENT, CLIENT6 = '203.0.113.7', '2001:db8::7'


def LISTENERS():
    required = {'proxy_protocol': 'required', 'proxy_from': '127.0.0.1'}
    tls = {'certificate': pki().chain('server'), 'key': pki().key('server')}
    return {
        'proxy': {'url': 'tcp://{}', **required},
        'elsewhere': {'url': 'tcp://{}', **required, 'proxy_from': '10.0.0.0/8, 127.0.0.9/32'},
        'proxy_tls': {'url': 'tls://{}', **tls, **required},
        'proxy_ws': {'url': 'ws://{}/mqtt', **required},
        'proxy_wss': {'url': 'wss://{}/mqtt', **tls, **required},
        'tls': {'url': 'tls://{}', **tls}, 'ws': {'url': 'ws://{}/mqtt'},
    }


def peer_of(b, client_id, connect):
    """The address that the broker has for the client that connect() makes. The log tells of ten a
    second only, so that it may take another."""
    for _ in range(4):
        since = b.log_size()
        connect()

        def told():
            return [line['peer'] for line in b.events('client_connected', since)
                    if line['client_id'] == client_id]

        with contextlib.suppress(Unexpected):
            return wait_until(told, 0.5 * Launch.slow)[0]
        pass_time(1)
    raise Unexpected(f'no line of {client_id}')


def receive(s, want):
    """Exactly these bytes come."""
    got = b''
    while len(got) < len(want):
        more = s.recv(len(want) - len(got))
        if not more:
            raise Unexpected(f'{want!r} expected, not the end behind {got!r}')
        got += more
    equal(got, want)


CONNACK = b'\x20\x02\x00\x00'


def behind(header, then=None):
    """A way to open connections that begin with that header."""
    def wrap(sock):
        sock.sendall(header)
        return then(sock) if then else sock
    return wrap


HEADERS = {
    'v1 IPv4': (v1(CLIENT), f'{CLIENT}:4711'),
    'v1 IPv6': (v1(CLIENT6, '2001:db8::1'), f'[{CLIENT6}]:4711'),
    'v1 longest': (b'PROXY TCP6 ' + b'ffff:' * 7 + b'ffff ' + b'ffff:' * 7 + b'ffff 65535 65535\r\n',
                   f'[{"ffff:" * 7}ffff]:65535'),
    'v2 IPv4': (v2(CLIENT), f'{CLIENT}:4711'),
    'v2 IPv6': (v2(CLIENT6), f'[{CLIENT6}]:4711'),
    'v2 with more': (v2(CLIENT, tlvs=tlv(0x01, b'mqtt') + tlv(0x02, b'broker.test') +
                        tlv(0x04, bytes(500)) + tlv(0xEA, b'\x01vpce-1')), f'{CLIENT}:4711'),
}
# Of the load balancer itself (its health checks), or where it does not know: its own address.
OWN = {
    'v1 unknown': b'PROXY UNKNOWN\r\n',
    'v1 unknown with more': b'PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n',
    'v2 local': v2(command=LOCAL), 'v2 local with addresses': v2(CLIENT, command=LOCAL),
    'v2 unspecified': v2(), 'v2 of a Unix socket': v2(addresses=bytes(216), family=UNIX),
}


# ---- Who the client is

@test(only='dunlin', each=[(name, version) for name in HEADERS for version in (V311, V5)])
def client_is_who_the_header_says(b, name, version):
    header, peer = HEADERS[name]
    client_id = f'{name}-{version}'.replace(' ', '-')
    equal(peer_of(b, client_id, lambda: b.connected(client_id, version, at='proxy',
                                                    wrap=behind(header)).ping()), peer)


@test(only='dunlin', each=[(name,) for name in OWN])
def balancers_own_connection_is_from_itself(b, name):
    client_id = name.replace(' ', '-')
    own = []

    def connect():
        c = b.connected(client_id, at='proxy', wrap=behind(OWN[name]))
        own[:] = ['%s:%d' % c.sock.getsockname()]

    peer = peer_of(b, client_id, connect)
    equal([peer], own)


@test(only='dunlin', each=[(name,) for name in HEADERS])
def header_and_connect_cut_at_each_byte(b, name):
    """Two segments, the first of every length."""
    header, peer = HEADERS[name]
    client_id = f'cut-{name}'.replace(' ', '-')
    whole = header + wire.connect(V311, client_id)

    def connect(cut):
        s = b.dial('proxy')
        s.sendall(whole[:cut])
        s.sendall(whole[cut:])
        receive(s, CONNACK)
        s.close()

    for cut in range(1, min(len(whole), 150)):
        connect(cut)
    equal(peer_of(b, client_id, lambda: connect(len(header) // 2)), peer)


@test(only='dunlin', each=[(name,) for name in HEADERS])
def header_a_byte_at_a_time(b, name):
    header, peer = HEADERS[name]
    client_id = f'bytewise-{name}'.replace(' ', '-')

    def connect():
        s = b.dial('proxy')
        for byte in header + wire.connect(V311, client_id):
            s.sendall(bytes([byte]))
        receive(s, CONNACK)

    equal(peer_of(b, client_id, connect), peer)


@test(only='dunlin')
def all_in_one_segment(b):
    """The header, CONNECT, and what comes behind it."""
    s = b.dial('proxy')
    s.sendall(v2(CLIENT) + wire.connect(V311, 'at-once') +
              wire.subscribe(V311, 1, [('proxy/once', 0)]) +
              wire.publish(V311, 'proxy/once', b'x') + wire.pingreq())
    receive(s, CONNACK + b'\x90\x03\x00\x01\x00' + wire.publish(V311, 'proxy/once', b'x') +
            b'\xd0\x00')


@test(only='dunlin', each=[(at, name) for at in ('proxy_tls 1.2', 'proxy_tls 1.3', 'proxy_ws',
                                                 'proxy_wss') for name in ('v1 IPv4', 'v2 IPv6')])
def header_before_other_transports(b, at, name):
    """Then the handshakes begin."""
    header, peer = HEADERS[name]
    then = {'proxy_tls 1.2': Tls(version=V1_2), 'proxy_tls 1.3': Tls(version=V1_3),
            'proxy_ws': Ws(), 'proxy_wss': Ws(over=Tls())}[at]
    client_id = f'{at}-{name}'.replace(' ', '-')
    equal(peer_of(b, client_id, lambda: b.connected(client_id, at=at.split()[0],
                                                    wrap=behind(header, then)).ping()), peer)


@test(only='dunlin')
def refusal_in_a_handshake_tells_the_client(b):
    """It is the client who is to be found, not the load balancer."""
    since = b.log_size()
    s = b.dial('proxy_tls')
    s.sendall(v2(CLIENT) + b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    until_end(s)
    equal(b.one_event('tls_handshake_failed', since)['peer'], f'{CLIENT}:4711')


# ---- Who may not, and what is not a header

MALFORMED = {
    'nothing of it: MQTT': wire.connect(V311, 'no-header'),
    'nothing of it: HTTP': b'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
    'nothing of it: zeros': bytes(120),
    'v1 lower case': v1(CLIENT).lower(),
    'v1 TCP5': b'PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n',
    'v1 UDP4': b'PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n',
    'v1 two spaces': b'PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n',
    'v1 line feed alone': b'PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n',
    'v1 without ports': b'PROXY TCP4 1.2.3.4 1.2.3.4\r\n',
    'v1 one more': b'PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n',
    'v1 port too large': b'PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n',
    'v1 port of letters': b'PROXY TCP4 1.2.3.4 1.2.3.4 x 2\r\n',
    'v1 negative port': b'PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n',
    'v1 no address': b'PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n',
    'v1 a name': b'PROXY TCP4 localhost 1.2.3.4 1 2\r\n',
    'v1 the other family': b'PROXY TCP4 ::1 ::2 1 2\r\n',
    'v1 the other family, 6': b'PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n',
    'v1 too long': b'PROXY UNKNOWN ' + b'x' * 100 + b'\r\n',
    'v1 without end': b'PROXY TCP4 ' + b'1' * 5000,
    'v2 version 1': v2(CLIENT, version=1), 'v2 version 3': v2(CLIENT, version=3),
    'v2 command 2': v2(CLIENT, command=2), 'v2 command 15': v2(CLIENT, command=15),
    'v2 signature': v2(CLIENT, signature=b'\r\n\r\n\x00\r\nQUIT\r'),
    'v2 addresses cut': v2(addresses=bytes(11), family=TCP4),
    'v2 IPv6 cut': v2(addresses=bytes(12), family=0x21),
    'v2 no addresses': v2(family=TCP4),
    'v2 more than fits': v2(CLIENT, tlvs=b'\x04\x00\x10xx'),
    'v2 a byte behind': v2(CLIENT, tlvs=b'\x04'),
}


@test(only='dunlin', each=[(name,) for name in MALFORMED])
def malformed_header_is_refused(b, name):
    """Without an answer, and with one line in the log."""
    since = b.log_size()
    s = b.dial('proxy')
    with contextlib.suppress(ConnectionError):
        s.sendall(MALFORMED[name] + wire.connect(V311, 'behind-it'))
    equal(until_end(s), b'', 'an answer')
    line = b.one_event('proxy_header_refused', since)
    equal(line['peer'].startswith('127.0.0.1:') and len(line['reason']) > 3, True, line)
    equal([e for e in b.events('client_connected', since) if e['client_id'] == 'behind-it'], [])


@test(only='dunlin', each=[(name, cut) for name in ('v1 IPv4', 'v2 IPv6') for cut in (0, 1, 20)])
def header_has_its_time(b, name, cut):
    other = b.another({'limits.handshake_timeout_s': 1}, listeners={
        'proxy': {'url': 'tcp://{}', 'proxy_protocol': 'required', 'proxy_from': '127.0.0.1'}})
    begin, s = time.monotonic(), other.dial('proxy')
    s.sendall(HEADERS[name][0][:cut])
    equal(until_end(s), b'')
    took = time.monotonic() - begin
    equal(0.8 <= took < 4 * Launch.slow, True, f'{took:.2f} s until it was closed')


@test(only='dunlin')
def end_within_the_header_is_an_end(b):
    s = b.dial('proxy')
    s.sendall(v2(CLIENT)[:20])
    s.shutdown(socket.SHUT_WR)
    equal(until_end(s), b'')


@test(only='dunlin', each=[('elsewhere', '127.0.0.1'), ('proxy', '127.0.0.2'),
                           ('proxy_tls', '127.0.0.2'), ('elsewhere', '127.0.0.10')])
def header_of_a_stranger_is_refused(b, at, source):
    """Whoever could send one could be anybody."""
    since = b.log_size()
    s = b.dial(at, source)
    with contextlib.suppress(ConnectionError):
        s.sendall(v2(CLIENT) + wire.connect(V311, 'stranger'))
    equal(until_end(s), b'', 'an answer')
    line = b.one_event('proxy_header_refused', since)
    equal(line['peer'].startswith(f'{source}:'), True, line)
    equal(b.events('client_connected', since), [])


@test(only='dunlin')
def one_of_several_may(b):
    def connect():
        s = b.dial('elsewhere', '127.0.0.9')
        s.sendall(v2(CLIENT) + wire.connect(V311, 'one-of-several'))
        receive(s, CONNACK)

    equal(peer_of(b, 'one-of-several', connect), f'{CLIENT}:4711')


@test(only='dunlin', each=[(at, name) for at in (None, 'tls', 'ws')
                           for name in ('v1 IPv4', 'v2 IPv4')])
def header_is_no_way_in_where_it_is_off(b, at, name):
    """It is malformed input there, and nobody's address is taken from it."""
    since = b.log_size()
    s = b.dial(at)
    b.open.append(s)
    with contextlib.suppress(ConnectionError):
        s.sendall(HEADERS[name][0] + wire.connect(V311, 'off'))
        s.shutdown(socket.SHUT_WR)
    answer = until_end(s)
    equal(answer[:1] in (b'', b'\x15', b'H'), True, answer)  # at most an alert, or HTTP's refusal
    equal(b.events('client_connected', since), [])


# ---- HAProxy

TERMINATED = 'ssl crt {pem} ca-file {ca} verify optional alpn mqtt'
HAPROXY = '''
global
    log stdout format raw local0
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen clients
    bind 127.0.0.1:{port} {how}
    server dunlin {address} {send} {check}
'''


class Haproxy:
    """One in front of a listener; address is where its clients connect."""

    def __init__(self, b, at, send, how='', check=''):
        self.address = ('127.0.0.1', PORTS.take())
        pem = self._write('pem', *map(read, (pki().chain('server'), pki().key('server'))))
        conf = self._write('cfg', HAPROXY.format(
            port=self.address[1], address='%s:%d' % b.at[at], send=send, check=check,
            how=how.format(pem=pem, ca=pki().certificate('clients-ca'))))
        self.process = b.run('/usr/sbin/haproxy', '-db', '-f', conf)
        wait_until(self._listens, what='HAProxy')

    def _write(self, kind, *texts):
        path = os.path.join(Launch.folder, f'haproxy-{self.address[1]}.{kind}')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(''.join(texts))
        return path

    def _listens(self):
        if self.process.poll() is not None:
            raise Unexpected(f'HAProxy ended:\n{self.process.stdout.read()}')
        with contextlib.closing(socket.socket()) as s:
            return s.connect_ex(self.address) == 0

    def client(self, b, client_id, source, wrap=None):
        """A raw client that connects from that address."""
        c = Client(self.address, V5, wrap=wrap, source=source)
        b.open.append(c)
        c.connect(client_id)
        return c

    def expect_client(self, b, client_id, source, wrap=None):
        """Such a client, whose own address the broker has."""
        own = []

        def connect():
            own[:] = ['%s:%d' % self.client(b, client_id, source, wrap).sock.getsockname()]

        peer = peer_of(b, client_id, connect)
        equal([peer], own)


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


SENDS = ('send-proxy', 'send-proxy-v2')


@test(only='dunlin', each=[(send,) for send in SENDS])
def behind_haproxy(b, send):
    proxy = Haproxy(b, 'proxy', send)
    for i in range(3):
        proxy.expect_client(b, f'haproxy-{send}-{i}', f'127.0.1.{i + 1}')
    c = proxy.client(b, f'haproxy-{send}', '127.0.1.5')
    c.subscribe(f'haproxy/{send}', qos=1)
    c.publish(f'haproxy/{send}', b'x' * 100000, qos=1)
    c.expect_message(payload=b'x' * 100000)


@test(only='dunlin', each=[(send, client) for send in
                           ('send-proxy-v2-ssl-cn', 'send-proxy-v2-ssl', 'send-proxy')
                           for client in ('good', None)])
def behind_haproxy_that_ends_tls(b, send, client):
    """With send-proxy-v2-ssl-cn the header tells of the client's certificate too."""
    proxy = Haproxy(b, 'proxy', send, how=TERMINATED)
    proxy.expect_client(b, f'{send}-{client}', '127.0.1.9', Tls(client, alpn=['mqtt']))


@test(only='dunlin', each=[(send, at) for send in SENDS for at in ('proxy_tls', 'proxy_wss')])
def behind_haproxy_that_passes_tls_on(b, send, at):
    proxy = Haproxy(b, at, send)
    proxy.expect_client(b, f'{send}-{at}', '127.0.1.7',
                        Tls() if at == 'proxy_tls' else Ws(over=Tls()))


@test(only='dunlin', each=[(send, at) for send in SENDS for at in ('proxy', 'proxy_tls')])
def checks_of_haproxy_are_no_complaint(b, send, at):
    """It connects, says LOCAL or UNKNOWN, and goes: often, and it means nothing."""
    since = b.log_size()
    accepted = b.counter('connections_accepted')
    Haproxy(b, at, send, check='check inter 50ms')
    b.wait_counter('connections_accepted', accepted + 10)
    with open(b.log_path, encoding='utf-8') as f:
        f.seek(since)
        complaints = re.findall(r'.*level=(?:warning|error).*', f.read())
    equal(complaints, [])


@test(only='dunlin')
def haproxy_without_a_header_is_refused(b):
    proxy = Haproxy(b, 'proxy', '')
    since = b.log_size()
    with contextlib.closing(Client(proxy.address, V311)) as c:
        c.send(wire.connect(V311, 'no-header'))
        c.expect_end()
    equal(b.events('client_connected', since), [])
    wait_until(lambda: b.events('proxy_header_refused', since), what='a line proxy_header_refused')


@test(only='dunlin')
def mosquitto_clients_behind_haproxy(b):
    proxy = Haproxy(b, 'proxy', 'send-proxy-v2-ssl-cn', how=TERMINATED)
    how = ('-h', 'localhost', '-p', str(proxy.address[1]), '--cafile', pki().certificate('root'),
           '--cert', pki().chain('good'), '--key', pki().key('good'), '-q', '2', '-t', 'haproxy/m')
    s = b.run('stdbuf', '-oL', 'mosquitto_sub', '-d', '-F', 'message %p', *how)
    lines_until(s, 'Subscribed (mid')
    finish(b.run('mosquitto_pub', '-m', 'hello', *how))
    equal(lines_until(s, 'message ')[-1], 'message hello')
