# SPDX-License-Identifier: Apache-2.0
"""Subscriptions and retained messages (3.3.1.3, 3.8, 3.10, 4.7, 4.8)."""
from harness import equal, pass_time, test
from raw import PUBLISH, UNSUBACK, V31, V311, V5, wire

SECONDS = 4


def retained(b, topic, payload=b'kept', qos=1, props=None):
    b.connected().publish(topic, payload, qos=qos, retain=True, props=props)


# ---- Matching (4.7)

MATCHES = [  # filter, topics that match, topics that do not
    ('sub/m1/#', ['sub/m1', 'sub/m1/', 'sub/m1/b', 'sub/m1/b/c'], ['sub/m1b', 'sub']),
    ('sub/m2/+', ['sub/m2/', 'sub/m2/b'], ['sub/m2', 'sub/m2/b/c']),
    ('+/sub-m3', ['/sub-m3', 'a/sub-m3'], ['sub-m3', 'a/b/sub-m3', 'a/sub-m3/']),
    ('/+/sub-m4', ['/a/sub-m4', '//sub-m4'], ['a/sub-m4', 'x/a/sub-m4']),
    ('sub/m5/+/+/x', ['sub/m5/a/b/x', 'sub/m5///x'], ['sub/m5/a/x', 'sub/m5/a/b/c/x']),
    ('sub/m6//x', ['sub/m6//x'], ['sub/m6/x', 'sub/m6/a/x']),
    ('Sub/M7', ['Sub/M7'], ['sub/m7']),
    ('+/m8/#', ['/m8', 'a/m8', 'a/m8/b'], ['m8', 'a/b/m8', '$a/m8', '$a/m8/b']),
    ('sub m9/ ☃ ', ['sub m9/ ☃ '], ['sub m9/☃']),
]


@test(each=MATCHES)
def filter_matches(b, topic_filter, topics, others):
    """Also of retained messages, which may be found in another way."""
    s, p = b.connected(), b.connected()
    s.subscribe(topic_filter, qos=1)
    for topic in others:
        if not topic.startswith('$'):
            p.publish(topic, b'other', qos=1, retain=True)
    for topic in topics:
        p.publish(topic, topic.encode(), qos=1, retain=True)
        s.expect_message(topic, topic.encode(), retain=False)
    late = b.connected()
    late.subscribe(topic_filter, qos=1)
    got = sorted(late.expect_message(retain=True).topic for _ in topics)
    equal(got, sorted(topics))
    late.expect_nothing()
    for topic in topics + [t for t in others if not t.startswith('$')]:
        p.publish(topic, b'', qos=1, retain=True)


@test
def hash_alone_matches_all_but_dollar(b):
    s = b.connected()
    s.subscribe('#', '+/sub/all', qos=0)
    for topic in ('$SYS/sub/all', '$other/sub/all'):  # may be refused, even by closing
        b.connected().send(wire.publish(V5, topic, b'no'), wire.disconnect())
    b.connected().publish('sub/all', b'yes', qos=1)
    while True:  # others publish too; but nothing beginning with $ may come
        m = s.expect_message()
        equal(m.topic.startswith('$'), False, m.topic)
        if m.topic == 'sub/all':
            return


@test
def topic_of_65535_bytes(b):
    topic = 'sub/' + 'x' * 65531
    s = b.connected()
    s.subscribe(topic, qos=1)
    b.connected().publish(topic, b'far', qos=1)
    s.expect_message(topic, b'far')


@test
def byte_order_mark_in_a_topic_is_kept(b):
    with_mark, without = b.connected(), b.connected()
    with_mark.subscribe('\ufeffsub/bom')
    without.subscribe('sub/bom')
    p = b.connected()
    p.publish('\ufeffsub/bom', b'1', qos=1)
    p.publish('sub/bom', b'2', qos=1)
    with_mark.expect_message('\ufeffsub/bom', b'1')
    without.expect_message('sub/bom', b'2')


# ---- SUBSCRIBE and UNSUBSCRIBE

@test(each=[(V31,), (V311,), (V5,)])
def suback_has_a_code_for_each_filter(b, version):
    c = b.connected(f'sub-codes-{version}', version)
    c.subscribe(('sub/c/0', 0), ('sub/c/1', 1), ('sub/c/2', 2), ('sub/c/0', 1))


@test(each=[(V311,), (V5,)])
def many_filters_in_one_packet(b, version):
    c = b.connected(f'sub-many-{version}', version)
    filters = [(f'sub/many/{version}/{i}', i % 3) for i in range(500)]
    c.subscribe(*filters)
    p = b.connected()
    for i in (0, 1, 2, 250, 499):
        p.publish(f'sub/many/{version}/{i}', b'x', qos=2)
        c.expect_message(f'sub/many/{version}/{i}', qos=i % 3)


