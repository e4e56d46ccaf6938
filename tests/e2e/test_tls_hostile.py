# SPDX-License-Identifier: Apache-2.0
"""What a stranger may do to a TLS listener, or by mistake."""
import os
import signal
import socket
import ssl
import time

from harness import Launch, equal, test, wait_until
from pki import pki
from raw import V5, V311, until_end, wire
from siege import Crowd, Siege, closed, fewer
from tls import V1_2, V1_3, Tls

SET = {'limits.connections_max': 20000}
SECONDS = 18
HTTP = b'GET / HTTP/1.1\r\nHost: broker.test\r\n\r\n'


def LISTENERS():
    return {'tls': {'url': 'tls://{}', 'certificate': pki().chain('server'),
                    'key': pki().key('server')}}


def client_hello(version=None):
    """The bytes that a client begins with."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    handshake = Tls(version=version).context.wrap_bio(incoming, outgoing,
                                                      server_hostname='broker.test')
    try:
        handshake.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def crowd(b):
    """A Crowd at the TLS listener."""
    return Crowd(b, b.at['tls'])


# ---- Slow ones, and many

@test(timeout=60, each=[(V1_2,), (V1_3,)])
def handshakes_of_a_byte_a_second_hinder_nobody(b, version):
    """By the hundred; meanwhile others, by TLS and without, do what they came for."""
    hello = client_hello(version)
    drips = crowd(b)
    with Siege(b, f'tls_slow_handshakes[{version}]', memory_kib=300 * 60):
        for _ in range(300):
            drips.open()
        how = Tls(version=version)
        for i in range(3):
            for s in drips.socks:
                s.sendall(hello[i:i + 1])
            begin = time.monotonic()
            b.connected(at='tls', wrap=how).publish('hostile/slow', b'x', qos=1)
            took = time.monotonic() - begin
            equal(took < 1 * Launch.slow, True, f'{took:.2f} s for a connection')
            time.sleep(max(0.0, 1 - took))  # the byte a second
        equal(drips.left(), 300, 'they are within their time')
    drips.close()


@test(only='dunlin', each=[('nothing',), ('half a hello',), ('a hello',), ('a byte at a time',)])
def handshake_has_its_time(b, sent):
    """handshake_timeout_s, from the connection's opening, whatever comes meanwhile."""
    other = b.another({'limits.handshake_timeout_s': 1}, listeners=LISTENERS())
    hello = client_hello()
    begin, s = time.monotonic(), other.dial('tls')
    s.sendall({'nothing': b'', 'half a hello': hello[:100], 'a hello': hello,
               'a byte at a time': hello[:1]}[sent])
    at = 1
    while sent == 'a byte at a time' and not closed(s):
        equal(time.monotonic() - begin < 5 * Launch.slow, True, 'still open')
        time.sleep(0.1)
        try:
            s.sendall(hello[at:at + 1])
        except OSError:
            break
        at += 1
    if sent != 'a byte at a time':
        until_end(s)
    took = time.monotonic() - begin
    equal(0.9 <= took < 4 * Launch.slow, True, f'{took:.2f} s until it was closed')
    other.connected(at='tls', wrap=Tls()).ping()


@test(only='dunlin')
def after_the_handshake_it_is_connects_time(b):
    other = b.another({'limits.handshake_timeout_s': 30, 'limits.connect_timeout_s': 1},
                      listeners=LISTENERS())
    c = other.client(at='tls', wrap=Tls())
    begin = time.monotonic()
    c.expect_end()
    took = time.monotonic() - begin
    equal(0.8 <= took < 4 * Launch.slow, True, f'{took:.2f} s until it was closed')


@test(only='dunlin')
def handshakes_under_way_are_bounded(b):
    """For one more, that goes which has been silent for longest; who is done does not count."""
    other = b.another({'node.shards': 1, 'limits.handshakes_max': 20,
                       'limits.handshake_timeout_s': 30}, listeners=LISTENERS())
    done = [other.connected(at='tls', wrap=Tls()) for _ in range(30)]
    silent = crowd(other)
    opened = [silent.open() for _ in range(25)]
    wait_until(lambda: silent.left() <= 20, what='the end of those beyond the bound')
    equal(silent.socks, opened[5:])
    wait_until(lambda: len(other.events('handshake_displaced')) == 5, what='a line for each')
    other.connected().ping()  # a plain connection has no handshake
    equal(silent.left(), 20)
    other.connected(at='tls', wrap=Tls()).ping()  # in the place of the next
    equal(silent.left(), 19)
    equal(silent.socks, opened[6:])
    for c in done:
        c.ping()


@test(only='dunlin', each=[(V1_2,), (V1_3,)])
def silence_after_the_hello_counts_as_well(b, version):
    """Though the broker's part, the costly one, is done."""
    other = b.another({'node.shards': 1, 'limits.handshakes_max': 5,
                       'limits.handshake_timeout_s': 30}, listeners=LISTENERS())
    hello, silent = client_hello(version), crowd(other)
    for _ in range(5):
        s = silent.open()
        s.sendall(hello)
        s.recv(1)
    other.connected(at='tls', wrap=Tls(version=version)).ping()
    equal(silent.left(), 4)


