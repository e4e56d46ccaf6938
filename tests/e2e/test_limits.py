# SPDX-License-Identifier: Apache-2.0
"""Each limit of the configuration: what happens at it, and that it is counted. Each test has a
broker of its own. All of this is ours, so nothing here runs against a peer."""
import socket
import threading

from harness import Client, equal, pass_time, test, wait_until
from raw import CONNACK, DISCONNECT, PUBREC, V311, V5, Unexpected, Will, publish_many, wire

EXPIRY = {'session_expiry_interval': 300}
SECONDS = 31


def refused_at_the_door(other, at=None):
    """A CONNACK that says so, or the end."""
    c = other.client(at=at)
    try:
        c.send(wire.connect(V5, ''))
    except ConnectionError:
        return
    p = c.recv()
    if p is not None:
        equal((p.type, p.reason in (0x97, 0x89)), (CONNACK, True), p)
        c.expect_end()


def connects(other, at=None):
    """A client that was accepted, or None."""
    c = other.client(at=at)
    try:
        c.connect('')
        return c
    except (Unexpected, ConnectionError):
        c.close()
        return None


@test(only='dunlin')
def connections(b):
    other = b.another({'limits.connections_max': 5})
    clients = [wait_until(lambda: connects(other)) for _ in range(5)]

    def refused():  # with a CONNACK; or without, when there are too many to be told
        counters = other.counters('connections_refused')
        return counters['connect_refused'] + counters['connections_refused']

    before = refused()
    for _ in range(3):
        refused_at_the_door(other)
    wait_until(lambda: refused() >= before + 3, step=0.12)
    for c in clients:
        c.ping()
    clients[0].disconnect()
    wait_until(lambda: connects(other))


@test(only='dunlin')
def connections_of_one_listener(b):
    other = b.another(listeners={'few': {'url': 'tcp://{}', 'connections_max': 2}})
    first, second = (wait_until(lambda: connects(other, 'few')) for _ in range(2))
    refused_at_the_door(other, 'few')
    other.client().connect('')  # by the other listener
    first.ping()
    second.disconnect()
    wait_until(lambda: connects(other, 'few'))


@test(only='dunlin')
def descriptors(b):
    """The process is out of descriptors: those who are connected do not notice, the others wait
    or are turned away, and it ends when some come free."""
    other = b.another(descriptors=100)
    clients = []
    for _ in range(120):
        c = other.client()
        try:
            c.timeout = 2.0 if len(clients) > 60 else Client.timeout
            c.connect('')
        except (Unexpected, ConnectionError):
            c.close()
            break
        clients.append(c)
    equal(20 < len(clients) < 100, True, f'{len(clients)} connections with 100 descriptors')
    for c in clients:
        c.ping()
    for c in clients[:10]:
        c.disconnect()
    wait_until(lambda: connects(other))


@test(only='dunlin')
def time_to_connect(b):
    other = b.another({'limits.connect_timeout_s': 1})
    said_nothing, said_half, accepted = other.client(), other.client(), other.connected()
    said_half.send(wire.connect(V5, 'half')[:9])
    said_nothing.expect_end(5)
    said_half.expect_end(5)
    other.wait_counter('connect_timed_out', 2)
    accepted.ping()


@test(only='dunlin')
def subscriptions(b):
    other = b.another({'limits.subscriptions_per_session_max': 3})
    c = other.connected()
    c.subscribe('a', 'b', 'c')
    c.subscribe('d', expect=(0x97,))
    c.subscribe('a', qos=2)  # replaces
    c.subscribe('e', 'b', 'f', expect=(0x97, 0, 0x97))
    c.unsubscribe('c')
    c.subscribe('d', '$share/g/x', expect=(0, 0x97))
    old = other.connected('old', V311)
    old.subscribe('a', 'b', 'c', 'd', expect=(0, 0, 0, 0x80))
    other.wait_counter('subscribe_refused', 5)
    other.connected().publish('d', b'x', qos=1)
    c.expect_message('d')


@test(only='dunlin')
def topic_levels(b):
    other = b.another({'limits.topic_levels_max': 3})
    c = other.connected()
    c.subscribe('a/b/c', '$share/g/a/b/#', 'a/b/c/d', 'a/+/+/#', '$share/g/a/b/c/d',
                expect=(0, 0, 0x8F, 0x8F, 0x8F))
    p = other.connected()
    p.publish('a/b/c', b'x', qos=1)
    for _ in range(2):
        c.expect_message('a/b/c')
    for qos in (1, 2):
        p.publish('a/b/c/d', b'x', qos=qos, expect=(0x90,))
    p.publish('////', b'x', qos=1, expect=(0x90,))
    p.publish('a/b/c', b'end', qos=1)
    c.expect_message('a/b/c', b'end')


