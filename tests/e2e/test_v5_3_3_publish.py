# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 3.3: PUBLISH."""
from harness import equal, pass_time, test
from norm5 import (KEPT, collected, ended, quiet, refused, replayed, resumed, retained_on, rows,
                   subscriber)
from raw import PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL, V5, Will, publish_many, wire
from wire import packet, string, u16

SECONDS = 4

# ---- 3.3.1.1 DUP


@test(each=[(1,), (2,)])
def v5_mqtt_3_3_1_1(b, qos):
    """DUP is 1 when a PUBLISH is sent again."""
    c = subscriber(b, f'dup/{qos}', client_id=f'dup-{qos}', qos=qos, props=KEPT)
    b.connected().publish(f'dup/{qos}', b'x', qos)
    m = c.expect_message(ack=False, dup=False)
    c.drop()
    for _ in range(2):
        c = resumed(b, f'dup-{qos}')
        c.expect_message(ack=False, dup=True, packet_id=m.packet_id, payload=b'x', qos=qos)
        c.drop()


@test
def v5_mqtt_3_3_1_2(b):
    """DUP is 0 at QoS 0; a client's 1 is malformed, or not passed on."""
    s = subscriber(b, 'dup/0')
    c = b.connected()
    c.publish('dup/0', b'1')
    s.expect_message(payload=b'1', dup=False)
    c.send(wire.publish(V5, 'dup/0', b'2', dup=True), wire.pingreq())
    p = c.recv()
    if p is not None and p.type == PINGRESP:
        s.expect_message(payload=b'2', dup=False)
    else:
        equal(p is None or p.reason in (0x81, 0x82), True, p)
        quiet(s, b.connected(), 'dup/0')


@test(each=[(1,), (2,)])
def v5_mqtt_3_3_1_3(b, qos):
    """DUP that comes in is not what goes out."""
    s = subscriber(b, f'dup/in/{qos}')
    b.connected().publish(f'dup/in/{qos}', b'x', qos, dup=True)
    s.expect_message(payload=b'x', dup=False, qos=qos)


@test(each=[(0x36,), (0x37,), (0x3E,), (0x3F,)])
def v5_mqtt_3_3_1_4(b, first):
    """QoS 3 is malformed."""
    c = b.connected()
    c.send(packet(first, string('t') + u16(1) + b'\0x'))
    ended(c, 0x81)


# ---- 3.3.1.3 RETAIN

@test
def v5_mqtt_3_3_1_5(b):
    """RETAIN 1 stores the message, in the place of the one before."""
    p = b.connected()
    p.publish('retain/stored', b'A', 1, retain=True, props={'content_type': 'a'})
    p.publish('retain/stored', b'B', 2, retain=True, props={'content_type': 'b'})
    for qos in (0, 1, 2):
        s = subscriber(b, 'retain/stored', qos=qos)
        s.expect_message('retain/stored', b'B', retain=True, qos=qos, content_type='b')
        s.expect_nothing()


@test(each=[(0,), (1,), (2,)])
def v5_mqtt_3_3_1_6(b, qos):
    """RETAIN 1 without a payload removes it, and goes to subscribers like any other."""
    topic = f'retain/removed/{qos}'
    p = b.connected()
    p.publish(topic, b'A', 1, retain=True)
    s = subscriber(b, topic, opts={'retain_handling': 2})
    p.publish(topic, b'', qos, retain=True)
    p.ping()
    s.expect_message(topic, b'', qos=qos, retain=False)
    equal(retained_on(b, topic), [])


@test
def v5_mqtt_3_3_1_7(b):
    """A message without a payload is never stored."""
    p = b.connected()
    for qos in (0, 1, 2):
        p.publish('retain/empty', b'', qos, retain=True)
    p.ping()
    equal(retained_on(b, 'retain/empty'), [])


@test
def v5_mqtt_3_3_1_8(b):
    """RETAIN 0: neither stored nor removed."""
    p = b.connected()
    p.publish('retain/left', b'A', 1, retain=True)
    for payload in (b'B', b''):
        for qos in (0, 1, 2):
            p.publish('retain/left', payload, qos)
            p.publish('retain/left-none', payload, qos)
    equal(retained_on(b, 'retain/left'), [('retain/left', b'A')])
    equal(retained_on(b, 'retain/left-none'), [])


