# SPDX-License-Identifier: Apache-2.0
"""Rates: connections of an address and of the node, what one client publishes; who is over one, and
that others do not notice. Bounds follow from the time that has passed, however slow the machine is."""
import contextlib
import ipaddress
import time

from harness import Launch, equal, finish, test
from pki import pki
from proxy import LOCAL, v2
from raw import CONNACK, PINGRESP, V5, V311, Unexpected, wire
from tls import V1_3, Tls

SECONDS = 11
A, B = '127.0.0.2', '127.0.0.3'
PROXY = {'proxy_protocol': 'required', 'proxy_from': '127.0.0.1'}
PER_ADDRESS = 'limits.connections_per_second_per_address'
NODE = 'limits.connections_per_second'
MESSAGES, BYTES = 'limits.publish_messages_per_second', 'limits.publish_bytes_per_second'


def house(b, **settings):
    tls = {'certificate': pki().chain('server'), 'key': pki().key('server')}
    return b.another({key.replace('__', '.'): value for key, value in settings.items()},
                     listeners={'proxy': {'url': 'tcp://{}', **PROXY},
                                'proxy_tls': {'url': 'tls://{}', **PROXY, **tls}})


def behind(header, then=None):
    def wrap(sock):
        sock.sendall(header)
        return then(sock) if then else sock
    return wrap


def is_let_in(b, at=None, **how):
    """Whether a connection comes as far as a CONNACK; it then stays open."""
    with contextlib.suppress(ConnectionError, Unexpected, OSError):
        c = b.client(V311, at, **how)
        c.send(wire.connect(V311, ''))
        return c.expect(CONNACK).reason == 0
    return False


def storm(b, count, each):
    """How many of so many connections get in, and how many may have: one a second, and one."""
    begin = time.monotonic()
    let_in = sum(is_let_in(b, **each(i)) for i in range(count))
    return let_in, 2 + int(time.monotonic() - begin)


def is_held_to_its_rate(b, count, each):
    refused = b.counters('connections_over_rate')['connections_over_rate']
    let_in, most = storm(b, count, each)
    equal(1 <= let_in <= most, True, f'{let_in} let in, at most {most}')
    counters = b.counters('connections_over_rate')
    equal(counters['connections_over_rate'] - refused, count - let_in)
    return let_in


# ---- Of an address

@test(only='dunlin')
def address_over_its_rate_is_closed_and_others_are_not(b):
    other = house(b, **{PER_ADDRESS: 1})
    bystander = other.client(V311, source=B)
    bystander.connect('rates-bystander')
    let_in = is_held_to_its_rate(other, 30, lambda i: {'source': A})
    equal(let_in < 30, True, 'nobody was refused')
    bystander.ping()
    equal(is_let_in(other, source='127.0.0.4'), True)


@test(only='dunlin')
def addresses_in_the_proxy_header_are_what_counts(b):
    """Not the load balancer's own, which all come from, and whose own connections are not counted."""
    other = house(b, **{PER_ADDRESS: 1})
    for i in range(20):
        equal(is_let_in(other, at='proxy', wrap=behind(v2(f'203.0.113.{i}'))), True)
    for _ in range(5):
        equal(is_let_in(other, at='proxy', wrap=behind(v2(command=LOCAL))), True)
    is_held_to_its_rate(other, 20, lambda i: {'at': 'proxy', 'wrap': behind(v2('203.0.113.99'))})


@test(only='dunlin')
def networks_count_of_ipv6(b):
    other = house(b, **{PER_ADDRESS: 1})
    base = ipaddress.IPv6Address('2001:db8:1::')
    is_held_to_its_rate(other, 20, lambda i: {'at': 'proxy', 'wrap': behind(v2(str(base + i * 2**57 + i)))})
    for i in range(1, 20):
        equal(is_let_in(other, at='proxy', wrap=behind(v2(str(base + i * 2**64)))), True)


