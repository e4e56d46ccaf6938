# SPDX-License-Identifier: Apache-2.0
"""What each command does: requests, and what is printed. `b` is the broker that is asked, `v` the values
of the command line. Each answers with the status to exit with; None is 0."""
import fnmatch
import sys
import time

from . import message
from .asking import Refused, Unreachable, encoded
from .shown import Table, as_json, done, listing, record, safe
from .usage import Misuse

MEMBER = ('name', 'number', 'state', 'since_s', 'clients', 'admits_per_second', 'draining', 'retained', 'address', 'generation', 'node')
PARTITION = ('partition', 'incarnation', 'role', 'leader', 'replicas', 'applied', 'checkpointed', 'lag', 'sessions')
CLIENT = ('client_id', 'user', 'address', 'listener', 'protocol', 'connected_at', 'in_flight', 'queued_messages')
SESSION = ('client_id', 'connected', 'expires_at', 'subscriptions', 'queued_messages', 'queued_bytes', 'in_flight', 'kept')
SUBSCRIPTION = ('client_id', 'connected', 'qos', 'no_local', 'retain_as_published', 'identifier', 'filter')
STEP = ('effect', 'about', 'code', 'says')
RETAINED = ('payload_bytes', 'qos', 'expires_at', 'topic')
BAN = ('kind', 'value', 'until', 'because')
POLL_S = 0.2
JOIN_S = 10
CAPTURE_BEGINS = b'\x0a\x0d\x0d\x0a'  # of pcapng, whichever its byte order


def node(b, v):
    item = b.ask('GET', '/node')
    if v.json:
        as_json(item)
        return
    listeners = item.pop('listeners')
    record(v, item)
    print()
    table = Table(('listener', 'connections', 'url'))
    table.add(listeners)


def retained_of(member, members):
    """Whether it has the same retained messages as the node that is asked."""
    digest = member['retained_digest']
    if digest is None or member['state'] not in ('alive', 'suspect'):
        return None
    return 'same' if digest == members[0]['retained_digest'] else 'others'


def replication_of(r):
    """One line of who has the copies of sessions."""
    if r['number'] is None:
        return f"{r['replicas']} replicas of each kept session; this node waits to be of a cluster"
    who = 'nobody' if r['leader'] is None else f"{safe(r['leader_name'] or '?')} ({r['leader']})"
    return f"{r['replicas']} replicas of each kept session; {len(r['members'])} members, this one is {r['number']}; {who} decides who has what"


def cluster_status(b, v):
    item = b.ask('GET', '/cluster')
    if v.json:
        as_json(item)
        return
    members = item['members']
    alive = sum(m['state'] == 'alive' for m in members)
    print(f'{alive} of {len(members)} alive' + (', and this one looks for others' if item['joining'] else ''))
    replication = item['replication']
    numbers = {} if replication is None else {m['node']: m['number'] for m in replication['members']}
    if replication is not None:
        print(replication_of(replication))
    print()
    table = Table(MEMBER if replication is not None else tuple(name for name in MEMBER if name != 'number'))
    table.add([{**m, 'name': m['name'] + (' *' if m['self'] else ''), 'number': numbers.get(m['node']), 'retained': retained_of(m, members)}
               for m in members])


def replicas_of(p):
    """1,2,3; and where they move to."""
    now, to = (','.join(str(n) for n in p[key]) for key in ('replicas', 'to'))
    return f'{now} > {to}' if to else now


def partitions(b, v):
    items = b.ask('GET', '/cluster/partitions')['items']
    if v.json:
        as_json(items)
        return
    here = {role: sum(p['role'] == role for p in items) for role in ('leads', 'follows', 'revives', 'failed')}
    print(f'{len(items)} partitions; this node ' + ', '.join(f'{role} {count}' for role, count in here.items() if count > 0 or role == 'leads'))
    print()
    table = Table(PARTITION)
    table.add([{**p, 'leader': None if p['leader'] is None else safe(p['leader_name'] or str(p['leader'])),
                'replicas': replicas_of(p)} for p in items])