@test(only='dunlin')
def sessions(b):
    other = b.another({'limits.sessions_max': 3})
    kept = []
    for i in range(3):
        c = wait_until(lambda i=i: _session(other, i))
        c.disconnect()
        kept.append(c)
    refused = other.client()
    refused.connect('one-more', expect=0x97)
    refused.expect_end()
    other.wait_counter('sessions_refused', 1)
    # Those that are there come back, and one that ends makes room.
    equal(other.client().connect('s1', clean_start=False, props=EXPIRY).session_present, True)
    other.connected('s2', clean_start=False, props=EXPIRY).disconnect(
        0, {'session_expiry_interval': 0})
    wait_until(lambda: connects(other))


def _session(other, i):
    c = other.client()
    try:
        c.connect(f's{i}', clean_start=False, props=EXPIRY)
        return c
    except Unexpected:  # the session of the harness's own first connection may not have ended yet
        return None


@test(only='dunlin')
def retained_messages(b):
    other = b.another({'limits.retained_messages_max': 3})
    live = other.connected()
    live.subscribe('#', qos=1, retain_handling=2)
    p = other.connected()
    for topic in 'abc':
        p.publish(topic, topic.encode(), qos=1, retain=True)
        live.expect_message(topic)
    for qos in (1, 2):
        p.publish('d', b'refused', qos=qos, retain=True, expect=(0x97,))
    p.publish('d', b'cannot be told', retain=True)  # so it is delivered, and not stored
    live.expect_message('d', b'cannot be told')
    other.wait_counter('retained_refused', 3)
    p.publish('a', b'replaced', qos=1, retain=True)
    p.publish('b', b'', qos=1, retain=True)
    p.publish('e', b'e', qos=1, retain=True)
    s = other.connected()
    s.subscribe('+', qos=1)
    got = {}
    for _ in range(3):
        m = s.expect_message(retain=True)
        got[m.topic] = m.payload
    equal(got, {'a': b'replaced', 'c': b'c', 'e': b'e'})
    s.expect_nothing()


@test(only='dunlin')
def inflight(b):
    other = b.another({'limits.inflight_max': 4})
    s = other.connected(props={'receive_maximum': 100})
    s.subscribe('t', qos=2)
    p = other.connected()
    for i in range(10):
        p.publish('t', b'%d' % i, qos=1 + i % 2)
    held = [s.expect_message('t', b'%d' % i, ack=False) for i in range(4)]
    s.expect_nothing()
    for m in held:
        s.acknowledge(m)
    for i in range(4, 10):
        s.expect_message('t', b'%d' % i)


# ---- The queue of a session

def queue_broker(b, policy, **more):
    return b.another({'limits.session_queue_full': policy, **more})


def queued_while_away(other, count, size=10, qos=1):
    """Publishes to a session that is away, and returns the numbers that it gets afterwards."""
    away = other.connected('away', clean_start=False, props=EXPIRY)
    away.subscribe('t', qos=2)
    away.disconnect()
    p = other.connected()
    for i in range(count):
        p.publish('t', b'%05d' % i + b'x' * (size - 5), qos=qos)
    again = other.connected('away', clean_start=False, props=EXPIRY)
    p.publish('t', b'99999', qos=qos)
    got = []
    while got[-1:] != [99999]:
        got.append(int(again.expect_message('t').payload[:5]))
    return got[:-1]


@test(only='dunlin', each=[(1,), (2,)])
def queue_drops_the_oldest(b, qos):
    other = queue_broker(b, 'drop_oldest', **{'limits.session_queue_messages_max': 5})
    got = queued_while_away(other, 12, qos=qos)
    # The end mark may have come while all five were still waiting, and then drops one more.
    equal(got in ([7, 8, 9, 10, 11], [8, 9, 10, 11]), True, f'the newest: {got}')
    other.wait_counter('drop_queue_full_oldest', 7)


@test(only='dunlin', each=[(1,), (2,)])
def queue_drops_the_newest(b, qos):
    other = queue_broker(b, 'drop_newest', **{'limits.session_queue_messages_max': 5})
    away = other.connected('away', clean_start=False, props=EXPIRY)
    away.subscribe('t', qos=2)
    away.disconnect()
    p = other.connected()
    for i in range(12):
        p.publish('t', b'%d' % i, qos=qos)
    equal(other.wait_counter('drop_queue_full_newest', 7), 7)
    again = other.connected('away', clean_start=False, props=EXPIRY)
    for i in range(5):
        again.expect_message('t', b'%d' % i)
    p.publish('t', b'end', qos=qos)
    again.expect_message('t', b'end')


