# SPDX-License-Identifier: Apache-2.0
"""Keep alive: one and a half times what was asked for, and only the client's packets count
(3.1.2.10)."""
import time

from harness import equal, pass_time, test
from raw import V31, V311, V5, wire

SECONDS = 38
ALL = [(V31,), (V311,), (V5,)]


@test(each=ALL)
def silence_of_one_and_a_half_times_ends_the_connection(b, version):
    c = b.connected(f'time-silent-{version}', version, keep_alive=2)
    begin = time.monotonic()
    c.expect_disconnect(0x8D)
    silent = time.monotonic() - begin
    # Some brokers look every few seconds only; earlier than 1.5 times is never right.
    equal(2.9 <= silent <= 9.0, True, f'after 3 s ({silent:.2f})')


@test(only='dunlin')
def it_is_one_and_a_half_times_and_not_much_more(b):
    c = b.connected(keep_alive=1)
    begin = time.monotonic()
    c.expect_disconnect(0x8D)
    silent = time.monotonic() - begin
    equal(1.45 <= silent <= 2.5, True, f'after 1.5 s ({silent:.2f})')


@test(each=ALL)
def pings_keep_it_alive(b, version):
    c = b.connected(f'time-pings-{version}', version, keep_alive=1)
    for _ in range(4):
        pass_time(0.8)
        c.ping()


@test
def any_packet_keeps_it_alive(b):
    c = b.connected(keep_alive=1)
    for i in range(4):
        pass_time(0.8)
        c.publish('time/any', b'%d' % i, qos=i % 2)


@test(mosquitto='counts bytes, not packets')
def a_piece_of_a_packet_does_not(b):
    c = b.connected(keep_alive=1)
    c.send(b'\x30\x20\x00')
    begin = time.monotonic()
    pass_time(0.7)
    c.send(b'\x03')
    c.expect_disconnect(0x8D)
    silent = time.monotonic() - begin
    equal(silent <= 3.0, True, f'after 1.5 s ({silent:.2f})')


@test
def what_the_broker_sends_does_not(b):
    c = b.connected(keep_alive=1)
    c.subscribe('time/deaf')
    p = b.connected()
    begin = time.monotonic()
    while time.monotonic() - begin < 6:
        p.publish('time/deaf', b'x', qos=1)
        pass_time(0.1)
        try:
            m = c.recv(timeout=0.01)
        except AssertionError:
            continue
        if m is None or m.type == wire.DISCONNECT:
            break
    equal(time.monotonic() - begin <= 5.5, True, 'ended while it was being sent to')


@test(each=[(V311,), (V5,)])
def keep_alive_0_is_none(b, version):
    c = b.connected(f'time-none-{version}', version, keep_alive=0)
    pass_time(3)
    c.ping()


@test(only='dunlin')
def many_connections_each_at_its_own_time(b):
    """Two hundred deadlines of 1.5, 3 and 4.5 s, all kept (the timing wheel)."""
    clients = [(time.monotonic(), b.connected(keep_alive=1 + i % 3), 1 + i % 3) for i in range(200)]
    for keep_alive in (1, 2, 3):
        for began, c, its in clients:
            if its == keep_alive:
                c.expect_disconnect(0x8D)
                silent = time.monotonic() - began
                equal(1.5 * its - 0.05 <= silent <= 1.5 * its + 2.0, True, f'{its}: {silent:.2f}')
