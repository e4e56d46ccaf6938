# SPDX-License-Identifier: Apache-2.0
"""`dunlinctl trace`: what certain clients do, a line for each event as it happens; or a capture for Wireshark."""
import json
import sys

from .asking import Unreachable
from .shown import done, safe
from .usage import Misuse

ABOUT = ('began', 'alive')   # nothing that has happened to a client
ARROWS = {'received': '->', 'sent': '<-'}
CAPTURE_BEGINS = b'\x0a\x0d\x0d\x0a'  # of pcapng, whichever its byte order


def wanted(v):
    if v.client_id is None and v.address is None and v.topic is None:
        raise Misuse('trace wants one of --client, --address and --topic')
    if v.payload and v.write:
        raise Misuse('a capture has no payloads: --payload or --write')
    return {'client_id': v.client_id, 'address': v.address, 'topic': v.topic, 'seconds': v.seconds,
            'payload': 'true' if v.payload else None, 'format': 'pcapng' if v.write else None}


def flags_of(e):
    return ''.join(f' {name}' for name in ('dup', 'retain', 'session_present', 'clean_start', 'has_will') if e.get(name))


def what(e):
    """Of a packet: what stands in it."""
    out = [e.get('packet', '?')]
    out += [f'{name} {e[name]}' for name in ('packet_id', 'qos', 'keep_alive_s') if name in e and not (name == 'qos' and 'topic' not in e)]
    text = ' '.join(out) + flags_of(e)
    if 'topic' in e:
        text += f' {e["topic"]}{"…" if "topic_bytes" in e else ""} ({e["payload_bytes"]} bytes)'
    if 'filters' in e:
        text += ' ' + ', '.join(f['filter'] + (f' (qos {f["qos"]})' if 'qos' in f else '') for f in e['filters'])
    if 'reason' in e:
        text += f': {e["reason"]}'
    if 'reason_codes' in e:
        text += ': ' + ' '.join(f'0x{code:02x}' for code in e['reason_codes'])
    shown = e.get('payload', e.get('payload_base64'))
    return text + (f' = {shown}' if shown is not None else '')


def line(e):
    """For people."""
    kind, at = e['event'], e['time'][11:26]
    if kind in ('not_kept', 'over'):
        return f'{at}  {kind}: {e["events"]} events, {e["not_kept"]} not kept'
    who = e.get('client_id') or e.get('address') or '-'
    if kind in ARROWS:
        return f'{at}  {who} {ARROWS[kind]} {what(e)}'
    text = f'{at}  {who} {kind}'
    if kind in ('opened', 'connected') and 'address' in e:
        text += f' from {e["address"]}'
    if 'reason' in e:
        text += f': {e["reason"]}'
    return text + (f' {e["topic"]}' if 'topic' in e else '')


def told(v, text):
    try:
        event = json.loads(text)
    except ValueError:
        event = None
    if not isinstance(event, dict) or 'event' not in event:
        raise Unreachable('what came is no event')
    if v.json:
        print(text.decode().rstrip('\n'), flush=True)
    elif event['event'] not in ABOUT:
        print(safe(line(event)), flush=True)
    return event['event'] == 'over'


def lines(b, v, query):
    over = False
    for text in b.stream('/trace', **query):
        over = told(v, text)
    if not over:
        raise Unreachable('the trace broke off: the broker has ended, or this read too slowly')


def written(b, v, query):
    total = 0
    try:
        to = sys.stdout.buffer if v.write == '-' else open(v.write, 'wb')
    except OSError as e:
        raise Misuse(f'{v.write}: {e.strerror}') from None
    with to:
        for data in b.stream('/trace', by_line=False, **query):
            if total == 0 and data[:4] != CAPTURE_BEGINS:
                raise Unreachable('what came is no capture')
            to.write(data)
            to.flush()
            total += len(data)
    if v.write != '-':
        done(v, f'{v.write}: {total} bytes', bytes=total)


def trace(b, v):
    query = wanted(v)
    if v.write == '-' and sys.stdout.isatty():
        raise Misuse('a capture is nothing for a terminal; name a file')
    (written if v.write else lines)(b, v, query)
