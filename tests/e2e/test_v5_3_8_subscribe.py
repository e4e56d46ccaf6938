# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 3.8 to 3.12: SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ."""
import threading

from harness import equal, test
from norm5 import CODES, KEPT, collected, ended, replayed, resumed, rows, subscriber
from raw import (PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK, V5, Will,
                 publish_many, wire)
from wire import options, packet, properties, string, u16

SECONDS = 1

BAD_TEXT = [('ff',), ('c080',), ('eda080',), ('f4908080',), ('00',)]


# ---- 3.8 SUBSCRIBE

@test(each=[(flags,) for flags in range(16) if flags != 2])
def v5_mqtt_3_8_1_1(b, flags):
    """The flags of SUBSCRIBE are 2; others are malformed, and nothing is subscribed."""
    c = b.connected(f'sub-flags-{flags}', props=KEPT)
    c.send(bytes([0x80 | flags]) + wire.subscribe(V5, 1, [('sub/flags', 1)])[1:])
    ended(c, 0x81)
    c = resumed(b, f'sub-flags-{flags}')
    p = b.connected()
    p.publish('sub/flags', b'', 1)
    equal(collected(c, p), [])


@test(each=BAD_TEXT)
def v5_mqtt_3_8_3_1(b, text):
    """Filters are UTF-8 strings."""
    c = b.connected()
    c.send(wire.subscribe(V5, 1, [('good', 0), (bytes.fromhex(text), 0)]))
    ended(c, 0x81)


EMPTY = {'nothing': packet(0x82, u16(1) + b'\0'),
         'a filter without options': packet(0x82, u16(1) + b'\0' + string('t')),
         'a second without': packet(0x82, u16(1) + b'\0' + string('t') + b'\0' + string('u')),
         'properties alone': packet(0x82, u16(1) + properties({'user_property': ('k', 'v')}))}


@test(each=rows(EMPTY))
def v5_mqtt_3_8_3_2(b, name):
    """SUBSCRIBE has at least one filter, each with its options."""
    c = b.connected()
    c.send(EMPTY[name])
    ended(c, 0x81, *(() if 'without' in name else (0x82,)))


@test
def v5_mqtt_3_8_3_3(b):
    """No Local 1: one's own messages do not come, others' do."""
    c = b.connected('no-local', props=KEPT)
    c.subscribe('sub/nl', qos=1, no_local=True)
    other = b.connected()
    c.publish('sub/nl', b'own', 1)
    other.publish('sub/nl', b'other', 1)
    c.expect_message('sub/nl', b'other')
    equal(collected(c, c), [])
    c.subscribe('sub/nl', qos=1)
    c.publish('sub/nl', b'own', 1)
    c.expect_message('sub/nl', b'own')


@test
def v5_mqtt_3_8_3_3_resumed(b):
    """… nor those that the same client has published on an earlier connection (here its will)."""
    c = b.connected('no-local-2', props=KEPT, will=Will('sub/nl2', b'will', 1))
    c.subscribe('sub/nl2', qos=1, no_local=True)
    s = subscriber(b, 'sub/nl2')
    c.drop()
    s.expect_message('sub/nl2', b'will')
    c = resumed(b, 'no-local-2')
    b.connected().publish('sub/nl2', b'other', 1)
    c.expect_message('sub/nl2', b'other')


@test
def v5_mqtt_3_8_3_4(b):
    """No Local on a shared subscription is a protocol error."""
    c = b.connected()
    c.send(wire.subscribe(V5, 1, [('$share/g/sub/nl', options(1, no_local=True))]))
    ended(c, 0x82)


@test(each=[(0x40,), (0x80,), (0xC0,), (0x41,)])
def v5_mqtt_3_8_3_5(b, value):
    """The upper two bits of the options are 0; others are malformed, and no filter counts."""
    c = b.connected(f'sub-bits-{value}', props=KEPT)
    c.send(wire.subscribe(V5, 1, [('sub/bits', 1), ('sub/other', value)]))
    ended(c, 0x81)
    c = resumed(b, f'sub-bits-{value}')
    p = b.connected()
    p.publish('sub/bits', b'', 1)
    equal(collected(c, p), [])


@test(each=[(0x03,), (0x30,), (0x33,), (0x07,)])
def v5_u5_3_8_3_a(b, value):
    """QoS 3 and Retain Handling 3 are protocol errors."""
    c = b.connected()
    c.send(wire.subscribe(V5, 1, [('t', value)]))
    ended(c, 0x82, 0x81)