@test(only='dunlin')
def queue_that_is_full_disconnects(b):
    other = queue_broker(b, 'disconnect', **{'limits.session_queue_messages_max': 5})
    slow = other.connected('slow', clean_start=False, props={**EXPIRY, 'receive_maximum': 1})
    slow.subscribe('t', qos=1)
    p = other.connected()
    for i in range(10):
        p.publish('t', b'%d' % i, qos=1)
    slow.expect_message('t', b'0', ack=False)
    slow.expect_disconnect(0x97)
    # The session is there, with what was queued up to then.
    again = other.client()
    equal(again.connect('slow', clean_start=False, props=EXPIRY).session_present, True)
    for i in range(6):
        again.expect_message('t', b'%d' % i, dup=i == 0)


@test(only='dunlin')
def queue_is_bounded_in_bytes(b):
    other = queue_broker(b, 'drop_oldest', **{'limits.session_queue_bytes_max': 100000})
    got = queued_while_away(other, 50, size=10000)
    equal(got, list(range(50 - len(got), 50)), 'the newest')
    equal(7 <= len(got) <= 10, True, f'about ten of 10,000 bytes: {len(got)}')


@test(only='dunlin')
def queue_bound_counts_for_a_slow_connected_client_too(b):
    other = queue_broker(b, 'drop_oldest', **{'limits.session_queue_messages_max': 5})
    slow = other.connected('slow', props={'receive_maximum': 1})
    slow.subscribe('t', qos=1)
    p = other.connected()
    for i in range(20):
        p.publish('t', b'%d' % i, qos=1)
    other.wait_counter('drop_queue_full_oldest', 14)
    got = []
    while got[-1:] != [19]:
        got.append(int(slow.expect_message('t').payload))
    equal(got, [0, 15, 16, 17, 18, 19])


@test(only='dunlin')
def retained_messages_that_wait_are_those_of_now(b):
    """A replay that stops for want of room, and goes on in a later connection, sends what is
    retained by then. One shard: what is published while it is away is not on its way still."""
    other = b.another({'limits.session_queue_messages_max': 4, 'node.shards': 1})
    p = other.connected()
    for i in range(20):
        p.publish('r/%02d' % i, b'old', qos=1, retain=True)
    s = other.connected('s', clean_start=False, props=EXPIRY | {'receive_maximum': 1})
    s.subscribe('r/#', qos=1)
    s.expect_message('r/00', b'old', ack=False)
    s.drop()
    p.publish('r/18', b'', retain=True)
    p.publish('r/19', b'new', retain=True)
    p.ping()
    s = other.connected('s', clean_start=False, props=EXPIRY)
    got = []
    while not got or got[-1].topic != 'r/19':
        got.append(s.expect_message(retain=1))
    equal([m.topic for m in got], ['r/%02d' % i for i in range(20) if i != 18])
    equal(got[-1].payload, b'new')


# ---- Packets as large as there are

@test(only='dunlin', full=True, timeout=120)
def what_grows_over_the_largest_packet_is_dropped(b):
    """A PUBLISH of the largest size by alias: with its topic in full there is no packet for it."""
    other = b.another({'limits.packet_bytes_max': 268435460, 'limits.message_memory_max': 1 << 30})
    s = other.connected(props={'maximum_packet_size': 0xffffffff})
    p = other.connected()
    topic = 't' * 1000
    s.subscribe(topic)
    p.publish(topic, b'sets the alias', props={'topic_alias': 1})
    s.expect_message(topic)
    p.send(b'\x30\xff\xff\xff\x7f\x00\x00\x03\x23\x00\x01')
    for _ in range(268435455 - 6 >> 16):
        p.send(bytes(1 << 16))
    p.send(bytes((268435455 - 6) % (1 << 16)))
    p.timeout *= 6  # the broker copies 256 MiB a few times over, and may not be alone
    p.ping()
    s.expect_nothing()
    equal(other.counter('drop_too_large'), 1)


# ---- One who does not read