def cluster_join(b, v):
    """Found or not: within so long as DNS and a first exchange take."""
    b.ask('POST', '/cluster/join', {'seeds': v.seeds})
    end = time.monotonic() + JOIN_S
    while time.monotonic() < end:
        alive = sum(m['state'] == 'alive' for m in b.ask('GET', '/cluster')['members'])
        if alive > 1:
            done(v, f'joined: {alive} nodes are alive', alive=alive)
            return 0
        time.sleep(POLL_S)
    done(v, 'nobody of this cluster has been found there yet: cluster.name and the key have to be the same', alive=1)
    return 1


def cluster_forget(b, v):
    b.ask('DELETE', '/cluster/members/' + encoded(v.node))
    done(v, f'{v.node} is forgotten')


# ---- clients, sessions, subscriptions

def of_clients(v):
    return {'client_id': v.client_id, 'user': v.user, 'address': v.address, 'listener': v.listener}


def clients_list(b, v):
    listing(v, CLIENT, b.pages('/clients', v.limit, **of_clients(v)))


def clients_show(b, v):
    record(v, b.ask('GET', '/clients/' + encoded(v.id)))


def clients_kick(b, v):
    b.ask('DELETE', '/clients/' + encoded(v.id), reason=v.reason)
    done(v, f'{v.id} is disconnected')


def sessions_list(b, v):
    if v.connected and v.away:
        raise Misuse('--connected and --away leave nobody')
    state = 'true' if v.connected else 'false' if v.away else None
    listing(v, SESSION, b.pages('/sessions', v.limit, connected=state, **of_clients(v)))


def sessions_show(b, v):
    record(v, b.ask('GET', '/sessions/' + encoded(v.id)))


def sessions_delete(b, v):
    b.ask('DELETE', '/sessions/' + encoded(v.id))
    done(v, f'the session of {v.id} has ended')


def subscriptions_list(b, v):
    of = {'client_id': v.client_id, 'filter': v.filter, 'topic': v.topic}
    if sum(value is not None for value in of.values()) != 1:
        raise Misuse('subscriptions wants one of -i, --filter and -t')
    listing(v, SUBSCRIPTION, b.pages('/subscriptions', v.limit, **of))


# ---- messages

def explain(b, v):
    if v.topic is None or (v.client_id is None and v.publisher is None):
        raise Misuse('explain wants -t, and one or both of -i and --publisher')
    query = {'client_id': v.client_id, 'publisher': v.publisher, 'topic': v.topic, 'qos': v.qos, 'size': v.size,
             'address': v.address, 'retain': 'true' if v.retain else None}
    told = b.ask('GET', '/explain', **query)
    if v.json:
        as_json(told)
    else:
        print(f'{told["verdict"]}: {told["reason"]}\n')
        Table(STEP).add(told['steps'])
    return 1 if told['verdict'] == 'no' else 0


def retained_list(b, v):
    listing(v, RETAINED, b.pages('/retained', v.limit, filter=v.filter))


def retained_get(b, v):
    item = b.ask('GET', '/retained/' + encoded(v.topic))
    if v.payload:
        sys.stdout.flush()
        sys.stdout.buffer.write(message.payload_of(item))
        return
    if v.json:
        as_json(item)
        return
    data = message.payload_of(item)
    properties = item['properties']
    pairs = [f'{name}={value}' for name, value in properties.pop('user_properties', [])]
    shown = {name: item[name] for name in ('topic', 'qos', 'expires_at')}
    shown.update(properties)
    if pairs:
        shown['user_properties'] = ', '.join(pairs)
    shown['payload_bytes'] = len(data)
    shown['payload'] = item.get('payload', data.hex(' '))
    record(v, shown)


def retained_delete(b, v):
    b.ask('DELETE', '/retained/' + encoded(v.topic))
    done(v, f'nothing is retained for {v.topic}')


def publish(b, v):
    for body in message.bodies(v):
        matched = b.ask('POST', '/publish', body)['matched']
        done(v, f'published; filters that match: {matched}', matched=matched)


