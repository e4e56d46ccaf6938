# SPDX-License-Identifier: Apache-2.0
"""JSON Web Tokens as the data of enhanced authentication (MQTT 5.0, 4.12), and renewed by it, on raw
bytes."""
import os
import signal
import time

from harness import equal, test, wait_until
from raw import AUTH, CONNACK, PUBACK, V5, Will, wire
from token_house import Keys, folder, house, key, refused_for
from tokens import jwks

METHOD = 'JWT'
CONTINUE, AGAIN = 0x18, 0x19
PROTOCOL, UNAUTHORIZED, BAD_METHOD = 0x82, 0x87, 0x8C


def props(data=None, method=METHOD):
    said = {'authentication_method': method}
    return said if data is None else {**said, 'authentication_data': data.encode()}


def knock(b, data=None, client_id='', **connect):
    c = b.client(V5)
    c.send(wire.connect(V5, client_id, props=props(data), **connect))
    return c


def come_in(b, token, client_id='', **connect):
    c = knock(b, token, client_id, **connect)
    c.expect(CONNACK, reason=0, authentication_method=METHOD, authentication_data=None)
    return c


def refuse(c, code=UNAUTHORIZED):
    c.expect(CONNACK, reason=code, authentication_method=None)
    c.expect_end()


def answer(c, data=None, code=CONTINUE):
    c.send(wire.auth(code, props(data)))


def renewed(c, token):
    answer(c, token, AGAIN)
    c.expect(AUTH, reason=0, authentication_method=METHOD, authentication_data=None)


def rules(*allowed):
    return [*({'permission': 'allow', 'topic': topic} for topic in allowed),
            {'permission': 'deny', 'topic': '#'}]


# ---- Who gets in

@test(only='dunlin', each=[('at once',), ('when asked',), ('before it is asked',)])
def a_token_lets_its_user_in(b, how):
    """With CONNECT or in AUTH; what follows it at once is heard after CONNACK."""
    mine = key('RS256')
    other = house(b, Keys(mine))
    since = other.log_size()
    good = mine.token(sub='alice', client_id='pump-7', acl=rules('pumps/${username}/#'))
    c = knock(other, good if how == 'at once' else None, 'pump-7')
    if how == 'when asked':
        c.expect(AUTH, reason=CONTINUE, authentication_method=METHOD, authentication_data=None)
    if how != 'at once':
        answer(c, good)
    c.send(wire.publish(V5, 'pumps/bob/x', b'x', qos=1, packet_id=7))
    if how == 'before it is asked':
        c.expect(AUTH, reason=CONTINUE)
    c.expect(CONNACK, reason=0, authentication_method=METHOD, authentication_data=None)
    c.expect(PUBACK, packet_id=7, reason=UNAUTHORIZED)
    c.publish('pumps/alice/x', b'x', qos=1)
    equal(other.one_event('not_allowed', since)['user_name'], 'alice')
    equal(other.counters('logins_accepted')['logins_accepted'], 1)


@test(only='dunlin')
def what_is_no_good_token_does_not(b):
    """What the chain would let in, a password or another user's name, counts for nothing."""
    mine, other_key = key(), key()
    other = house(b, Keys(mine), auth__failures_per_minute=0, token__leeway_s=0)
    since = other.log_size()
    good = mine.token(sub='alice')
    for token, words, more in ((other_key.token(sub='alice'), 'signature', {}),
                               (mine.token(sub='alice', exp=int(time.time()) - 1), 'expired', {}),
                               (mine.token(sub='alice', client_id='a'), 'client identifier', {'client_id': 'b'}),
                               (good, 'names no user', {'username': 'bob', 'password': good}),
                               ('x' * 16385, 'is malformed', {}), ('wonderland', 'is malformed', {})):
        refuse(knock(other, token, **more))
        refused_for(other, words, since)
    c = knock(other, None, password=good)
    c.expect(AUTH, reason=CONTINUE)
    answer(c)
    refuse(c)
    equal(other.counters('logins_refused')['logins_refused'], 7)
    come_in(other, good, username='alice', password=b'wonderland').ping()


