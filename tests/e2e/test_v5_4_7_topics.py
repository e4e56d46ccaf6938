# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 4.7 and 4.8: topic names and filters, shared subscriptions."""
from harness import equal, pass_time, test
from norm5 import KEPT, collected, ended, quiet, refused, resumed, retained_on, subscriber
from raw import PUBACK, PUBLISH, PUBREC, PUBREL, SUBACK, V5, Unexpected, Will, wire

SECONDS = 2


def not_granted(b, topic_filter, *codes):
    """A failure in SUBACK, or the end."""
    c = b.connected()
    c.send(wire.subscribe(V5, 1, [(topic_filter, 1)]))
    p = c.recv()
    if p is not None and p.type == SUBACK:
        equal(p.reasons[0] >= 0x80, True, p)
    else:
        equal(p is None or p.reason in (codes or (0x8F, 0x81, 0x82)), True, p)


def matches(b, topic_filter, topics, others):
    """A subscriber of the filter gets `topics`, and not `others`."""
    s, p = subscriber(b, topic_filter, opts={'retain_handling': 2}), b.connected()
    for topic in [*others, *topics]:
        p.publish(topic, b'x', 1)
    equal([m.topic for m in collected(s, p)], list(topics), topic_filter)


# ---- 4.7 Topic names and filters

@test(each=[('n47/+',), ('#',), ('n47/#',), ('n47/a+b',), ('n47/+/x',)])
def v5_mqtt_4_7_0_1(b, topic):
    """Wildcards are for filters: not in the topic of a message, nor of a will."""
    s = subscriber(b, 'n47/#')
    c = b.connected()
    c.send(wire.publish(V5, topic, b'x'))
    ended(c, 0x81, 0x82, 0x90)
    refused(b, wire.connect(V5, 'n47', will=Will(topic, b'x')), 0x81, 0x82, 0x90)
    quiet(s, b.connected(), 'n47/end')


@test(each=[('a#',), ('a/#/b',), ('#/a',), ('a/#b',), ('a/b#',), ('##',), ('a/##',)])
def v5_mqtt_4_7_1_1(b, topic_filter):
    """# stands alone or after a /, and last …"""
    not_granted(b, topic_filter)


@test
def v5_mqtt_4_7_1_1_match(b):
    """… and matches the level above and all below."""
    matches(b, 'hash/a/#', ['hash/a', 'hash/a/', 'hash/a/b', 'hash/a/b/c', 'hash/a//'],
            ['hash/ab', 'hash', 'hash/b/a', 'hash/A', '/hash/a'])
    s = subscriber(b, '#', opts={'retain_handling': 2})
    b.connected().publish('hash/any', b'x', 1)
    s.expect_message('hash/any')


@test(each=[('a+',), ('a/+b',), ('a/b+/c',), ('++',), ('+a',), ('a/++/b',)])
def v5_mqtt_4_7_1_2(b, topic_filter):
    """+ has a level for itself …"""
    not_granted(b, topic_filter)


@test(each=[('+', 'plus', 'plus/a'), ('plus/+', 'plus/b', 'plus'), ('plus/+', 'plus/', 'plus/b/c'),
            ('+/+', '/plus', 'plus/b/c'), ('/+', '/plus', 'plus'), ('+/plus', 'x/plus', 'plus'),
            ('plus/+/c', 'plus/b/c', 'plus/c'), ('plus/+/#', 'plus/b/c/d', 'plus'),
            ('plus/+/+/d', 'plus/b/c/d', 'plus/b/d'), ('+/+/#', 'plus/b', 'plus')])
def v5_mqtt_4_7_1_2_match(b, topic_filter, topic, other):
    """… anywhere, and matches one level, be it empty."""
    matches(b, topic_filter, [topic], [other])


@test
def v5_u5_4_7_1_a(b):
    """Slashes next to each other make empty levels."""
    for topic_filter in ('empty//b', 'empty/+/b', 'empty/#', 'empty//#', 'empty//+'):
        matches(b, topic_filter, ['empty//b'], [])
    matches(b, 'empty/b', [], ['empty//b'])
    matches(b, 'empty//b', [], ['empty/b', 'empty///b', '/empty//b'])


