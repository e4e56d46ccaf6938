# SPDX-License-Identifier: Apache-2.0
"""docs/logs.md: each event that the program logs, with its levels and its fields; and that lines which
an operator acts on name whom and why."""
import glob
import os
import re

from harness import equal, test, wait_until

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
DOCUMENT = os.path.join(ROOT, 'docs', 'logs.md')

NAME = re.compile(r'"([a-z0-9_]+)"')
FIELD = re.compile(r'\bLOG_(?:TEXT|BYTES|BOOL|ERRNO|NUMBER)\(\s*"([a-z0-9_]+)"')

# Helpers that hand an event's name on to log_event(): file, function, which argument; and who calls them.
HANDED_ON = {('broker/conn/wire.c', 'event'): [('broker/conn/wire.c', 'log_refused', 1),
                                              ('broker/transport/transport.c', 'refuse', 1)]}


# ---- The program

def calls(text, function):
    """The arguments of each call of it, as they are written; a definition has no literal among them."""
    for found in re.finditer(rf'\b{function}\(', text):
        arguments, depth, begin, quoted, at = [], 1, found.end(), False, found.end()
        while depth > 0:
            c = text[at]
            if c == '\\' and quoted:
                at += 1
            elif c == '"':
                quoted = not quoted
            elif not quoted:
                depth += {'(': 1, '{': 1, ')': -1, '}': -1}.get(c, 0)
                if depth == 0 or (c == ',' and depth == 1):
                    arguments.append(text[begin:at].strip())
                    begin = at + 1
            at += 1
        yield arguments


def sources():
    """{path: text without comments} of what can log; what log.c says of itself is the table's, too."""
    found = {}
    for path in glob.glob(os.path.join(ROOT, 'broker', '**', '*.[ch]'), recursive=True):
        with open(path, encoding='utf-8') as f:
            found[os.path.relpath(path, ROOT)] = re.sub(r'/\*.*?\*/', '', f.read(), flags=re.DOTALL)
    return found


def names_of(text, path, argument):
    """The names that an argument can stand for."""
    names = NAME.findall(argument)
    if names:
        return names
    for source, function, which in HANDED_ON[path, argument]:
        for arguments in calls(text[source], function):
            names += NAME.findall(arguments[which])
    return names


def logged():
    """{event: (levels, fields)} of the program."""
    text = sources()
    found = {}
    for path, source in text.items():
        places = [a for a in calls(source, 'log_event') if a[0].startswith('LOG_')]
        for level, event, *fields in places:
            for name in names_of(text, path, event):
                levels, all_fields = found.setdefault(name, (set(), set()))
                levels.add(level.removeprefix('LOG_').lower())
                all_fields.update(FIELD.findall(' '.join(fields)))
        # Two shapes of a call: a level that is written there, and the one that the log has of itself.
        equal(len(places), len(re.findall(r'\blog_event\((?!level\b)', source)), path)
    for arguments in calls(text['broker/log/log.c'], 'log_record_fill'):
        for name in NAME.findall(arguments[2]):
            fields = set(FIELD.findall(text['broker/log/log.c']))
            found[name] = ({arguments[1].removeprefix('LOG_').lower()}, fields)
    return found


# ---- The document

def described():
    with open(DOCUMENT, encoding='utf-8') as f:
        rows = re.findall(r'^\| `([a-z0-9_]+)` \| ([a-z, ]+) \| (.+?) \| (.*?) \| (.+?) \|$', f.read(), re.MULTILINE)
    names = [row[0] for row in rows]
    equal(sorted(names), sorted(set(names)), 'an event has one row')
    return {name: (set(levels.split(', ')), set(re.findall(r'`([a-z0-9_]+)`', fields)))
            for name, levels, _meaning, fields, _remedy in rows}


@test(only='dunlin')
def the_document_is_what_there_is(_b):
    program, document = logged(), described()
    equal(sorted(program.keys() - document.keys()), [], 'logged, and not in docs/logs.md')
    equal(sorted(document.keys() - program.keys()), [], 'in docs/logs.md, and not logged')
    for name, (levels, fields) in sorted(program.items()):
        equal(document[name], (levels, fields), name)


@test(only='dunlin')
def other_pages_name_events_that_there_are(_b):
    """Beside `msg=`, and in their own tables of lines."""
    names = logged()
    for path in sorted(glob.glob(os.path.join(ROOT, 'docs', '*.md'))):
        with open(path, encoding='utf-8') as f:
            text = f.read()
        told = set(re.findall(r'\bmsg=([a-z0-9_]+)', text))
        for table in re.findall(r'^\| line(?: of the log)? \| (?:what )?it means.+\n\|[-|]+\|\n((?:\|.+\n)+)', text, re.MULTILINE):
            told.update(re.findall(r'^\| `([a-z0-9_]+)`', table, re.MULTILINE))
        equal(sorted(told - names.keys()), [], os.path.relpath(path, ROOT))


# ---- Whom, where, and why

def lines_of(b, name, since, **fields):
    return wait_until(lambda: [e for e in b.events(name, since) if fields.items() <= e.items()],
                      what=f'a line {name} with {fields}')


def peer_of(client):
    return '{}:{}'.format(*client.sock.getsockname())


@test(only='dunlin')
def who_takes_over_from_whom(b):
    since = b.log_size()
    former = b.connected('two-of-it')
    later = b.connected('two-of-it')
    line, = lines_of(b, 'session_taken_over', since, client_id='two-of-it')
    equal((line['peer'], line['by']), (peer_of(former), peer_of(later)))


@test(only='dunlin')
def which_filter_was_one_too_many(b):
    other = b.another({'limits.subscriptions_per_session_max': 1})
    other.connected('meter-7').subscribe('a/#', 'b/#', expect=(0, 0x97))
    line = other.one_event('subscribe_refused')
    equal([line[key] for key in ('client_id', 'filter', 'reason')],
          ['meter-7', 'b/#', 'subscriptions_per_session_max'])


@test(only='dunlin')
def which_listener_is_full_and_where_nothing_was_said(b):
    """Up to a hundred more than it may have are let in, to be told so; the others are closed at once."""
    url = 'tcp://{}'
    other = b.another({'limits.connect_timeout_s': 1}, listeners={'few': {'url': url, 'connections_max': 1}})
    url = url.format('{}:{}'.format(*other.at['few']))
    silent = [other.dial('few') for _ in range(110)]
    for event, reason in ('connection_refused', 'connections_max'), ('connect_timed_out', None):
        line = lines_of(other, event, 0)[0]
        equal((line['listener'], line.get('reason')), (url, reason), event)
    equal(len(silent), 110)


@test(only='dunlin')
def what_to_do_when_there_are_no_descriptors(b):
    other = b.another(descriptors=100)
    silent = [other.dial() for _ in range(120)]
    line = lines_of(other, 'accept_failed', 0)[0]
    equal((line['listener'], 'LimitNOFILE=' in line['remedy']), ('tcp://{}:{}'.format(*other.address), True), line)
    equal(len(silent), 120)