def three_retained(b, root):
    p = b.connected()
    for name in 'xyz':
        p.publish(f'{root}/{name}', name.encode(), 1, retain=True)
    return [(f'{root}/{name}', name.encode()) for name in 'xyz']


@test
def v5_mqtt_3_3_1_9(b):
    """Retain Handling 0: all that match are sent, at each SUBSCRIBE."""
    want = three_retained(b, 'retain/h0')
    c = b.connected()
    for topic_filter, some in (('retain/h0/x', want[:1]), ('retain/h0/+', want),
                               ('retain/h0/#', want), ('retain/h0/none', [])):
        for _ in range(2):
            c.subscribe(topic_filter, retain_handling=0)
            equal(replayed(c), some, topic_filter)


@test
def v5_mqtt_3_3_1_10(b):
    """Retain Handling 1: sent if the subscription is new, and only then."""
    want = three_retained(b, 'retain/h1')
    c = b.connected('retain-h1', props=KEPT)
    for want_now in (want, [], []):
        c.subscribe('retain/h1/+', retain_handling=1)
        equal(replayed(c), want_now)
    c.unsubscribe('retain/h1/+')
    c.subscribe('retain/h1/+', retain_handling=1)
    equal(replayed(c), want)
    c.drop()
    c = resumed(b, 'retain-h1')
    c.subscribe('retain/h1/+', retain_handling=1)
    equal(replayed(c), [])


@test
def v5_mqtt_3_3_1_11(b):
    """Retain Handling 2: none are sent."""
    three_retained(b, 'retain/h2')
    c = b.connected()
    for _ in range(2):
        c.subscribe('retain/h2/+', 'retain/h2/x', retain_handling=2)
        equal(replayed(c), [])


@test
def v5_mqtt_3_3_1_12(b):
    """Retain As Published 0: passed on with RETAIN 0."""
    s = subscriber(b, 'retain/rap0')
    p = b.connected()
    for retain in (True, False):
        for qos in (0, 1, 2):
            p.publish('retain/rap0', b'x', qos, retain=retain)
            s.expect_message('retain/rap0', retain=False, qos=qos)


@test
def v5_mqtt_3_3_1_13(b):
    """Retain As Published 1: passed on with the RETAIN that came."""
    s = subscriber(b, 'retain/rap1', opts={'retain_as_published': True})
    p = b.connected()
    for retain in (True, False):
        for qos in (0, 1, 2):
            p.publish('retain/rap1', b'x', qos, retain=retain)
            s.expect_message('retain/rap1', retain=retain, qos=qos)


@test(each=[(False,), (True,)])
def v5_u5_3_3_1_a(b, as_published):
    """What was retained has RETAIN 1 when it is sent at SUBSCRIBE."""
    b.connected().publish('retain/flag', b'x', 1, retain=True)
    s = subscriber(b, 'retain/flag', opts={'retain_as_published': as_published})
    s.expect_message('retain/flag', retain=True)


@test
def v5_u5_3_3_1_b(b):
    """A message at QoS 0 takes the place of the retained one, too."""
    p = b.connected()
    p.publish('retain/q0', b'A', 1, retain=True)
    p.publish('retain/q0', b'B', 0, retain=True)
    p.ping()
    s = subscriber(b, 'retain/q0')
    s.expect_message('retain/q0', b'B', qos=0, retain=True)
    s.expect_nothing()


@test
def v5_u5_3_3_1_c(b):
    """An expired retained message is gone, and the topic has none."""
    p = b.connected()
    p.publish('retain/expiry', b'A', 1, retain=True)
    p.publish('retain/expiry', b'B', 1, retain=True, props={'message_expiry_interval': 1})
    pass_time(1.3)
    equal(retained_on(b, 'retain/expiry'), [])


# ---- 3.3.2 Topic, identifier, properties

@test(each=[('ff',), ('c080',), ('eda080',), ('f4908080',), ('e282',)])
def v5_mqtt_3_3_2_1(b, text):
    """The topic comes first, and is a UTF-8 string."""
    c = b.connected()
    c.send(wire.publish(V5, bytes.fromhex(text)))
    ended(c, 0x81)


@test
def v5_mqtt_3_3_2_1_length(b):
    """… that ends within the packet."""
    for data in (packet(0x30, u16(10) + b'topic'), packet(0x30, b'\0'), packet(0x30)):
        c = b.connected()
        c.send(data)
        ended(c, 0x81)