@test(each=[(0,), (1,), (127,), (128,), (268435455,), ('twice',)])
def v5_u5_3_8_2_a(b, identifier):
    """The Subscription Identifier is 1 to 268435455, and comes at most once."""
    c = b.connected()
    if identifier in (0, 'twice'):
        props = [('subscription_identifier', n) for n in ((0,) if identifier == 0 else (1, 2))]
        c.send(wire.subscribe(V5, 1, [('sub/id', 0)], props))
        ended(c, 0x82)
        return
    c.subscribe('sub/id', props={'subscription_identifier': identifier})
    c.publish('sub/id', b'')
    equal(c.expect_message('sub/id').all('subscription_identifier'), [identifier])


@test
def v5_u5_3_8_2_b(b):
    """It counts for all filters of its SUBSCRIBE, until one is subscribed without."""
    c = b.connected()
    c.subscribe('sub/two/a', 'sub/two/b', props={'subscription_identifier': 7})
    c.subscribe('sub/two/b')
    for topic, want in (('sub/two/a', [7]), ('sub/two/b', [])):
        c.publish(topic, b'')
        equal(c.expect_message(topic).all('subscription_identifier'), want)


@test
def v5_mqtt_3_8_4_1(b):
    """SUBSCRIBE is answered by SUBACK, one."""
    c = b.connected()
    c.send(wire.subscribe(V5, 5, [('sub/ack', 0)]), wire.pingreq())
    equal([c.recv().type for _ in range(2)].count(SUBACK), 1)
    c.expect_nothing()


@test
def v5_mqtt_3_8_4_2(b):
    """… with its packet identifier."""
    c = b.connected()
    for packet_id in (1, 255, 256, 65535):
        c.send(wire.subscribe(V5, packet_id, [('sub/ids', 0)]))
        c.expect(SUBACK, packet_id=packet_id)


@test
def v5_mqtt_3_8_4_3(b):
    """The same filter again takes the place of the subscription, options and all."""
    c, p = b.connected(), b.connected()
    c.subscribe('sub/again', qos=2, retain_as_published=True, props={'subscription_identifier': 1})
    c.subscribe('sub/again', qos=0, props={'subscription_identifier': 2})
    p.publish('sub/again', b'x', 2, retain=True)
    got = collected(c, p)
    equal([(m.qos, m.retain, m.all('subscription_identifier')) for m in got], [(0, False, [2])])
    equal(c.unsubscribe('sub/again').reasons, (0,))
    p.publish('sub/again', b'x', 2)
    equal(collected(c, p), [])


@test
def v5_mqtt_3_8_4_4(b):
    """… with Retain Handling 0 what is retained comes again, and no message is lost by it."""
    p = b.connected()
    p.publish('sub/stream/kept', b'kept', 1, retain=True)
    c = b.connected()
    c.subscribe('sub/stream/#', qos=1)
    c.expect_message(payload=b'kept')
    sender = threading.Thread(target=publish_many, args=(
        p, 'sub/stream/live', [b'%d' % i for i in range(500)], 1, 10))
    sender.start()
    live, kept, subscribed = [], 1, 1
    while len(live) < 500 or kept < subscribed:
        m = c.expect(PUBLISH)
        c.acknowledge(m)
        if m.payload == b'kept':
            kept += 1
        else:
            live.append(int(m.payload))
        if kept == subscribed and len(live) > 10 * subscribed and len(live) < 500:
            subscribed += 1
            c.subscribe('sub/stream/#', qos=1)
    sender.join()
    equal((live, kept), (list(range(500)), subscribed))
    equal(subscribed > 2, True, 'the test itself')


@test
def v5_mqtt_3_8_4_5(b):
    """Several filters are like several SUBSCRIBEs, with one SUBACK; a later one replaces."""
    c, p = b.connected(), b.connected()
    c.send(wire.subscribe(V5, 1, [('sub/many/a', 2), ('sub/many/b', 1), ('sub/many/a', 0)]))
    c.expect(SUBACK, packet_id=1, reasons=(2, 1, 0))
    p.publish('sub/many/a', b'', 2)
    p.publish('sub/many/b', b'', 2)
    equal([(m.topic, m.qos) for m in collected(c, p)], [('sub/many/a', 0), ('sub/many/b', 1)])