@test(each=[('#',), ('+/dollar',), ('+/#',), ('+/+',), ('$share/g/#',), ('$share/g/+/dollar',)])
def v5_mqtt_4_7_2_1(b, topic_filter):
    """A filter that begins with a wildcard does not match topics that begin with $: live …"""
    s, p = subscriber(b, topic_filter, opts={'retain_handling': 2}), b.connected()
    dollar = subscriber(b, '$dunlin/#', '$other/+')
    for topic in ('$dunlin/dollar', '$other/dollar'):
        p.publish(topic, b'x', 1)
    for topic in ('$dunlin/dollar', '$other/dollar'):
        dollar.expect_message(topic)
    equal([m.topic for m in collected(s, p)], [])


@test(each=[('#',), ('+/dollar',), ('+/#',), ('+/+',)])
def v5_mqtt_4_7_2_1_retained(b, topic_filter):
    """… and retained."""
    b.connected().publish('$retained/dollar', b'x', 1, retain=True)
    equal(retained_on(b, '$retained/#'), [('$retained/dollar', b'x')])
    equal([t for t, _ in retained_on(b, topic_filter) if t.startswith('$')], [])


@test(each=[(0,), (1,), (2,)])
def v5_u5_4_7_2_a(b, qos):
    """Clients cannot use the server's own topics to exchange messages."""
    s = subscriber(b, '$SYS/clients/#')
    p = b.connected()
    p.publish('$SYS/clients/x', b'x', qos, retain=True, expect=(0, 0x10, 0x87, 0x90))
    equal(collected(s, p), [])
    equal(retained_on(b, '$SYS/clients/#'), [])


@test
def v5_mqtt_4_7_3_1(b):
    """Topic names and filters have at least one character."""
    not_granted(b, '')
    c = b.connected()
    c.send(wire.unsubscribe(V5, 1, ['']))
    p = c.recv()
    if p is not None and p.type == wire.UNSUBACK:
        equal(p.reasons[0] >= 0x80 or p.reasons[0] == 0x11, True, p)
    else:
        equal(p is None or p.reason in (0x81, 0x82, 0x8F), True, p)
    c = b.connected()
    c.send(wire.publish(V5, '', b''))
    ended(c, 0x82)
    refused(b, wire.connect(V5, 'n473', will=Will('', b'')), 0x81, 0x82, 0x90)


@test(each=[('00',), ('6100',), ('2f00',), ('2b2f00',)])
def v5_mqtt_4_7_3_2(b, text):
    """They hold no U+0000."""
    for data in (wire.publish(V5, bytes.fromhex(text)),
                 wire.subscribe(V5, 1, [(bytes.fromhex(text), 0)]),
                 wire.unsubscribe(V5, 1, [bytes.fromhex(text)])):
        c = b.connected()
        c.send(data)
        ended(c, 0x81)


@test
def v5_mqtt_4_7_3_3(b):
    """They have up to 65535 bytes, and are never cut."""
    long = 'long/' + 'x' * 65530
    s, p = subscriber(b, long), b.connected()
    wild = subscriber(b, 'long/+')
    other = subscriber(b, long[:-1])
    p.publish(long, b'1', 1)
    s.expect_message(long, b'1')
    wild.expect_message(long, b'1')
    equal(collected(other, p), [])
    equal(s.unsubscribe(long).reasons, (0,))


@test(each=[('case', 'ACCOUNTS', 'Accounts'), ('composed', 'caf\u00e9', 'cafe\u0301'),
            ('first slash', '/norm', 'norm'), ('last slash', 'norm/', 'norm'),
            ('two slashes', 'norm//b', 'norm/b'), ('space', 'norm ', 'norm'),
            ('ligature', '\ufb01', 'fi'), ('escape', 'a%20b', 'a b'), ('dot', 'a/./b', 'a/b')])