@test(each=[(published, granted) for published in (0, 1, 2) for granted in (0, 1, 2)])
def delivered_at_the_lower_quality(b, published, granted):
    topic = f'sub/qos/{published}{granted}'
    s = b.connected()
    s.subscribe(topic, qos=granted)
    b.connected().publish(topic, b'x', qos=published)
    s.expect_message(topic, qos=min(published, granted))


@test
def subscribing_again_replaces(b):
    s = b.connected()
    s.subscribe('sub/again', qos=0, props={'subscription_identifier': 1})
    s.subscribe('sub/again', qos=2, props={'subscription_identifier': 2})
    p = b.connected()
    p.publish('sub/again', b'one', qos=2)
    s.expect_message('sub/again', b'one', qos=2, subscription_identifier=2)
    s.subscribe('sub/again', qos=1)
    p.publish('sub/again', b'two', qos=2)
    m = s.expect_message('sub/again', b'two', qos=1)
    equal(m.all('subscription_identifier'), [])
    s.expect_nothing()


@test
def unsubscribe_ends_it(b):
    s = b.connected()
    s.subscribe('sub/un/+', 'sub/un/x', qos=1)
    equal(s.unsubscribe('sub/un/+', 'sub/un/none').reasons, (0x00, 0x11))
    p = b.connected()
    p.publish('sub/un/y', b'no', qos=1)
    p.publish('sub/un/x', b'yes', qos=1)
    s.expect_message('sub/un/x', b'yes')


@test(each=[(V31,), (V311,)])
def unsubscribe_of_the_old_versions(b, version):
    c = b.connected(f'sub-un-{version}', version)
    c.subscribe('sub/un-old')
    equal(c.unsubscribe('sub/un-old', 'sub/un-none').type, UNSUBACK)
    b.connected().publish('sub/un-old', b'no', qos=1)
    c.expect_nothing()


@test
def unsubscribe_compares_filters_by_their_bytes(b):
    s = b.connected()
    s.subscribe('sub/exact/+', qos=1)
    equal(s.unsubscribe('sub/exact/x', 'sub/exact/#', 'SUB/exact/+').reasons, (0x11,) * 3)
    b.connected().publish('sub/exact/x', b'still', qos=1)
    s.expect_message('sub/exact/x', b'still')


BAD_FILTERS = ['sub#', 'sub/#/x', 'sub+', 'sub/+x', '', '##', '/#/']
BAD_SHARED = ['$share/', '$share/g', '$share/g/', '$share//sub', '$share/g+/sub', '$share/#/sub']


@test(each=[(f,) for f in BAD_SHARED], mosquitto='grants some')
@test(each=[(f,) for f in BAD_FILTERS])
def bad_filter_is_not_granted(b, topic_filter):
    c = b.connected()
    c.send(wire.subscribe(V5, 1, [(topic_filter, 1)]))
    p = c.recv()
    if p is not None and p.type == wire.SUBACK:
        equal(p.reasons[0] >= 0x80, True, p)
        return
    equal(p is None or (p.type == wire.DISCONNECT and p.reason in (0x81, 0x82, 0x8F)), True, p)
    c.expect_end()


# ---- Options of 5.0 (3.8.3.1)

@test
def no_local_keeps_ones_own_messages_away(b):
    s = b.connected()
    s.subscribe('sub/local/+', qos=1, no_local=True)
    s.publish('sub/local/x', b'mine', qos=1)
    b.connected().publish('sub/local/x', b'yours', qos=1)
    s.expect_message('sub/local/x', b'yours')


@test
def without_no_local_one_hears_oneself(b):
    for version in (V311, V5):
        c = b.connected(f'sub-echo-{version}', version)
        c.subscribe(f'sub/echo/{version}', qos=1)
        c.publish(f'sub/echo/{version}', b'mine', qos=1)
        c.expect_message(f'sub/echo/{version}', b'mine')


@test(mosquitto='allows it')
def no_local_on_a_shared_subscription_is_82(b):
    c = b.connected()
    c.send(wire.subscribe(V5, 1, [('$share/g/sub/nl', wire.options(1, no_local=True))]))
    c.expect_disconnect(0x82)