@test(only='dunlin')
def qos_0_for_one_who_does_not_read_is_dropped_and_counted(b):
    other = b.another({'limits.output_bytes_max': 65536})
    slow, quick = other.client(receive_buffer=4096), other.connected()
    slow.connect('slow')
    for c in (slow, quick):
        c.subscribe('t')
    p = other.connected()
    before = other.status('VmRSS')
    for i in range(20000):
        p.send(wire.publish(V5, 't', b'%05d' % i + b'x' * 1019))
        quick.expect_message('t')
    other.wait_counter('drop_qos0_output_full', 1)
    other.stays_below(before + 20000)
    # It reads at last. What it gets is in order, and the rest is what was counted.
    got = []

    def all_are_accounted_for():
        slow.ping()
        while slow.aside:
            got.append(int(slow.expect_message('t').payload[:5]))
        return len(got) + other.counter('drop_qos0_output_full') == 20000

    wait_until(all_are_accounted_for)
    equal(got, sorted(set(got)), 'order')
    p.publish('t', b'live again', qos=1)
    slow.expect_message('t', b'live again')


@test(only='dunlin')
def qos_1_for_one_who_does_not_read_waits(b):
    other = b.another({'limits.output_bytes_max': 65536, 'limits.inflight_max': 65535})
    slow, p = other.client(receive_buffer=4096), other.connected()
    slow.connect('slow')
    slow.subscribe('t', qos=1)
    bodies = [b'%05d' % i + b'x' * 1019 for i in range(8000)]
    publish_many(p, 't', bodies, qos=1)
    for body in bodies:
        slow.expect_message('t', body)
    equal(other.counter('drop_queue_full_oldest'), 0)


@test(only='dunlin')
def one_who_does_not_read_his_answers_is_not_read_from(b):
    """Requests without end, and their answers unread: bounded by output_bytes_max."""
    other = b.another({'limits.output_bytes_max': 65536})
    rude = other.client(receive_buffer=4096)
    rude.connect('rude')
    before = other.status('VmRSS')
    rude.sock.settimeout(2.0)
    burst, sent = wire.pingreq() * 50000, 0
    try:
        for _ in range(200):
            sent += rude.sock.send(burst)
    except socket.timeout:
        pass
    other.stays_below(before + 10000)
    other.connected().ping()


# ---- Memory of all messages

@test(only='dunlin', full=True, timeout=60)
def message_memory(b):
    """What was acknowledged with success is delivered; what finds no room is refused or counted,
    and the process does not grow."""
    mib = 1 << 20
    other = b.another({'limits.message_memory_max': 8 * mib, 'limits.message_stall_s': 1,
                       'limits.session_queue_bytes_max': 1 << 30,
                       'limits.packet_bytes_max': mib,
                       'data.dir': ''})  # with one it is made room for (test_backlog.py)
    away = other.connected('away', clean_start=False, props=EXPIRY)
    away.subscribe('t', qos=1)
    away.disconnect()
    before = other.status('VmRSS')
    taken, refused = [], 0
    p = other.connected()
    for i in range(220):
        p.send(wire.publish(V5, 't', b'%05d' % i + b'x' * 65000, 1, i + 1))
        answer = p.recv(20)
        if answer.type == DISCONNECT:
            equal(answer.reason in (0x97, 0x89), True, answer)
            refused += 1
            p = other.connected()
        elif answer.reason < 0x80:
            taken.append(i)
        else:
            equal(answer.reason, 0x97)
            refused += 1
        if refused == 3:
            break
    equal(refused > 0, True, 'something was refused')
    equal(100 <= len(taken) <= 140, True, f'8 MiB hold {len(taken)} of 65,000 bytes')
    other.stays_below(before + 40000)

    again = other.connected('away', clean_start=False, props=EXPIRY)
    for i in taken:
        equal(int(again.expect_message('t').payload[:5]), i)
    p = other.connected()
    p.publish('t', b'end', qos=1)
    again.expect_message('t', b'end')


@test(only='dunlin')
def publisher_goes_on_when_memory_comes_free(b):
    """A stalled publisher is only delayed when room comes in time."""
    mib = 1 << 20
    other = b.another({'limits.message_memory_max': 4 * mib, 'limits.message_stall_s': 30,
                       'limits.packet_bytes_max': mib})
    slow = other.connected('slow', props={'receive_maximum': 1})
    slow.subscribe('t', qos=1)
    p = other.connected()
    bodies = [b'%05d' % i + b'x' * 65000 for i in range(150)]
    failure = []

    def publish():
        try:
            publish_many(p, 't', bodies, qos=1, window=1)
        except Exception as e:
            failure.append(e)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        other.wait_counter('publish_stalled', 1)
        for body in bodies:
            slow.expect_message('t', body)
    finally:
        thread.join()
    equal(failure, [])