@test(only='dunlin')
def it_is_offered_only_where_tokens_are(b):
    mine = key()
    refuse(knock(b, mine.token(sub='alice')), BAD_METHOD)
    other = house(b, Keys(mine), auth__methods='certificate,password,token')
    come_in(other, mine.token(sub='alice'))


@test(only='dunlin')
def guessing_is_slowed_down_and_renewing_is_not(b):
    """Of the address; who is connected may renew its token nevertheless."""
    mine, forger = key(), key()
    other = house(b, Keys(mine), auth__failures_per_minute=3)
    c = come_in(other, mine.token(sub='alice'))
    for _ in range(3):
        refuse(knock(other, forger.token(sub='alice')))
    refuse(knock(other, mine.token(sub='alice')), 0x9F)
    renewed(c, mine.token(sub='alice'))


# ---- Renewal

@test(only='dunlin')
def renewed_connection_lasts_as_long_as_its_new_token(b):
    """Who has not renewed it goes; who has goes when the new one ends."""
    mine = key('HS256')
    other = house(b, Keys(mine), token__leeway_s=0)
    end = int(time.time()) + 2
    first = {name: come_in(other, mine.token(sub=name, exp=end)) for name in ('alice', 'bob', 'carol')}
    renewed(first['alice'], mine.token(sub='alice', exp=end + 60))
    renewed(first['bob'], mine.token(sub='bob', exp=end + 1))
    answer(first['bob'], None, AGAIN)
    first['bob'].expect(AUTH, reason=CONTINUE)
    answer(first['bob'], mine.token(sub='bob', exp=end + 1))
    first['bob'].expect(AUTH, reason=0)
    p = first['carol'].expect_disconnect(UNAUTHORIZED, timeout=20)
    equal('token has expired' in str(p), True, p)
    first['bob'].ping()
    first['bob'].expect_disconnect(UNAUTHORIZED, timeout=20)
    equal(time.time() >= end, True, 'too soon')
    first['alice'].ping()
    told = other.counters('logins_ended')
    equal((told['logins_renewed'], told['logins_ended'], told['logins_not_renewed']), (3, 2, 0))


@test(only='dunlin')
def rules_of_the_new_token_are_in_force_at_once(b):
    """For what it publishes, for its subscriptions as they are, for what waits to be sent to it; and
    they are gone if the new token has none."""
    mine = key('HS256')
    other = house(b, Keys(mine))
    free = other.connected(password=mine.token(sub='free'))
    c = other.client(V5)
    c.send(wire.connect(V5, 'pump', props={**props(mine.token(sub='pump', acl=rules('a/#', 'b/#'))),
                                           'receive_maximum': 1}))
    c.expect(CONNACK, reason=0)
    c.subscribe('a/#', 'b/#', qos=1)
    for topic in 'a/first', 'a/waits', 'b/waits':
        free.publish(topic, b'x', qos=1)
    p = c.expect_message('a/first', ack=False)
    renewed(c, mine.token(sub='pump', acl=rules('b/#')))
    c.acknowledge(p)
    c.expect_message('b/waits')
    equal(other.counters('drop_hidden')['drop_hidden'], 1)
    free.publish('a/new', b'x', qos=1)
    free.publish('b/new', b'x', qos=1)
    c.expect_message('b/new')
    for topic, code in ('a/mine', UNAUTHORIZED), ('b/mine', 0):
        c.send(wire.publish(V5, topic, b'x', qos=1, packet_id=7))
        if code == 0:
            c.expect_message(topic)
        equal(c.expect(PUBACK, packet_id=7).reason, code, topic)
    renewed(c, mine.token(sub='pump'))
    free.publish('a/again', b'x', qos=1)
    c.expect_message('a/again')