@test
def retain_as_published(b):
    keeps, clears = b.connected(), b.connected()
    keeps.subscribe('sub/rap', qos=1, retain_as_published=True)
    clears.subscribe('sub/rap', qos=1)
    p = b.connected()
    for retain in (True, False):
        p.publish('sub/rap', b'x', qos=1, retain=retain)
        keeps.expect_message('sub/rap', retain=retain)
        clears.expect_message('sub/rap', retain=False)


@test
def retain_handling_0_sends_each_time(b):
    retained(b, 'sub/rh0')
    s = b.connected()
    for _ in range(3):
        s.subscribe('sub/rh0', qos=1, retain_handling=0)
        s.expect_message('sub/rh0', b'kept', retain=True)
        s.expect_nothing()


@test
def retain_handling_1_sends_for_a_new_subscription(b):
    retained(b, 'sub/rh1')
    s = b.connected()
    s.subscribe('sub/rh1', qos=1, retain_handling=1)
    s.expect_message('sub/rh1', b'kept', retain=True)
    s.subscribe('sub/rh1', qos=1, retain_handling=1)
    s.expect_nothing()
    s.unsubscribe('sub/rh1')
    s.subscribe('sub/rh1', qos=1, retain_handling=1)
    s.expect_message('sub/rh1', b'kept', retain=True)


@test
def retain_handling_1_knows_the_subscriptions_of_a_resumed_session(b):
    keep = {'session_expiry_interval': 300}
    retained(b, 'sub/rh1-resumed')
    c = b.connected('sub-rh1', clean_start=False, props=keep)
    c.subscribe('sub/rh1-resumed', qos=1, retain_handling=1)
    c.expect_message('sub/rh1-resumed', retain=True)
    c.disconnect()
    again = b.connected('sub-rh1', clean_start=False, props=keep)
    again.subscribe('sub/rh1-resumed', qos=1, retain_handling=1)
    again.expect_nothing()


@test
def retain_handling_2_never_sends(b):
    retained(b, 'sub/rh2')
    s = b.connected()
    s.subscribe('sub/rh2', qos=1, retain_handling=2)
    s.expect_nothing()
    b.connected().publish('sub/rh2', b'live', qos=1)
    s.expect_message('sub/rh2', b'live')


@test
def v311_gets_retained_messages_on_each_subscribe(b):
    retained(b, 'sub/rh-311')
    s = b.connected('', V311)
    for _ in range(2):
        s.subscribe('sub/rh-311', qos=1)
        s.expect_message('sub/rh-311', b'kept', retain=True)


# ---- Retained messages (3.3.1.3)

@test
def retained_message_is_replaced_and_removed(b):
    for payload in (b'one', b'two'):
        retained(b, 'sub/keep', payload)
    s = b.connected()
    s.subscribe('sub/keep', qos=2)
    s.expect_message('sub/keep', b'two', qos=1, retain=True)
    s.expect_nothing()
    retained(b, 'sub/keep', b'')
    s.expect_message('sub/keep', b'', retain=False)
    late = b.connected()
    late.subscribe('sub/keep', qos=1)
    late.expect_nothing()


@test
def empty_retained_message_is_not_kept(b):
    retained(b, 'sub/empty', b'')
    s = b.connected()
    s.subscribe('sub/empty', qos=1)
    s.expect_nothing()


@test
def without_the_flag_the_retained_message_stays(b):
    retained(b, 'sub/stays')
    b.connected().publish('sub/stays', b'passing', qos=1)
    b.connected().publish('sub/stays', b'', qos=1)
    s = b.connected()
    s.subscribe('sub/stays', qos=1)
    s.expect_message('sub/stays', b'kept', retain=True)


@test
def retained_message_outlives_its_publisher(b):
    p = b.connected('sub-publisher')
    p.publish('sub/outlives', b'kept', qos=1, retain=True)
    p.disconnect()
    s = b.connected()
    s.subscribe('sub/outlives', qos=1)
    s.expect_message('sub/outlives', b'kept', retain=True)


@test
def retained_message_expires(b):
    retained(b, 'sub/expires', props={'message_expiry_interval': 1})
    retained(b, 'sub/lasts', props={'message_expiry_interval': 100})
    pass_time(2.1)
    s = b.connected()
    s.subscribe('sub/expires', 'sub/lasts', qos=1)
    m = s.expect_message('sub/lasts', b'kept', retain=True)
    equal(m.prop('message_expiry_interval') in (97, 98), True, str(m))
    s.expect_nothing()