@test(each=[(1,), (2,), (100,), (1000,)])
def v5_mqtt_3_8_4_6(b, count):
    """SUBACK has a code for each filter, also for those that are refused."""
    c = b.connected()
    c.send(wire.subscribe(V5, 1, [(f'sub/n/{i}' if i % 3 else 'a#', 0) for i in range(count)]))
    equal(len(c.expect(SUBACK).reasons), count)


@test(each=[(0,), (1,), (2,)])
def v5_mqtt_3_8_4_7(b, asked):
    """Each is the QoS granted, no more than asked for and kept to, or a failure."""
    c, p = b.connected(), b.connected()
    c.send(wire.subscribe(V5, 1, [('sub/granted', asked), ('a#', asked)]))
    granted, failure = c.expect(SUBACK).reasons
    equal((granted <= asked, failure >= 0x80), (True, True))
    p.publish('sub/granted', b'', 2)
    equal(c.expect_message('sub/granted').qos <= granted, True)


@test(each=[(published, granted) for published in range(3) for granted in range(3)])
def v5_mqtt_3_8_4_8(b, published, granted):
    """A message is delivered at the lower of its QoS and the one granted: live, retained, or as a
    will."""
    topic = f'sub/min/{published}/{granted}'
    want = min(published, granted)
    s = subscriber(b, topic, qos=granted)
    p = b.connected()
    p.publish(topic, b'live', published, retain=True)
    s.expect_message(topic, b'live', qos=want)
    p.ping()
    late = subscriber(b, topic, qos=granted)
    late.expect_message(topic, b'live', qos=want, retain=True)
    b.connected(will=Will(topic, b'will', published)).drop()
    s.expect_message(topic, b'will', qos=want)


@test
def v5_u5_3_8_4_a(b):
    """A message may come before SUBACK; either way both come."""
    c = b.connected()
    b.connected().publish('sub/early', b'x', 1, retain=True)
    c.send(wire.subscribe(V5, 1, [('sub/early', 0)]))
    equal({c.recv().type for _ in range(2)}, {SUBACK, PUBLISH})


@test(each=[(0,), (1,)])
def v5_u5_3_8_4_b(b, handling):
    """Shared subscriptions get nothing that was retained."""
    b.connected().publish('sub/shared', b'x', 1, retain=True)
    c = b.connected()
    c.subscribe('$share/g/sub/shared', qos=1, retain_handling=handling)
    equal(replayed(c), [])


@test
def v5_u5_3_8_4_c(b):
    """Identifiers belong to the session: they stay with it, and go with it."""
    c = b.connected('sub-ids', props=KEPT)
    c.subscribe('sub/session', qos=1, props={'subscription_identifier': 9})
    c.drop()
    p = b.connected()
    p.publish('sub/session', b'', 1)
    c = resumed(b, 'sub-ids')
    c.expect_message(subscription_identifier=9)
    p.publish('sub/session', b'', 1)
    c.expect_message(subscription_identifier=9)
    c.drop()
    c = b.connected('sub-ids', clean_start=True)
    c.subscribe('sub/session', qos=1)
    p.publish('sub/session', b'', 1)
    c.expect_message(subscription_identifier=None)


# ---- 3.9 SUBACK, 3.11 UNSUBACK

def small_enough(b, kind, what):
    for size in (40, 45, 50, 60, 80):
        c = b.connected('sub-small', props={'maximum_packet_size': size})
        if kind == SUBACK:
            c.send(wire.subscribe(V5, 1, [('a#', 0), ('good', 0)]))
            want = 'first'
        else:
            c.send(wire.unsubscribe(V5, 1, ['none', 'good']))
            want = (0x11, 0x11)
        p = c.expect(kind, packet_id=1)
        equal(p.size <= size, True, p)
        equal(p.reasons[0] >= 0x80 if want == 'first' else p.reasons == want, True, p)
        equal(p.prop(what) is None or p.size > 8, True, p)
        c.ping()


@test
def v5_mqtt_3_9_2_1(b):
    """No Reason String makes SUBACK larger than the client takes."""
    small_enough(b, SUBACK, 'reason_string')


@test
def v5_mqtt_3_9_2_2(b):
    """No User Property does."""
    small_enough(b, SUBACK, 'user_property')