def v5_mqtt_4_7_3_4(b, name, topic, other):
    """Nothing is normalised or substituted."""
    matches(b, topic, [topic], [other])
    matches(b, other, [other], [topic])


@test(each=[(' ',), ('/',), ('//',), ('a b',), ('/lead',), ('trail/',), ('/'.join('x' * 128),),
            ('Ünï/日本',)])
def v5_u5_4_7_3_a(b, topic):
    """Spaces, slashes at both ends, / alone, and many levels are all fine."""
    matches(b, topic, [topic], [topic + '/'] if topic.count('/') < 127 else [])


# ---- 4.8.2 Shared subscriptions

@test(each=[('$share//t',), ('$share/',), ('$share//',), ('$share///t',)])
def v5_mqtt_4_8_2_1(b, topic_filter):
    """A shared subscription begins with $share/ and a name of at least one character …"""
    not_granted(b, topic_filter)


@test
def v5_mqtt_4_8_2_1_case(b):
    """… in small letters: another one is a plain filter."""
    members = [subscriber(b, '$share/g/share/case') for _ in range(2)]
    plain = [subscriber(b, '$SHARE/g/share/case') for _ in range(2)]
    p = b.connected()
    p.publish('share/case', b'x', 1)
    p.publish('$SHARE/g/share/case', b'y', 1)
    equal(sorted(len(collected(c, p)) for c in members), [0, 1])
    equal([[m.payload for m in collected(c, p)] for c in plain], [[b'y'], [b'y']])


@test(each=[('$share/g',), ('$share/g/',), ('$share/+/t',), ('$share/#/t',), ('$share/a+b/t',),
            ('$share/a#/t',), ('$share/#',), ('$share/g/a#',), ('$share/g/#/a',)])
def v5_mqtt_4_8_2_2(b, topic_filter):
    """Its name has no /, + or #, and is followed by / and a filter …"""
    not_granted(b, topic_filter)


@test
def v5_mqtt_4_8_2_2_match(b):
    """… which may begin with a slash."""
    matches(b, '$share/g//share/slash', ['/share/slash'], ['share/slash'])


@test
def v5_mqtt_4_8_2_3(b):
    """Each member gets at most the QoS that it was granted."""
    members = {qos: subscriber(b, '$share/g/share/qos', qos=qos) for qos in (0, 1, 2)}
    p = b.connected()
    for _ in range(9):
        p.publish('share/qos', b'x', 2)
    got = {qos: collected(c, p) for qos, c in members.items()}
    equal(sum(map(len, got.values())), 9)
    equal([(qos, m.qos) for qos, some in got.items() for m in some if m.qos != qos], [])


def two_members(b, name, qos, **connect):
    """One of two members has got a message and not acknowledged it: (it, the other, PUBLISH)."""
    members = [subscriber(b, f'$share/g/{name}', qos=qos, client_id=f'{name}-{i}',
                          props={'session_expiry_interval': 60}, **connect) for i in (1, 2)]
    p = b.connected()
    p.publish(name, b'x', qos)
    for i, c in enumerate(members):
        got = collected(c, p)
        if got:
            equal((len(got), got[0].qos, got[0].dup), (1, qos, False))
            return c, members[1 - i], got[0], p
    raise Unexpected('nobody got it')


@test
def v5_mqtt_4_8_2_4(b):
    """QoS 2 begun with a member is finished with that one when it comes back."""
    chosen, other, m, p = two_members(b, 'share/begun', 2)
    chosen.drop()
    equal(collected(other, p), [])
    chosen = resumed(b, chosen.client_id)
    chosen.expect(PUBLISH, packet_id=m.packet_id, dup=True, payload=b'x', qos=2)
    chosen.send(wire.ack(PUBREC, m.packet_id))
    chosen.expect(PUBREL, packet_id=m.packet_id)
    equal(collected(other, p), [])