@test(each=[(topic, qos) for topic in ('wild/+', 'wild/#', '#', '+', 'wild/a#b', 'wild/+b')
            for qos in (0, 1, 2)])
def v5_mqtt_3_3_2_2(b, topic, qos):
    """Topic names have no wildcards; such a message goes to nobody."""
    s = subscriber(b, 'wild/#')
    c = b.connected()
    c.send(wire.publish(V5, topic, b'x', qos, 1 if qos else None))
    p = c.recv()
    if p is not None and p.type in (PUBACK, PUBREC):
        equal(p.reason, 0x90)
    else:
        equal(p is None or p.reason in (0x81, 0x82, 0x90), True, p)
    quiet(s, b.connected(), 'wild/end')


@test
def v5_mqtt_3_3_2_3(b):
    """What comes has a topic that matches the filter."""
    s = subscriber(b, 'match/+/x', 'match/y/#')
    p = b.connected()
    topics = ['match/a/x', 'match/a/y', 'match/y', 'match/y/x/z', 'match/a/b/x', 'match',
              'match/y/']
    for topic in topics:
        p.publish(topic, b'', 1)
    for topic in ('match/a/x', 'match/y', 'match/y/x/z', 'match/y/'):
        s.expect_message(topic)
    quiet(s, p, 'match/end/x')


def every_way(b, topic, props):
    """The properties of a message that has come live, retained, out of a queue, shared, as a
    will, and at each QoS."""
    live = subscriber(b, topic)
    shared = subscriber(b, f'$share/way/{topic}')
    away = subscriber(b, topic, client_id=f'way-{topic}', props=KEPT)
    away.drop()
    p = b.connected()
    for qos in (0, 1, 2):
        p.publish(topic, b'payload', qos, props=props, retain=qos == 2)
        for s in (live, shared):
            yield s.expect_message(topic, b'payload')
    away = resumed(b, f'way-{topic}')
    for _ in range(2):
        yield away.expect_message(topic, b'payload')
    yield subscriber(b, topic).expect_message(topic, b'payload', retain=True)
    b.connected(will=Will(topic, b'payload', 1, props=props)).drop()
    yield live.expect_message(topic, b'payload')


@test(each=[(0,), (1,), (None,)])
def v5_mqtt_3_3_2_4(b, value):
    """The Payload Format Indicator is passed on as it came."""
    props = {} if value is None else {'payload_format_indicator': value}
    for m in every_way(b, f'pass/format/{value}', props):
        equal(m.prop('payload_format_indicator'), value)


@test
def v5_mqtt_3_3_2_5(b):
    """A message whose expiry has passed before its delivery began is not delivered."""
    away = subscriber(b, 'expiry/gone', client_id='expiry-gone', props=KEPT)
    away.drop()
    busy = subscriber(b, 'expiry/gone', props={'receive_maximum': 1})
    p = b.connected()
    p.publish('expiry/gone', b'first', 1)
    held = busy.expect_message(payload=b'first', ack=False)
    p.publish('expiry/gone', b'short', 1, retain=True, props={'message_expiry_interval': 1})
    p.publish('expiry/gone', b'long', 1, props={'message_expiry_interval': 100})
    pass_time(1.3)
    away = resumed(b, 'expiry-gone')
    away.expect_message(payload=b'first')
    away.expect_message(payload=b'long')
    busy.acknowledge(held)
    busy.expect_message(payload=b'long')
    equal(retained_on(b, 'expiry/gone'), [])


@test
def v5_mqtt_3_3_2_6(b):
    """The expiry that is sent is less the time that the message has waited."""
    live = subscriber(b, 'expiry/rest')
    subscriber(b, 'expiry/rest', client_id='expiry-rest', props=KEPT).drop()
    b.connected().publish('expiry/rest', b'', 1, retain=True,
                          props={'message_expiry_interval': 100})
    equal(live.expect_message().prop('message_expiry_interval') in (99, 100), True)
    b.connected().publish('expiry/rest', b'x', 1, retain=True,
                          props={'message_expiry_interval': 100})
    pass_time(1.2)
    for c in (resumed(b, 'expiry-rest'), subscriber(b, 'expiry/rest')):
        rest = c.expect_message().prop('message_expiry_interval')
        equal(rest in (98, 99), True, rest)