@test
def v5_mqtt_3_9_3_1(b):
    """The order of the codes is that of the filters."""
    c = b.connected()
    filters = [('sub/o/a', 2), ('a#', 1), ('sub/o/b', 0), ('$share/g', 0), ('sub/o/c', 1),
               ('sub/o/+', 2)]
    c.send(wire.subscribe(V5, 1, filters))
    reasons = c.expect(SUBACK).reasons
    equal([r if r < 0x80 else 'no' for r in reasons], [2, 'no', 0, 'no', 1, 2])


@test
def v5_mqtt_3_9_3_2(b):
    """SUBACK has codes of its own."""
    c = b.connected()
    filters = [('t', 0), ('t', 1), ('t', 2), ('a#', 0), ('a/#/b', 1), ('b+', 2), ('$share/g/', 0),
               ('$share//t', 0), ('$share/g+/t', 0), ('/'.join('x' * 500), 0), ('', 0)]
    for row in filters:
        c.send(wire.subscribe(V5, 1, [row]))
        p = c.recv()
        if p is None or p.type == wire.DISCONNECT:
            c = b.connected()
            continue
        equal((p.type, len(p.reasons)), (SUBACK, 1), p)
        equal(p.reasons[0] in CODES[SUBACK], True, p)


# ---- 3.10 UNSUBSCRIBE

@test(each=[(flags,) for flags in range(16) if flags != 2])
def v5_mqtt_3_10_1_1(b, flags):
    """The flags of UNSUBSCRIBE are 2; others are malformed, and the subscription stays."""
    c = subscriber(b, 'unsub/flags', client_id=f'unsub-flags-{flags}', props=KEPT)
    c.send(bytes([0xA0 | flags]) + wire.unsubscribe(V5, 9, ['unsub/flags'])[1:])
    ended(c, 0x81)
    c = resumed(b, f'unsub-flags-{flags}')
    b.connected().publish('unsub/flags', b'', 1)
    c.expect_message('unsub/flags')


@test(each=BAD_TEXT)
def v5_mqtt_3_10_3_1(b, text):
    """Its filters are UTF-8 strings."""
    c = b.connected()
    c.send(wire.unsubscribe(V5, 1, ['good', bytes.fromhex(text)]))
    ended(c, 0x81)


@test
def v5_mqtt_3_10_3_2(b):
    """There is at least one."""
    for props in ([], {'user_property': ('k', 'v')}):
        c = b.connected()
        c.send(wire.unsubscribe(V5, 1, [], props))
        ended(c, 0x82, 0x81)


@test
def v5_mqtt_3_10_4_1(b):
    """They are compared with the session's byte by byte; what is the same is deleted."""
    c, p = subscriber(b, 'unsub/+', 'unsub/b'), b.connected()
    for other in ('unsub/#', 'unsub/a', 'unsub/+/', 'Unsub/+', 'unsub', '#', '/unsub/b',
                  '$share/g/unsub/+'):
        equal(c.unsubscribe(other).reasons, (0x11,), other)
    p.publish('unsub/a', b'1', 1)
    c.expect_message('unsub/a', b'1')
    equal(c.unsubscribe('unsub/+').reasons, (0,))
    p.publish('unsub/a', b'2', 1)
    p.publish('unsub/b', b'3', 1)
    equal([m.payload for m in collected(c, p)], [b'3'])


@test
def v5_mqtt_3_10_4_2(b):
    """After it nothing new comes."""
    c, p = subscriber(b, 'unsub/no-more'), b.connected()
    p.publish('unsub/no-more', b'1', 2)
    c.expect_message(payload=b'1')
    c.unsubscribe('unsub/no-more')
    for qos in (0, 1, 2):
        p.publish('unsub/no-more', b'2', qos)
    equal(collected(c, p), [])


@test(each=[(True,), (False,)])
def v5_mqtt_3_10_4_3(b, live):
    """What has been begun at QoS 1 or 2 is finished, on this connection or the next."""
    client_id = f'unsub-begun-{live}'
    c = subscriber(b, f'unsub/begun/{live}', client_id=client_id, props=KEPT)
    p = b.connected()
    p.publish(f'unsub/begun/{live}', b'1', 1)
    p.publish(f'unsub/begun/{live}', b'2', 2)
    ids = [c.expect(PUBLISH).packet_id for _ in range(2)]
    equal(c.unsubscribe(f'unsub/begun/{live}').reasons, (0,))
    if not live:
        c.drop()
        c = resumed(b, client_id)
        for i in (0, 1):
            c.expect(PUBLISH, packet_id=ids[i], dup=True, qos=i + 1)
    c.send(wire.ack(PUBACK, ids[0]), wire.ack(PUBREC, ids[1]))
    c.expect(PUBREL, packet_id=ids[1], reason=0)
    c.send(wire.ack(PUBCOMP, ids[1]))
    c.expect_nothing()