@test(each=[('expiry',), ('clean start',)])
def v5_mqtt_4_8_2_5(b, how):
    """If that one's session ends, QoS 2 goes to no other."""
    chosen, other, m, p = two_members(b, f'share/ended {how}', 2)
    if how == 'expiry':
        chosen.disconnect(0, {'session_expiry_interval': 0})
    else:
        chosen.drop()
        b.connected(chosen.client_id, clean_start=True)
    pass_time(0.2)
    equal(collected(other, p), [])


@test(each=[(qos, code) for qos in (1, 2) for code in (0x80, 0x87, 0x97)])
def v5_mqtt_4_8_2_6(b, qos, code):
    """If it refuses, the message is dropped, and goes to no other, nor again to that one."""
    chosen, other, m, p = two_members(b, f'share/refused {qos} {code}', qos)
    chosen.send(wire.ack(PUBACK if qos == 1 else PUBREC, m.packet_id, code))
    chosen.ping()
    pass_time(0.1)
    equal(collected(other, p), [])
    chosen.drop()
    equal(collected(other, p), [])
    resumed(b, chosen.client_id).expect_nothing()


@test
def v5_u5_4_8_2_a(b):
    """A message goes to one member of each group, and to each plain subscription."""
    groups = [[subscriber(b, f'$share/{name}/share/groups', qos=1) for _ in range(3)]
              for name in 'ab']
    groups.append([subscriber(b, '$share/a/share/+', qos=1) for _ in range(3)])
    plain = subscriber(b, 'share/groups')
    p = b.connected()
    for i in range(6):
        p.publish('share/groups', b'%d' % i, 1)
    want = [b'%d' % i for i in range(6)]
    for group in groups:
        equal(sorted(m.payload for c in group for m in collected(c, p)), want)
    equal([m.payload for m in collected(plain, p)], want)


@test
def v5_u5_4_8_2_b(b):
    """Subscribing again makes no second member."""
    one, two = b.connected(), subscriber(b, '$share/g/share/again')
    one.subscribe('$share/g/share/again', qos=2)
    one.subscribe('$share/g/share/again', qos=0)
    p = b.connected()
    for i in range(10):
        p.publish('share/again', b'', 2)
    got = collected(one, p)
    equal((len(got) + len(collected(two, p)), {m.qos for m in got} <= {0}), (10, True))
    one.unsubscribe('$share/g/share/again')
    for i in range(4):
        p.publish('share/again', b'', 1)
    equal((len(collected(one, p)), len(collected(two, p))), (0, 4))


@test
def v5_u5_4_8_2_c(b):
    """When the last member leaves, the group ends and with it what was not delivered."""
    members = [subscriber(b, '$share/g/share/last', client_id=f'share-last-{i}', props=KEPT)
               for i in range(2)]
    for c in members:
        c.drop()
    p = b.connected()
    for _ in range(4):
        p.publish('share/last', b'old', 1)
    for i in range(2):
        b.connected(f'share-last-{i}', clean_start=True).disconnect()
    again = subscriber(b, '$share/g/share/last')
    equal(collected(again, p), [])
    p.publish('share/last', b'new', 1)
    equal([m.payload for m in collected(again, p)], [b'new'])


@test
def v5_u5_4_8_2_d(b):
    """QoS 1 cut off: if the member's session ends, another one gets it."""
    chosen, other, _, p = two_members(b, 'share/moves', 1)
    chosen.drop()
    b.connected(chosen.client_id, clean_start=True)
    other.expect_message('share/moves', b'x', qos=1)


@test
def v5_u5_4_8_2_e(b):
    """Too large for the chosen member: dropped, or given to another one; not sent to it."""
    small = subscriber(b, '$share/g/share/large', client_id='share-small', qos=1,
                       props={'maximum_packet_size': 50})
    large = subscriber(b, '$share/g/share/large', qos=1)
    p = b.connected()
    for i in range(6):
        p.publish('share/large', b'%d' % i * 60, 1)
    got = collected(large, p)
    equal((len(got) in (3, 4, 5, 6), [m.size for m in collected(small, p)]), (True, []))