@test(only='dunlin')
def groups_of_the_new_token_are_in_force_at_once(b):
    mine, path = key('HS256'), os.path.join(folder(), f'token-auth-acl-{os.getpid()}')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('group ops\nallow group=ops publish ops\n')
    other = house(b, Keys(mine), acl__file=path)
    c = come_in(other, mine.token(sub='bob', groups=['ops']))
    for groups, code in ('ops', 0), (None, UNAUTHORIZED), (['web', 'ops'], 0), ([], UNAUTHORIZED):
        renewed(c, mine.token(sub='bob', groups=groups))
        c.send(wire.publish(V5, 'ops', b'x', qos=1, packet_id=7))
        equal(c.expect(PUBACK, packet_id=7).reason & 0x80, code & 0x80, groups)


@test(only='dunlin')
def only_a_good_token_of_the_same_user_renews(b):
    """Otherwise it is DISCONNECT 0x87, and the will is published."""
    mine, forger = key('HS256'), key('HS256')
    other = house(b, Keys(mine), auth__failures_per_minute=0)
    watcher = other.connected(password=mine.token(sub='watcher'))
    watcher.subscribe('auth/will')
    for token in (mine.token(sub='mallory'), forger.token(sub='alice'), mine.token(sub='alice', exp=1),
                  mine.token(sub='alice', client_id='other'), mine.token(sub='alice', acl='x'), 'x' * 16385):
        c = come_in(other, mine.token(sub='alice', client_id='mine'), 'mine', will=Will('auth/will', b'gone'))
        renewed(c, mine.token(sub='alice', client_id='mine'))
        answer(c, token, AGAIN)
        c.expect_disconnect(UNAUTHORIZED)
        watcher.expect_message('auth/will', b'gone')
    equal(other.counters('logins_not_renewed')['logins_not_renewed'], 6)


@test(only='dunlin')
def who_gave_its_token_as_a_password_cannot_renew_it(b):
    """CONNECT named no method [MQTT-4.12.0-7]."""
    mine = key('HS256')
    c = house(b, Keys(mine)).connected(password=mine.token(sub='alice'))
    answer(c, mine.token(sub='alice'), AGAIN)
    c.expect_disconnect(PROTOCOL)


@test(only='dunlin')
def who_has_renewed_by_the_next_key_stays_when_the_former_goes(b):
    one, two = key('HS256', 'one'), key('HS256', 'two')
    keys = Keys(one, two)
    other = house(b, keys)
    stays, goes = (come_in(other, one.token(sub=name)) for name in ('alice', 'bob'))
    renewed(stays, two.token(sub='alice'))
    keys.write(jwks(two))
    other.signal(signal.SIGHUP)
    goes.expect_disconnect(UNAUTHORIZED)
    stays.ping()
    answer(stays, one.token(sub='alice'), AGAIN)
    stays.expect_disconnect(UNAUTHORIZED)


@test(only='dunlin')
def no_token_of_an_exchange_is_in_the_log(b):
    mine = key('HS256')
    other = house(b, Keys(mine), log__level='debug')
    good, bad = mine.token(sub='alice'), mine.token(sub='alice', exp=1)
    c = come_in(other, good)
    renewed(c, good)
    since = other.log_size()
    answer(c, bad, AGAIN)
    c.expect_disconnect(UNAUTHORIZED)
    wait_until(lambda: other.events('authentication_refused', since), what='a line about it')
    equal([word for word in (*good.split('.'), *bad.split('.')) if word in other.log()], [])


@test(only='dunlin')
def many_renew_at_a_time(b):
    """All of them at once, while they publish; nobody's message is lost or late."""
    mine = key('HS256')
    other = house(b, Keys(mine))
    tokens = [mine.token(sub=f'user-{i}') for i in range(40)]
    crowd = [come_in(other, token) for token in tokens]
    for c, token in zip(crowd, tokens):
        c.send(wire.auth(AGAIN, props(token)) + wire.publish(V5, 't', b'x', qos=1, packet_id=9))
    for c in crowd:
        c.expect(AUTH, reason=0)
        c.expect(PUBACK, packet_id=9)
    equal(other.counters('logins_renewed')['logins_renewed'], len(crowd))