@test
def v5_u5_3_3_2_c(b):
    """Without an expiry a message does not expire, and none is added."""
    for m in every_way(b, 'expiry/none', {}):
        equal(m.prop('message_expiry_interval'), None)


# ---- 3.3.2.3.4 Topic Alias

@test
def v5_mqtt_3_3_2_7(b):
    """Aliases do not outlive the connection, even where the session does."""
    c = b.connected('alias-life', props=KEPT)
    c.publish('alias/life', b'', 1, props={'topic_alias': 1})
    c.publish('', b'', 1, props={'topic_alias': 1})
    c.drop()
    c = resumed(b, 'alias-life')
    c.send(wire.publish(V5, '', b'', 1, 1, props={'topic_alias': 1}))
    ended(c, 0x82)


@test
def v5_mqtt_3_3_2_8(b):
    """Alias 0 is not allowed."""
    c = b.connected()
    c.send(wire.publish(V5, 'alias/0', b'', props={'topic_alias': 0}))
    ended(c, 0x94)


@test
def v5_mqtt_3_3_2_8_server(b):
    """… and not used by the server."""
    s = subscriber(b, 'alias/not-0', props={'topic_alias_maximum': 10})
    p = b.connected()
    for _ in range(5):
        p.publish('alias/not-0', b'', 1)
        equal(s.expect_message().prop('topic_alias') != 0, True)


@test(each=[(1,), (2,), (1000,)])
def v5_mqtt_3_3_2_9(b, over):
    """A client's alias over the server's maximum is 94."""
    c = b.client()
    maximum = c.connect('').prop('topic_alias_maximum', 0)
    c.send(wire.publish(V5, 'alias/over', b'', props={'topic_alias': maximum + over}))
    ended(c, 0x94)


@test
def v5_mqtt_3_3_2_11(b):
    """The server's aliases are within the client's maximum, whatever that is."""
    for maximum in (1, 3, 65535):
        s = subscriber(b, 'alias/within/#', props={'topic_alias_maximum': maximum})
        p = b.connected()
        for i in range(20):
            p.publish(f'alias/within/{i % 7}', b'', 1)
            equal(s.expect_message().prop('topic_alias', 1) <= maximum, True)
        s.close()


@test
def v5_mqtt_3_3_2_12(b):
    """Every alias up to the server's maximum works, and can be set anew."""
    c = b.client()
    maximum = c.connect('').prop('topic_alias_maximum', 0)
    equal(maximum > 0, True)
    s = subscriber(b, 'alias/all/#')
    for shift in (0, 1):
        for alias in range(1, maximum + 1):
            c.publish(f'alias/all/{alias + shift}', b'set', 1, props={'topic_alias': alias})
            s.expect_message(f'alias/all/{alias + shift}', b'set')
        for alias in range(1, maximum + 1):
            c.publish('', b'use', 1, props={'topic_alias': alias})
            s.expect_message(f'alias/all/{alias + shift}', b'use')


@test
def v5_u5_3_3_2_a(b):
    """No topic and no alias is a protocol error."""
    c = b.connected()
    c.send(wire.publish(V5, '', b''))
    ended(c, 0x82)


TWICE = {'payload_format_indicator': 1, 'message_expiry_interval': 5, 'content_type': 'c',
         'response_topic': 'r', 'correlation_data': b'd', 'topic_alias': 1}


@test(each=rows(TWICE))
def v5_u5_3_3_2_b(b, name):
    """Each property comes at most once, but the User Property."""
    c = b.connected()
    c.send(wire.publish(V5, 't', b'', props=[(name, TWICE[name])] * 2))
    ended(c, 0x82)


@test
def v5_u5_3_3_2_d(b):
    """A topic with a known alias sets it anew, and counts for that packet already."""
    s = subscriber(b, 'alias/anew/#')
    c = b.connected()
    for topic, want in (('alias/anew/a', 'alias/anew/a'), ('', 'alias/anew/a'),
                        ('alias/anew/b', 'alias/anew/b'), ('', 'alias/anew/b')):
        c.publish(topic, b'', 1, props={'topic_alias': 1})
        s.expect_message(want)