@test
def retained_message_has_its_properties(b):
    p = b.connected()
    props = [('content_type', 'text/plain'), ('user_property', ('b', '1')),
             ('user_property', ('a', '2')), ('correlation_data', b'\0')]
    p.publish('sub/retained-props', b'kept', qos=1, retain=True, props=props)
    s = b.connected()
    s.subscribe('sub/retained-props', qos=1, props={'subscription_identifier': 4})
    m = s.expect_message('sub/retained-props', retain=True, subscription_identifier=4)
    equal(m.all('user_property'), [('b', '1'), ('a', '2')])
    equal((m.prop('content_type'), m.prop('correlation_data')), ('text/plain', b'\0'))


@test
def thousand_retained_messages_by_one_wildcard(b):
    p = b.connected()
    for i in range(1000):
        p.publish(f'sub/thousand/{i % 10}/{i}', b'%d' % i, retain=True)
    p.publish('sub/thousand/end', b'', qos=1)
    s = b.connected(props={'receive_maximum': 10})
    s.subscribe('sub/thousand/+/+', qos=1)
    got = {}
    while len(got) < 1000:
        m = s.expect_message(retain=True)
        got[m.topic] = m.payload
    equal(got, {f'sub/thousand/{i % 10}/{i}': b'%d' % i for i in range(1000)})
    s.subscribe('sub/thousand/3/#', qos=0)
    equal({s.expect_message(retain=True).topic for _ in range(100)},
          {f'sub/thousand/3/{i}' for i in range(3, 1000, 10)})
    s.expect_nothing()
    for i in range(1000):
        p.publish(f'sub/thousand/{i % 10}/{i}', b'', retain=True)


# ---- Overlap and identifiers (3.3.4)

@test
def overlapping_subscriptions(b):
    """One copy with all identifiers, or a copy for each; at least one at the highest quality."""
    s = b.connected()
    s.subscribe('sub/over/x', qos=0, props={'subscription_identifier': 1})
    s.subscribe('sub/over/+', qos=2, props={'subscription_identifier': 2})
    s.subscribe('sub/over/#', qos=1, props={'subscription_identifier': 3})
    p = b.connected()
    p.publish('sub/over/x', b'x', qos=2)
    p.publish('sub/over/y', b'end', qos=0)
    copies = []
    while True:
        m = s.expect_message()
        if m.payload == b'end':
            break
        copies.append(m)
    equal(max(m.qos for m in copies), 2)
    equal(sorted(i for m in copies for i in m.all('subscription_identifier')), [1, 2, 3])


@test
def same_identifier_twice_comes_twice(b):
    s = b.connected()
    s.subscribe('sub/twin/x', qos=1, props={'subscription_identifier': 6})
    s.subscribe('sub/twin/+', qos=1, props={'subscription_identifier': 6})
    b.connected().publish('sub/twin/x', b'x', qos=1)
    ids = s.expect_message('sub/twin/x').all('subscription_identifier')
    if len(ids) == 1:
        ids += s.expect_message('sub/twin/x').all('subscription_identifier')
    equal(ids, [6, 6])


@test(each=[(1,), (127,), (128,), (16383,), (16384,), (2097151,), (2097152,), (268435455,)])
def identifiers_of_all_lengths(b, identifier):
    s = b.connected()
    s.subscribe(f'sub/id/{identifier}', props={'subscription_identifier': identifier})
    b.connected().publish(f'sub/id/{identifier}', b'x')
    s.expect_message(subscription_identifier=identifier)


# ---- Shared subscriptions (4.8.2)

@test
def shared_message_goes_to_one_member(b):
    members = [b.connected() for _ in range(3)]
    for m in members:
        m.subscribe('$share/g/sub/shared', qos=1)
    outsider = b.connected()
    outsider.subscribe('$share/other/sub/shared', qos=1)
    p = b.connected()
    for i in range(30):
        p.publish('sub/shared', b'%d' % i, qos=1)
    for i in range(30):
        outsider.expect_message('sub/shared', b'%d' % i)
    got = []
    for m in members:
        m.ping()
        mine = []
        while m.aside:
            mine.append(int(m.expect_message('sub/shared', retain=False).payload))
        equal(mine, sorted(mine), 'order for one member')
        equal(len(mine) > 0, True, 'each member got some')
        got += mine
    equal(sorted(got), list(range(30)))


@test(mosquitto='sends them')
def shared_gets_no_retained_messages(b):
    retained(b, 'sub/shared-retained')
    s = b.connected()
    s.subscribe('$share/g/sub/shared-retained', qos=1)
    s.expect_nothing()


@test
def shared_and_plain_are_two_subscriptions(b):
    s = b.connected()
    s.subscribe('$share/g/sub/both', 'sub/both', qos=1)
    p = b.connected()
    p.publish('sub/both', b'x', qos=1)
    for _ in range(2):
        s.expect_message('sub/both', b'x')
    s.unsubscribe('$share/g/sub/both')
    p.publish('sub/both', b'y', qos=1)
    s.expect_message('sub/both', b'y')
    s.expect_nothing()