@test(timeout=60)
def connections_by_the_thousand_that_say_nothing(b):
    """More than there may be handshakes; whoever has something to say gets in."""
    silent = crowd(b)
    count = fewer(b, 3000)
    with Siege(b, 'tls_silent', memory_kib=count * 60 + 4000):
        for _ in range(count):
            silent.open()
        b.connected(at='tls', wrap=Tls()).ping()
    silent.close()


@test(timeout=60, each=[(V1_2,), (V1_3,)])
def handshakes_broken_off(b, version):
    """After the hello, when the server has done its part: nothing stays behind."""
    hello = client_hello(version)
    with Siege(b, f'tls_broken_off[{version}]', memory_kib=20000):
        for _ in range(fewer(b, 500)):
            s = b.dial('tls')
            s.sendall(hello)
            s.recv(1)
            s.close()
        b.connected(at='tls', wrap=Tls(version=version)).ping()
    b.let_log_rest()


# ---- Another protocol

OTHERS = {
    'mqtt 3.1.1': wire.connect(V311, 'plain'), 'mqtt 5.0': wire.connect(V5, 'plain'),
    'http': HTTP, 'ssh': b'SSH-2.0-OpenSSH_9.2\r\n', 'zeros': bytes(300),
    'sslv2': b'\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10' + bytes(37),
    'proxy': b'PROXY TCP4 127.0.0.1 127.0.0.1 1000 8883\r\n',
}


@test(each=[(kind,) for kind in OTHERS])
def other_protocol_at_the_tls_port(b, kind):
    """It is closed, at most with an alert, and one line says so."""
    since = b.log_size()
    s = b.dial('tls')
    s.sendall(OTHERS[kind])
    answer = until_end(s)
    equal(answer == b'' or answer[0] == 0x15, True, f'nothing, or an alert, not {answer.hex(" ")}')
    if Launch.kind == 'dunlin':
        line = b.one_event('tls_handshake_failed', since)
        equal(line['peer'].startswith('127.0.0.1:') and len(line['reason']) > 3, True, line)


@test(each=[(V1_2,), (V1_3,)])
def tls_at_a_plain_port(b, version):
    s = b.dial()
    s.sendall(client_hello(version))
    equal(until_end(s), b'', 'an answer')


@test(each=[('garbage behind the hello',), ('a record too long',), ('an alert',),
            ('data before its time',), ('a hello cut short',)])
def broken_handshake_is_ended(b, kind):
    hello = client_hello()
    since = b.log_size()
    s = b.dial('tls')
    s.sendall({
        'garbage behind the hello': hello + os.urandom(64) + b'\x15' * 400,
        'a record too long': b'\x16\x03\x01\xff\xff' + bytes(0x4400),
        'an alert': b'\x15\x03\x01\x00\x02\x02\x28',
        'data before its time': b'\x17\x03\x03\x00\x20' + os.urandom(32),
        'a hello cut short': hello[:3] + b'\x00\x28' + hello[5:45],
    }[kind])
    if kind == 'a hello cut short':
        s.shutdown(socket.SHUT_WR)
    until_end(s)
    if Launch.kind == 'dunlin' and kind != 'a hello cut short':  # who just goes is not worth a line
        b.one_event('tls_handshake_failed', since)
    b.connected(at='tls', wrap=Tls()).ping()


@test(each=[(V1_2,), (V1_3,)])
def flipped_bit_ends_the_connection(b, version):
    """Within an established connection; nothing of the record is heard."""
    topic = f'hostile/flipped/{version}'
    listener = b.connected()
    listener.subscribe(topic)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = Tls(version=version).context.wrap_bio(incoming, outgoing, server_hostname='broker.test')
    s = b.dial('tls')

    def pump(step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                s.sendall(outgoing.read())
                incoming.write(s.recv(1 << 16))

    pump(tls.do_handshake)
    tls.write(wire.connect(V311, f'flipped-{version}'))
    equal(pump(lambda: tls.read(100)), b'\x20\x02\x00\x00')
    tls.write(wire.publish(V311, topic, b'forged'))
    record = bytearray(outgoing.read())
    record[-20] ^= 1
    s.sendall(record)
    until_end(s)
    b.connected().publish(topic, b'end', qos=1)
    listener.expect_message(topic, b'end')


@test(only='dunlin')
def it_ends_in_the_middle_of_handshakes(b):
    """SIGTERM while some are at each stage; the sanitizers see that nothing is left behind."""
    other = b.another(listeners=LISTENERS())
    hello = client_hello()
    for i in range(30):
        s = other.dial('tls')
        s.sendall(hello[:i * 20])
        other.open.append(s)
    for _ in range(5):
        s = other.dial('tls')
        s.sendall(hello)
        s.recv(1)
        other.open.append(s)
    other.signal(signal.SIGTERM)
    equal(other.wait_end(), 0)
    other.check_log()
