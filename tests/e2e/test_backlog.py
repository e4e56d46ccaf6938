# SPDX-License-Identifier: Apache-2.0
"""Queues whose middle is on disk only: what waits for who is away or slow comes back in order, once,
and leaves nothing behind. A checkpoint is made every second here."""
from harness import equal, pass_time, test, wait_until
from kept import again, fresh, lasting, offline
from raw import V5, V311, publish_many, wire

SECONDS = 55
MANY = 3000


def kept(b, **settings):
    """A broker that makes a checkpoint every second."""
    return fresh(b, data__checkpoint_interval_s=1, limits__session_queue_messages_max=100000,
                 limits__session_queue_bytes_max=1 << 30, **settings)


def on_disk(d, count):
    wait_until(lambda: d.counter('deliveries_on_disk') == count, timeout=15,
               what=f'{count} deliveries on disk only')


def numbers(first, end, size=8):
    return [b'%08d' % n + bytes(size - 8) for n in range(first, end)]


def expect_numbers(c, first, end, **how):
    for n in range(first, end):
        m = c.expect_message(**how)
        equal(m.payload[:8], b'%08d' % n, 'the next one in order')


@test(only='dunlin', each=[(V311,), (V5,)])
def what_waits_goes_to_disk_and_comes_back(b, version):
    d = kept(b)
    offline(d, 'away', 'x/#', version=version, qos=2)
    p = d.connected()
    publish_many(p, 'x/1', numbers(0, MANY, 1000), qos=1)
    on_disk(d, MANY)
    equal(d.counter('message_memory_bytes') < MANY * 100, True, 'memory')
    publish_many(p, 'x/2', numbers(MANY, MANY + 100), qos=2)
    c = lasting(d, 'away', version, present=True)
    publish_many(p, 'x/2', numbers(MANY + 100, MANY + 200), qos=2)
    expect_numbers(c, 0, MANY + 200)
    c.expect_nothing()
    equal(d.counter('deliveries_on_disk'), 0)
    equal(d.counter('backlog_failures'), 0)