@test(only='dunlin')
def wills_count_as_memory(b):
    """Large wills are refused when the memory is used up; the small one of a client that may come
    to fetch what uses it is not."""
    mib = 1 << 20
    other = b.another({'limits.message_memory_max': mib, 'limits.packet_bytes_max': mib})
    for i in range(16):
        other.connected(will=Will('w', bytes(65000)))
    wait_until(lambda: other.counter('message_memory_bytes') >= 16 * 65000)
    other.connected(will=Will('w', bytes(65000)))  # in a turn that began below the limit
    other.client().connect(will=Will('w', bytes(65000)), expect=0x97)
    other.client().connect(will=Will('w', bytes(100)))


# ---- What CONNACK announces

@test(only='dunlin')
def announced(b):
    other = b.another({'limits.receive_maximum': 7, 'limits.packet_bytes_max': 5000,
                       'limits.topic_alias_maximum': 3})
    connack = other.client().connect('')
    equal([connack.prop(n) for n in ('receive_maximum', 'maximum_packet_size',
                                     'topic_alias_maximum')], [7, 5000, 3])


@test(only='dunlin')
def no_topic_aliases(b):
    other = b.another({'limits.topic_alias_maximum': 0})
    c = other.client()
    equal(c.connect('', props={'topic_alias_maximum': 5}).prop('topic_alias_maximum', 0), 0)
    c.subscribe('a/long/topic/name', qos=1)
    for _ in range(5):
        c.publish('a/long/topic/name', b'x', qos=1)
        equal(c.expect_message('a/long/topic/name').prop('topic_alias'), None)
    c.send(wire.publish(V5, 'x', b'', props={'topic_alias': 1}))
    c.expect_disconnect(0x94)


@test(only='dunlin')
def session_expiry_maximum(b):
    other = b.another({'limits.session_expiry_max_s': 1})
    c = other.client()
    equal(c.connect('e5', props={'session_expiry_interval': 0xFFFFFFFF})
          .prop('session_expiry_interval'), 1)
    c.disconnect()
    other.connected('e4', V311, clean_start=False).disconnect()
    pass_time(2.2)
    equal(other.client().connect('e5', clean_start=False).session_present, False)
    equal(other.client(V311).connect('e4', clean_start=False).session_present, False)
    other.wait_counter('sessions_expired', 2)


# ---- What is lost is counted

@test(only='dunlin')
def every_drop_has_its_counter(b):
    """One message lost for each reason that can be had cheaply."""
    other = b.another()
    keep = {'clean_start': False, 'props': EXPIRY}
    away = other.connected('away', **keep)
    away.subscribe('t', qos=1)
    away.disconnect()
    p = other.connected()
    p.publish('t', b'', qos=0)
    other.wait_counter('drop_qos0_offline', 1)
    p.publish('t', b'', qos=1, props={'message_expiry_interval': 1})
    pass_time(2.1)
    back = other.connected('away', **keep)
    p.publish('t', b'end', qos=1)
    back.expect_message('t', b'end')
    other.wait_counter('drop_expired', 1)
    back.disconnect()
    p.publish('t', b'lost with its session', qos=1)
    other.connected('away', clean_start=True)
    other.wait_counter('drop_session_ended', 1)
    small = other.connected('small', props={'maximum_packet_size': 50})
    small.subscribe('s', qos=1)
    p.publish('s', b'x' * 100, qos=1)
    other.wait_counter('drop_too_large', 1)
    p.publish('nobody/there', b'', qos=1)
    other.wait_counter('publish_unmatched', 1)


@test(only='dunlin')
def counters_count(b):
    """In a broker of its own: so many in, so many out."""
    other = b.another()
    before = other.counters('publish_received')
    s, p = other.connected('s'), other.connected('p')
    s.subscribe('t', 'u', qos=2)
    for i in range(30):
        p.publish('t', b'x', qos=i % 3)
        s.expect_message('t')
    s.unsubscribe('t')
    p.publish('nobody/here', b'x', qos=1)
    p.send(wire.publish(V5, 'u', b'twice', 2, 500))
    p.expect(PUBREC)
    p.send(wire.publish(V5, 'u', b'twice', 2, 500, dup=True))
    p.expect(PUBREC)

    other.wait_counter('publish_repeated', 1)
    after = other.counters('publish_received')
    grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    for name, count in (('connect_accepted', 2), ('sessions_created', 2), ('publish_received', 32),
                        ('publish_sent', 31), ('publish_unmatched', 1), ('publish_repeated', 1),
                        ('subscribe_received', 2), ('unsubscribe_received', 1),
                        ('deliveries_queued', 21)):
        equal(grown.get(name, 0), count, name)
    equal([n for n in grown if n.startswith('drop_')], [])