@test(only='dunlin')
def who_is_over_it_costs_no_handshake(b):
    other = house(b, **{PER_ADDRESS: 1})

    def tls(i):
        return {'at': 'proxy_tls', 'wrap': behind(v2('203.0.113.99'), Tls(version=V1_3))}

    let_in = is_held_to_its_rate(other, 20, tls)
    counters = other.counters('handshakes_failed')
    equal([counters['handshakes_full'], counters['handshakes_failed']], [let_in, 0])


@test(only='dunlin')
def addresses_by_the_thousand_take_no_memory(b):
    """At a rate that leaves room for those who share their places in the table with others."""
    other = house(b, **{PER_ADDRESS: 10})

    def come(first, count):
        for i in range(first, first + count):
            s = other.dial('proxy')
            s.sendall(v2(f'10.{i >> 16}.{i >> 8 & 255}.{i & 255}') + wire.connect(V311, ''))
            equal(s.recv(4), b'\x20\x02\x00\x00')
            other.open.remove(s)
            s.close()

    come(0, 500)
    before = other.status('VmRSS')
    come(500, 1500)
    other.stays_below(before + 2048)
    equal(other.counter('connections_over_rate'), 0)


# ---- Of the node

@test(only='dunlin')
def those_who_are_too_many_for_the_node_wait_and_get_in(b):
    other = house(b, **{NODE: 50, 'node.shards': 2})
    there = other.connected('rates-there')
    begin = time.monotonic()
    waiting = [other.client(V311) for _ in range(120)]
    for c in waiting:
        c.send(wire.connect(V311, ''))
    there.ping()
    for c in waiting:
        c.expect(CONNACK, reason=0)
    took = time.monotonic() - begin
    # A second's worth at once; and what each listener of each shard had under way.
    equal(took >= (120 - 50 - 6) / 50, True, f'{took} s')
    counters = other.counters('connections_paced')
    equal([counters['connections_refused'], counters['connections_over_rate']], [0, 0])
    equal(counters['connections_paced'] > 0, True)


# ---- What a client publishes

@test(only='dunlin', each=[(qos,) for qos in (0, 1, 2)])
def mosquitto_pub_is_slowed_down_and_loses_nothing(b, qos):
    other = house(b, **{MESSAGES: 100})
    sub = other.connected('rates-sub')
    sub.subscribe(f'rates/{qos}', qos=0)
    begin = time.monotonic()
    pub = b.run('sh', '-c', f'seq 170 | mosquitto_pub -h 127.0.0.1 -p {other.port} -t rates/{qos} '
                            f'-q {qos} -i rates-pub -l')
    for i in range(1, 171):
        sub.expect_message(f'rates/{qos}', b'%d' % i)
    took = time.monotonic() - begin
    finish(pub)
    equal(took >= (170 - 101) / 100, True, f'{took} s')
    equal(other.counters('publish_paced')['publish_paced'] > 0, True)


@test(only='dunlin')
def all_that_a_client_sends_waits_and_others_do_not(b):
    other = house(b, **{BYTES: 10000})
    pub, bystander = other.connected('rates-bytes'), other.connected('rates-by')
    begin = time.monotonic()
    pub.send(wire.publish(V5, 'rates/large', bytes(15000)), wire.publish(V5, 'rates/next', b'x'),
             wire.pingreq())
    bystander.ping()
    bystander.publish('rates/other', b'x', qos=1)
    pub.expect(PINGRESP)
    took = time.monotonic() - begin
    equal(took >= 0.5, True, f'{took} s')


@test(only='dunlin')
def keep_alive_of_who_is_not_read_does_not_run_out(b):
    other = house(b, **{BYTES: 1000})
    pub = other.connected('rates-alive', keep_alive=1)
    pub.send(wire.publish(V5, 'rates/large', bytes(3500)), wire.publish(V5, 'rates/next', b'x'),
             wire.pingreq())
    pub.expect(PINGRESP, timeout=20 * Launch.slow)
    pub.disconnect()
    equal(other.counter('keep_alive_timed_out'), 0)