@test
def v5_u5_3_3_2_e(b):
    """Aliases of the two directions have nothing to do with each other."""
    c = subscriber(b, 'alias/down', props={'topic_alias_maximum': 1})
    s = subscriber(b, 'alias/up')
    p = b.connected()
    c.publish('alias/up', b'1', 1, props={'topic_alias': 1})
    for _ in range(3):
        p.publish('alias/down', b'', 1)
        m = c.expect_message()
        equal(m.topic == 'alias/down' or m.prop('topic_alias') == 1, True, m)
    c.publish('', b'2', 1, props={'topic_alias': 1})
    s.expect_message('alias/up', b'1')
    s.expect_message('alias/up', b'2')


@test(each=[(0,), (1,), (2,)])
def v5_u5_3_3_2_f(b, qos):
    """A payload that is not the UTF-8 that it promises: 99, or passed on unchanged."""
    s = subscriber(b, f'format/bad/{qos}')
    c = b.connected()
    c.send(wire.publish(V5, f'format/bad/{qos}', b'\xff\xfe', qos, 1 if qos else None,
                        props={'payload_format_indicator': 1}), wire.pingreq())
    p = c.recv()
    if p is None or p.reason == 0x99:
        quiet(s, b.connected(), f'format/bad/{qos}')
    else:
        equal((p.type, p.reason or 0), ((PINGRESP, PUBACK, PUBREC)[qos], 0), p)
        s.expect_message(payload=b'\xff\xfe', payload_format_indicator=1)


@test(each=[(2,), (255,)])
def v5_u5_3_3_2_f_value(b, value):
    """… and the indicator is 0 or 1."""
    c = b.connected()
    c.send(wire.publish(V5, 'format/value', b'', props={'payload_format_indicator': value}))
    ended(c, 0x82, 0x81)


@test
def v5_u5_3_3_2_g(b):
    """An alias is set by a message that is refused, too."""
    c = b.connected()
    c.publish('$SYS/alias', b'', 1, props={'topic_alias': 1}, expect=(0, 0x10, 0x87, 0x90))
    c.publish('', b'', 1, props={'topic_alias': 1}, expect=(0, 0x10, 0x87, 0x90))


# ---- 3.3.2.3.5 to 8

@test(each=[('ff',), ('c080',), ('00',)])
def v5_mqtt_3_3_2_13(b, text):
    """The Response Topic is a UTF-8 string, in PUBLISH and in the will."""
    bad = bytes.fromhex(text)
    c = b.connected()
    c.send(wire.publish(V5, 't', b'', props={'response_topic': bad}))
    ended(c, 0x81)
    refused(b, wire.connect(V5, 'rt', will=Will('t', props={'response_topic': bad})), 0x81)


@test(each=[('a/+',), ('#',), ('a/#',), ('a+b',)])
def v5_mqtt_3_3_2_14(b, topic):
    """… without wildcards."""
    s = subscriber(b, 'response/wild')
    c = b.connected()
    c.send(wire.publish(V5, 'response/wild', b'', props={'response_topic': topic}))
    ended(c, 0x82, 0x81, 0x90)
    quiet(s, b.connected(), 'response/wild')
    refused(b, wire.connect(V5, 'rt', will=Will('t', props={'response_topic': topic})),
            0x82, 0x81, 0x90)


@test
def v5_mqtt_3_3_2_15(b):
    """The Response Topic is passed on as it came."""
    for m in every_way(b, 'pass/response', {'response_topic': '/größe/ x'}):
        equal(m.prop('response_topic'), '/größe/ x')


@test(each=[(0,), (1,), (65535,)])
def v5_mqtt_3_3_2_16(b, size):
    """Correlation Data is passed on as it came."""
    data = bytes(i % 256 for i in range(size))
    for m in every_way(b, f'pass/correlation/{size}', {'correlation_data': data}):
        equal(m.prop('correlation_data') == data, True)


PAIRS = [('b', '1'), ('a', '2'), ('b', '1'), ('', 'v'), ('k', ''), ('', ''), ('ü', '日本')]


@test
def v5_mqtt_3_3_2_17(b):
    """All User Properties are passed on as they came."""
    for m in every_way(b, 'pass/pairs', [('user_property', p) for p in PAIRS]):
        equal(sorted(m.all('user_property')), sorted(PAIRS))