@test
def v5_mqtt_3_10_4_4(b):
    """UNSUBSCRIBE is answered by UNSUBACK, one."""
    c = b.connected()
    c.send(wire.unsubscribe(V5, 1, ['unsub/a', 'unsub/b']), wire.unsubscribe(V5, 2, ['unsub/a']),
           wire.pingreq())
    equal([(p.type, p.packet_id) for p in (c.recv() for _ in range(3))],
          [(UNSUBACK, 1), (UNSUBACK, 2), (PINGRESP, None)])


@test
def v5_mqtt_3_10_4_5(b):
    """… with its packet identifier, also if there was nothing to delete."""
    c = b.connected()
    for packet_id in (1, 256, 65535):
        c.send(wire.unsubscribe(V5, packet_id, ['unsub/unknown']))
        c.expect(UNSUBACK, packet_id=packet_id, reasons=(0x11,))


@test
def v5_mqtt_3_10_4_6(b):
    """Several filters are like several UNSUBSCRIBEs, with one UNSUBACK."""
    c = subscriber(b, 'unsub/m/a', 'unsub/m/b')
    equal(c.unsubscribe('unsub/m/a', 'unsub/m/none', 'unsub/m/b', 'unsub/m/a').reasons,
          (0, 0x11, 0, 0x11))
    c.expect_nothing()


@test
def v5_u5_3_10_4_a(b):
    """Leaving a shared subscription: the others have it, the last one ends it, and the filter must
    be the whole one."""
    one, two = (subscriber(b, '$share/g/unsub/sh', qos=1) for _ in range(2))
    p = b.connected()
    for other in ('unsub/sh', '$share/h/unsub/sh'):
        equal(one.unsubscribe(other).reasons, (0x11,), other)
    equal(one.unsubscribe('$share/g/unsub/sh').reasons, (0,))
    for i in range(4):
        p.publish('unsub/sh', b'%d' % i, 1)
    equal([m.payload for m in collected(two, p)], [b'0', b'1', b'2', b'3'])
    equal(collected(one, p), [])
    equal(two.unsubscribe('$share/g/unsub/sh').reasons, (0,))
    p.publish('unsub/sh', b'lost', 1)
    again = subscriber(b, '$share/g/unsub/sh', qos=1)
    equal(collected(again, p), [])


@test
def v5_mqtt_3_11_2_1(b):
    """No Reason String makes UNSUBACK larger than the client takes."""
    small_enough(b, UNSUBACK, 'reason_string')


@test
def v5_mqtt_3_11_2_2(b):
    """No User Property does."""
    small_enough(b, UNSUBACK, 'user_property')


@test
def v5_mqtt_3_11_3_1(b):
    """The order of its codes is that of the filters."""
    c = subscriber(b, 'unsub/o/b', 'unsub/o/d')
    equal(c.unsubscribe('unsub/o/a', 'unsub/o/b', 'unsub/o/c', 'unsub/o/d').reasons,
          (0x11, 0, 0x11, 0))


@test
def v5_mqtt_3_11_3_2(b):
    """It has codes of its own, one for each filter."""
    c = subscriber(b, 'unsub/codes')
    filters = ['unsub/codes', 'none', 'a#', '$share/g', '$share//t', '#', '+']
    c.send(wire.unsubscribe(V5, 9, filters))
    p = c.recv()
    if p is not None and p.type == UNSUBACK:
        equal((len(p.reasons), set(p.reasons) <= CODES[UNSUBACK]), (len(filters), True), p)
    else:
        equal(p is None or p.reason in (0x81, 0x82, 0x8F), True, p)


# ---- 3.12 PINGREQ

@test
def v5_mqtt_3_12_4_1(b):
    """Each PINGREQ is answered by a PINGRESP, also with the quota used up."""
    c = subscriber(b, 'ping', qos=1, props={'receive_maximum': 1})
    publish_many(b.connected(), 'ping', [b'1', b'2'], 1)
    c.expect(PUBLISH)
    c.send(*[wire.pingreq()] * 10)
    for _ in range(10):
        equal(c.expect(PINGRESP).raw, b'\xd0\x00')
    c.send(b'\xc0\x01\x00')
    ended(c, 0x81)