@test
def shared_groups_with_wildcards(b):
    one, two = b.connected(), b.connected()
    one.subscribe('$share/g/sub/sw/+/#', qos=1)
    two.subscribe('$share/g/sub/sw/a/b', qos=1)  # another filter: another share
    p = b.connected()
    p.publish('sub/sw/a/b', b'x', qos=1)
    one.expect_message('sub/sw/a/b')
    two.expect_message('sub/sw/a/b')


@test
def member_that_leaves_gets_no_more(b):
    stays, leaves = b.connected(), b.connected()
    for m in (stays, leaves):
        m.subscribe('$share/g/sub/leave', qos=1)
    equal(leaves.unsubscribe('$share/g/sub/leave').reasons, (0,))
    p = b.connected()
    for i in range(10):
        p.publish('sub/leave', b'%d' % i, qos=1)
    for i in range(10):
        stays.expect_message('sub/leave', b'%d' % i)
    leaves.expect_nothing()


@test
def member_that_is_gone_gets_no_more(b):
    stays, gone = b.connected(), b.connected('sub-gone')
    for m in (stays, gone):
        m.subscribe('$share/g/sub/gone', qos=1)
    gone.drop()
    p = b.connected()
    for i in range(10):
        p.publish('sub/gone', b'%d' % i, qos=1)
    for i in range(10):
        stays.expect_message('sub/gone', b'%d' % i)


@test(only='dunlin')
def connected_member_is_preferred_to_one_that_is_away(b):
    away = b.connected('sub-away', clean_start=False, props={'session_expiry_interval': 300})
    here = b.connected()
    for m in (away, here):
        m.subscribe('$share/g/sub/away', qos=1)
    away.disconnect()
    p = b.connected()
    for i in range(10):
        p.publish('sub/away', b'%d' % i, qos=1)
    for i in range(10):
        here.expect_message('sub/away', b'%d' % i)


@test(only='dunlin')
def unacknowledged_qos_1_of_a_lost_member_goes_to_another(b):
    lost, stays = b.connected('sub-lost'), b.connected()
    lost.subscribe('$share/g/sub/lost', qos=1)
    p = b.connected()
    for i in range(3):
        p.publish('sub/lost', b'%d' % i, qos=1)
    for i in range(3):
        lost.expect_message('sub/lost', b'%d' % i, ack=False)
    stays.subscribe('$share/g/sub/lost', qos=1)
    lost.drop()
    equal({stays.expect_message('sub/lost').payload for _ in range(3)}, {b'0', b'1', b'2'})


STRATEGIES = ('round_robin', 'random', 'sticky', 'hash_client', 'hash_topic')


@test(only='dunlin', each=[(s,) for s in STRATEGIES])
def shared_strategy(b, strategy):
    """Each message goes to one member; who, is the strategy's. Shards keep their places for
    themselves, so only with one is round robin exact and sticky one member."""
    other = b.another({'shared_subscriptions.strategy': strategy, 'node.shards': 1})
    members = [other.connected() for _ in range(4)]
    for m in members:
        m.subscribe('$share/g/sub/+', qos=1)
    publishers = [other.connected(f'strategy-{i}') for i in range(8)]
    sent = [(i % 8, f'sub/{i // 8 % 10}', b'%d' % i) for i in range(400)]
    for p, topic, body in sent:
        publishers[p].publish(topic, body, qos=1)
    who = {}
    for n, m in enumerate(members):
        m.ping()
        while m.aside:
            message = m.expect_message()
            equal(message.payload in who, False, 'delivered twice')
            who[message.payload] = n
    equal(len(who), 400, 'delivered')
    loads = [list(who.values()).count(n) for n in range(4)]
    if strategy == 'round_robin':
        equal(max(loads) - min(loads) <= 1, True, f'evenly: {loads}')
    elif strategy == 'random':
        equal(min(loads) > 50, True, f'about evenly: {loads}')
    elif strategy == 'sticky':
        equal(max(loads), 400)
    else:
        key = {'hash_client': lambda p, topic: p, 'hash_topic': lambda p, topic: topic}[strategy]
        homes = {}
        for p, topic, body in sent:
            homes.setdefault(key(p, topic), set()).add(who[body])
        equal(all(len(home) == 1 for home in homes.values()), True, f'{homes}')
        equal(len({n for home in homes.values() for n in home}) > 1, True, f'spread: {homes}')