@test
def v5_mqtt_3_3_2_18(b):
    """… in their order."""
    mixed = [('content_type', 'c'), *(('user_property', p) for p in PAIRS[:3]),
             ('message_expiry_interval', 100), *(('user_property', p) for p in PAIRS[3:])]
    for m in every_way(b, 'pass/order', mixed):
        equal(m.all('user_property'), PAIRS)


@test(each=[('ff',), ('c080',), ('00',)])
def v5_mqtt_3_3_2_19(b, text):
    """The Content Type is a UTF-8 string, in PUBLISH and in the will."""
    bad = bytes.fromhex(text)
    c = b.connected()
    c.send(wire.publish(V5, 't', b'', props={'content_type': bad}))
    ended(c, 0x81)
    refused(b, wire.connect(V5, 'ct', will=Will('t', props={'content_type': bad})), 0x81)


@test
def v5_mqtt_3_3_2_20(b):
    """The Content Type is passed on as it came."""
    for m in every_way(b, 'pass/type', {'content_type': 'text/größe; x=1'}):
        equal(m.prop('content_type'), 'text/größe; x=1')


@test(each=[(0,), (1,), (2,)])
def v5_u5_3_3_3_a(b, qos):
    """A message may be empty."""
    s = subscriber(b, f'empty/{qos}')
    b.connected().publish(f'empty/{qos}', b'', qos)
    s.expect_message(f'empty/{qos}', b'', qos=qos)


# ---- 3.3.4 Actions

@test
def v5_mqtt_3_3_4_1(b):
    """PUBLISH is answered by nothing, PUBACK, or PUBREC, by its QoS."""
    c = b.connected()
    c.send(wire.publish(V5, 'answer', b''), wire.pingreq())
    c.expect(PINGRESP)
    c.send(wire.publish(V5, 'answer', b'', 1, 1))
    c.expect(PUBACK, packet_id=1)
    c.send(wire.publish(V5, 'answer', b'', 2, 2))
    c.expect(PUBREC, packet_id=2)
    c.expect_nothing()


@test(each=[(0,), (1,), (2,)])
def v5_mqtt_3_3_4_2(b, qos):
    """Where subscriptions overlap the highest QoS granted counts."""
    s = b.connected()
    s.subscribe(('overlap/q/#', 1), ('overlap/q/+', 2), ('overlap/q/x', 0))
    p = b.connected()
    p.publish('overlap/q/x', b'x', qos)
    got = collected(s, p)
    equal(max(m.qos for m in got), qos)


def overlap(b, root):
    """Copies of one message for three subscriptions with identifiers 1, 2, and none."""
    s = b.connected()
    s.subscribe((f'{root}/#', 1), props={'subscription_identifier': 1})
    s.subscribe((f'{root}/+', 2), props={'subscription_identifier': 2})
    s.subscribe((f'{root}/x', 0))
    p = b.connected()
    p.publish(f'{root}/x', b'x', 2)
    return collected(s, p)


@test
def v5_mqtt_3_3_4_3(b):
    """The identifiers of all subscriptions that match are sent."""
    got = overlap(b, 'overlap/ids')
    equal(sorted(i for m in got for i in m.all('subscription_identifier')), [1, 2])


@test
def v5_mqtt_3_3_4_4(b):
    """One copy: it has all of them."""
    got = overlap(b, 'overlap/one')
    if len(got) == 1:
        equal(sorted(got[0].all('subscription_identifier')), [1, 2])
    else:
        equal(all(len(m.all('subscription_identifier')) <= 1 for m in got), True)


@test
def v5_mqtt_3_3_4_5(b):
    """Several copies: each has its own."""
    got = overlap(b, 'overlap/each')
    if len(got) > 1:
        equal({m.qos: m.all('subscription_identifier') for m in got}, {0: [], 1: [1], 2: [2]})
    else:
        equal((got[0].qos, sorted(got[0].all('subscription_identifier'))), (2, [1, 2]))


@test
def v5_u5_3_3_4_c(b):
    """An identifier of several subscriptions that match comes once for each."""
    s = b.connected()
    s.subscribe('overlap/same/#', 'overlap/same/+', qos=1, props={'subscription_identifier': 5})
    p = b.connected()
    p.publish('overlap/same/x', b'x', 1)
    equal([i for m in collected(s, p) for i in m.all('subscription_identifier')], [5, 5])