# ---- who may not connect

def bans_list(b, v):
    listing(v, BAN, b.pages('/bans', v.limit))


def bans_add(b, v):
    for_s = getattr(v, 'for')
    if v.until and for_s:
        raise Misuse('--for and --until both say when it ends')
    terms = {'until': v.until, 'for_s': for_s, 'because': v.because}
    b.ask('PUT', f'/bans/{v.kind}/{encoded(v.value)}', {name: value for name, value in terms.items() if value is not None})
    done(v, f'{v.kind} {v.value} is banned')


def bans_remove(b, v):
    b.ask('DELETE', f'/bans/{v.kind}/{encoded(v.value)}')
    done(v, f'{v.kind} {v.value} is not banned any more')


# ---- the process

def config(b, v):
    pattern = v.pattern or '*'
    items = [item for item in b.ask('GET', '/config')['items']
             if fnmatch.fnmatchcase(item['path'], pattern) or item['path'].startswith(pattern + '.')]
    if not items:
        raise Refused(f"no setting is as '{pattern}'")
    shown = [item for item in items if not v.changed or item['source'] != 'default']
    listing(v, ('path', 'source', 'origin', 'reloadable', 'value'), [shown])


def level(v, item):
    if v.json:
        as_json(item)
    else:
        print(item['level'])


def level_get(b, v):
    level(v, b.ask('GET', '/log/level'))


def level_set(b, v):
    level(v, b.ask('PUT', '/log/level', {'level': v.level}))


def backup_status(b, v):
    record(v, b.ask('GET', '/backup'))


def backup_start(b, v):
    item = b.ask('POST', '/backup', {'name': v.name})
    while v.wait and item['state'] == 'running':
        time.sleep(POLL_S)
        item = b.ask('GET', '/backup')
    record(v, item)
    return 1 if item['state'] == 'failed' else 0


def drain_status(b, v):
    record(v, b.ask('GET', '/drain'))


def drain_start(b, v):
    leave(b, v, '/drain')


def drain_stop(b, v):
    record(v, b.ask('DELETE', '/drain'))


def cluster_drain(b, v):
    if not v.stop:
        drain_start(b, v)
    elif v.rate or v.wait:
        raise Misuse('--stop goes with no other')
    else:
        drain_stop(b, v)


def cluster_leave(b, v):
    leave(b, v, '/cluster/leave')


def leave(b, v, path):
    item = b.ask('POST', path, {'clients_per_second': v.rate} if v.rate else {})
    if not v.wait:
        record(v, item)
        return
    while True:
        time.sleep(POLL_S)
        try:
            b.plain('/livez')
        except Unreachable:  # nobody listens there any more
            done(v, 'the broker has ended')
            return


def probe(b, v, path, name):
    status, text = b.plain(path)
    text = text.strip()
    if status not in (200, 503):
        raise Unreachable(f'what answers at {b.name()} has no {path} (status {status})')
    if v.json:
        as_json({name: status == 200, 'detail': text})
    else:
        print(safe(text))
    return 0 if status == 200 else 1


def kept(name, data, mode):
    try:
        with open(name, mode) as f:
            f.write(data)
    except OSError as e:
        raise Misuse(f'{name}: {e.strerror}') from None


def recorder(b, v):
    if v.file == '-' and sys.stdout.isatty():
        raise Misuse('a capture is nothing for a terminal; name a file')
    if v.file != '-':
        kept(v.file, b'', 'ab')  # can it be written? What is asked for is not told again
    data = b.data('POST', '/recorder')
    if data[:4] != CAPTURE_BEGINS:
        raise Unreachable(f'what came from {b.name()} is no capture')
    if v.file == '-':
        sys.stdout.buffer.write(data)
        return
    kept(v.file, data, 'wb')
    done(v, f'{v.file}: {len(data)} bytes', bytes=len(data))


def ready(b, v):
    return probe(b, v, '/readyz', 'ready')


def live(b, v):
    return probe(b, v, '/livez', 'live')