@test(only='dunlin', each=[('SIGKILL',), ('SIGTERM',)])
def it_is_found_there_by_the_next_process(b, how):
    d = kept(b)
    offline(d, 'away', 'x', qos=2)
    p = d.connected()
    publish_many(p, 'x', numbers(0, MANY), qos=1)
    on_disk(d, MANY)
    publish_many(p, 'x', numbers(MANY, MANY + 100), qos=2)
    again(d, how, {'node.shards': 2})
    c = lasting(d, 'away', present=True)
    expect_numbers(c, 0, MANY // 2)
    c.ping()
    d.connected().publish('x', b'%08d' % (MANY + 100), qos=1)  # the acknowledgements are written with it
    again(d, how, {'node.shards': 1})
    c = lasting(d, 'away', present=True)
    expect_numbers(c, MANY // 2, MANY + 101)
    c.expect_nothing()


@test(only='dunlin')
def who_does_not_read_takes_no_memory(b):
    d = kept(b)
    slow, p = lasting(d, 'slow'), d.connected()
    slow.subscribe('x', qos=1)
    publish_many(p, 'x', numbers(0, 2 * MANY, 4000), qos=1)  # nothing of it is acknowledged
    wait_until(lambda: d.counter('deliveries_on_disk') > MANY, timeout=15, what='most on disk')
    expect_numbers(slow, 0, 2 * MANY)
    slow.expect_nothing()
    wait_until(lambda: d.counter('deliveries_on_disk') == 0, what='nothing on disk')


@test(only='dunlin')
def who_goes_in_the_middle_begins_there_again(b):
    d = kept(b)
    offline(d, 'away', 'x', qos=1)
    publish_many(d.connected(), 'x', numbers(0, MANY, 500), qos=1)
    on_disk(d, MANY)
    at = 0
    for _ in range(4):
        c = lasting(d, 'away', present=True, props={'receive_maximum': 1})
        expect_numbers(c, at, at + 500)
        at += 500
        c.disconnect()
        on_disk(d, MANY - at - 1)  # what had been read is given back, but for what was sent
    c = lasting(d, 'away', present=True)
    expect_numbers(c, at, MANY)
    c.expect_nothing()


@test(only='dunlin')
def the_oldest_of_a_full_queue_goes_from_disk(b):
    e = fresh(b, data__checkpoint_interval_s=1, limits__session_queue_messages_max=1000)
    offline(e, 'away', 'x', qos=1)
    p = e.connected()
    publish_many(p, 'x', numbers(0, 1000), qos=1)
    on_disk(e, 1000)
    publish_many(p, 'x', numbers(1000, 1300), qos=1)
    equal(e.counter('drop_queue_full_oldest'), 300)
    on_disk(e, 1000)
    again(e)
    expect_numbers(lasting(e, 'away', present=True), 300, 1300)


@test(only='dunlin', each=[('clean start',), ('expiry',)])
def a_session_that_ends_leaves_nothing_on_disk(b, how):
    d = kept(b)
    offline(d, 'other', 'x', qos=1)
    c = lasting(d, 'away', props={'session_expiry_interval': 3 if how == 'expiry' else 300})
    c.subscribe('x', qos=1)
    c.disconnect()
    publish_many(d.connected(), 'x', numbers(0, 1000), qos=1)
    wait_until(lambda: d.counter('deliveries_on_disk') >= 1000, timeout=15, what='on disk')
    if how == 'clean start':
        lasting(d, 'away', clean_start=True, present=False).disconnect()
    on_disk(d, 1000)  # the other's
    equal(d.counter('drop_session_ended'), 1000)
    again(d)
    expect_numbers(lasting(d, 'other', present=True), 0, 1000)


@test(only='dunlin')
def what_expires_there_is_not_sent(b):
    d = kept(b)
    offline(d, 'away', 'x', qos=1)
    p = d.connected()
    for payload in numbers(0, 100):
        p.publish('x', payload, qos=1, props={'message_expiry_interval': 3})
    for payload in numbers(100, 200):
        p.publish('x', payload, qos=1, props={'message_expiry_interval': 100})
    on_disk(d, 200)
    pass_time(3.1)
    c = lasting(d, 'away', present=True)
    m = c.expect_message()
    equal(m.payload, b'%08d' % 100)
    equal(80 <= m.prop('message_expiry_interval') <= 98, True, 'what is left of the interval')
    expect_numbers(c, 101, 200)
    equal(d.counter('drop_expired'), 100)


@test(only='dunlin')
def groups_do_not_wait_on_disk(b):
    """When one of them ends, another one is to have them (4.8.2)."""
    d = kept(b)
    for who in ('one', 'two'):
        offline(d, who, '$share/g/x', qos=1)
    publish_many(d.connected(), 'x', numbers(0, 100), qos=1)
    pass_time(2.2)  # two checkpoints
    lasting(d, 'one', clean_start=True, present=False).disconnect()
    c = lasting(d, 'two', present=True)
    got = sorted(int(c.expect_message().payload) for _ in range(100))
    equal(got, list(range(100)))


@test(only='dunlin')
def subscription_identifiers_and_retain_come_back(b):
    d = kept(b)
    c = lasting(d, 'away')
    c.subscribe(('x/+', wire.options(1, retain_as_published=True)),
                props={'subscription_identifier': 7})
    c.subscribe('x/#', qos=1, props={'subscription_identifier': 300})
    c.disconnect()
    d.connected().publish('x/1', b'both', qos=1, retain=True,
                          props=[('user_property', ('k', 'v')), ('content_type', 'text')])
    on_disk(d, 1)
    m = lasting(d, 'away', present=True).expect_message('x/1', b'both', retain=True)
    equal(sorted(m.all('subscription_identifier')), [7, 300])
    equal(m.all('user_property'), [('k', 'v')])


@test(only='dunlin')
def what_is_queued_does_not_fill_the_memory(b):
    """Half full, a checkpoint is begun at once, so that nobody is refused."""
    d = fresh(b, data__checkpoint_interval_s=3600, limits__message_memory_max=8 << 20,
              limits__session_queue_bytes_max=1 << 30)
    offline(d, 'away', 'x', qos=1)
    publish_many(d.connected(), 'x', numbers(0, 300, 65000), qos=1, window=20)
    equal(d.counter('drop_refused'), 0)
    expect_numbers(lasting(d, 'away', present=True), 0, 300)