@test
def v5_u5_3_3_4_d(b):
    """Shared: only the identifiers of the client that gets it."""
    members = {}
    for i in (1, 2):
        members[i] = b.connected()
        members[i].subscribe('$share/ids/shared/ids', qos=1, props={'subscription_identifier': i})
    p = b.connected()
    for _ in range(10):
        p.publish('shared/ids', b'', 1)
    seen = {i: [m.all('subscription_identifier') for m in collected(c, p)]
            for i, c in members.items()}
    equal(len(seen[1]) + len(seen[2]), 10)
    equal([ids for i in (1, 2) for ids in seen[i] if ids != [i]], [])


@test(each=[(0,), (1,), (2,)])
def v5_mqtt_3_3_4_6(b, qos):
    """A client's PUBLISH has no Subscription Identifier."""
    s = subscriber(b, 'client/id')
    c = b.connected()
    c.send(wire.publish(V5, 'client/id', b'x', qos, 1 if qos else None,
                        props={'subscription_identifier': 1}))
    ended(c, 0x82)
    quiet(s, b.connected(), 'client/id')


def beyond_receive_maximum(b, more):
    other = b.another({'limits.receive_maximum': 5})
    c = other.client()
    equal(c.connect('').prop('receive_maximum'), 5)
    for i in range(1, 6):
        c.send(wire.publish(V5, 'rm', b'', 2, i))
        c.expect(PUBREC, packet_id=i)
    if more:
        c.send(wire.publish(V5, 'rm', b'', more, 6))
        ended(c, 0x93)
    else:
        c.send(wire.ack(PUBREL, 1))
        c.expect(PUBCOMP, packet_id=1)
        c.send(wire.publish(V5, 'rm', b'', 2, 6))
        c.expect(PUBREC, packet_id=6, reason=0x10)


@test(each=[(0,), (2,)])
def v5_mqtt_3_3_4_7(b, more):
    """As many unacknowledged messages as the server's Receive Maximum are fine, not more."""
    beyond_receive_maximum(b, more)


@test
def v5_u5_3_3_4_b(b):
    """More than that is 93."""
    beyond_receive_maximum(b, 2)


@test(each=[(1,), (2,), (10,)])
def v5_mqtt_3_3_4_9(b, maximum):
    """No more unacknowledged messages than the client's Receive Maximum; each acknowledgement lets
    one more out; all come, in order."""
    s = subscriber(b, f'window/{maximum}', props={'receive_maximum': maximum})
    p = b.connected()
    for i in range(50):
        p.publish(f'window/{maximum}', b'%d' % i, 1 + i % 2)
    open_now, seen, i = collected(s, p), [], 0
    equal(len(open_now), maximum)
    while open_now:
        m = open_now.pop(0)
        seen.append(int(m.payload))
        i += 1
        if m.qos == 1:
            s.send(wire.ack(PUBACK, m.packet_id, 0x80 if i % 3 == 0 else None))
        elif i % 3 == 0:
            s.send(wire.ack(PUBREC, m.packet_id, 0x80))
        else:
            s.send(wire.ack(PUBREC, m.packet_id))
            s.wait_for(PUBREL, m.packet_id)
            equal(collected(s, p), [], 'PUBREC alone')
            s.send(wire.ack(PUBCOMP, m.packet_id))
        new = collected(s, p)
        equal(len(new), 1 if i + maximum <= 50 else 0, i)
        open_now += new
    equal(seen, list(range(50)))


@test
def v5_mqtt_3_3_4_10(b):
    """A used up quota holds back messages, and nothing else."""
    s = subscriber(b, 'quota', props={'receive_maximum': 1})
    publish_many(b.connected(), 'quota', [b'1', b'2'], 1)
    s.expect_message('quota', b'1', ack=False)
    s.ping()
    s.subscribe('quota/other')
    s.unsubscribe('quota/other')
    s.publish('quota/else', b'', 1)
    s.publish('quota/else', b'', 2)
    s.expect_nothing()


@test
def v5_u5_3_3_4_a(b):
    """Alias 0, or over the maximum, is 94; an unknown one without a topic 82."""
    for topic, alias, code in (('t', 0, 0x94), ('t', 65535, 0x94), ('', 0, 0x94), ('', 1, 0x82)):
        c = b.connected()
        c.send(wire.publish(V5, topic, b'', props={'topic_alias': alias}))
        ended(c, code, *(() if topic else (0x82,)))
