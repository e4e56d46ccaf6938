# SPDX-License-Identifier: Apache-2.0
"""`dunlinctl top`: figures and rates, busiest clients and topics, slowest subscribers, on the whole terminal, anew each
interval; or once.

Plain ANSI: the alternate screen, so that what stood there is back afterwards. A terminal that has nothing of that
(TERM=dumb) gets the figures one below the other.
"""
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty

from .asking import Refused, Unreachable
from .figures import Sample, between
from .shown import as_json, safe
from .usage import Misuse

ENTER, LEAVE, HOME, TO_LINE_END, TO_END = '\x1b[?1049h\x1b[?25l', '\x1b[?25h\x1b[?1049l', '\x1b[H', '\x1b[K', '\x1b[J'
BOLD, PLAIN = '\x1b[1m', '\x1b[0m'
STEPS = ((1 << 30, 'Gi'), (1 << 20, 'Mi'), (1 << 10, 'Ki'))


LISTED = {'clients': 'bytes', 'topics': 'messages', 'subscribers': 'queued'}  # and by what
ROWS = 5                    # of each, on a terminal
ROWS_JSON = 100


def busy(broker, limit):
    """{list: its items}, and why there are none where nobody may ask."""
    if not broker.key:
        return {}, 'there is no key: --key-file or DUNLINCTL_KEY_FILE names its file'
    try:
        return {name: broker.ask('GET', f'/top/{name}', by=by, limit=limit)['items'] for name, by in LISTED.items()}, None
    except Refused as e:
        return {}, str(e)


def size(value):
    for step, name in STEPS:
        if value >= step:
            return f'{value / step:.1f} {name}B'
    return f'{value:.0f} B'


def amount(value):
    return f'{value:,.0f}' if value >= 100 or value == int(value) else f'{value:.1f}'


def cell(text, width):
    """Of what clients have chosen, as much as fits, in that width."""
    text = safe(text)
    return (text if len(text) <= width else text[:width - 1] + '…').ljust(width)


def age(seconds):
    return '-' if seconds is None else f'{seconds:,.0f} s'


def busy_lines(lists, why):
    if why is not None:
        return [f'busiest clients and topics are not known: {safe(why)}']
    out = ['*BUSIEST CLIENTS               MESSAGES IN/S      OUT/S     BYTES IN/S      OUT/S']
    out += [f'{cell(one["client_id"], 28)} {amount(one["messages_in_per_s"]):>14} {amount(one["messages_out_per_s"]):>10} '
            f'{size(one["bytes_in_per_s"]):>14} {size(one["bytes_out_per_s"]):>10}' for one in lists['clients']]
    out += ['', '*SLOWEST SUBSCRIBERS                 QUEUED  IN FLIGHT         OLDEST     UNSENT']
    out += [f'{cell(one["client_id"], 28)} {amount(one["queued_messages"]):>14} '
            f'{amount(one["in_flight"]) if one["connected"] else "away":>10} {age(one["oldest_s"]):>14} {size(one["unsent_bytes"]):>10}'
            for one in lists['subscribers']]
    out += ['', '*BUSIEST TOPICS               MESSAGES/S        BYTES/S']
    out += [f'{cell(one["topic"], 28)} {amount(one["messages_per_s"]):>11} {size(one["payload_bytes_per_s"]):>14}' for one in lists['topics']]
    return out


def lines(name, f, lists, why):
    """The screen, line by line; a heading begins with *."""
    now, per_s, queues = f['now'], f['per_s'], f['queues']
    p99 = '-' if f['delivery_p99_s'] is None else f'under {f["delivery_p99_s"] * 1000:.3g} ms'
    out = [f'*{name}  {time.strftime("%H:%M:%S")}  over {f["seconds"]:.1f} s{"  DRAINING" if now["draining"] else ""}', '',
           f'clients {amount(now["clients"])}  connections {amount(now["connections"])}  sessions {amount(now["sessions"])}  '
           f'filters {amount(now["filters"])}  retained {amount(now["retained"])}', '',
           '*PER SECOND            IN         OUT',
           f'messages     {amount(per_s["publish_received"]):>11} {amount(per_s["publish_sent"]):>11}   p99 of delivery: {p99}',
           f'bytes        {size(per_s["bytes_received"]):>11} {size(per_s["bytes_sent"]):>11}',
           f'connections  {amount(per_s["connections_accepted"]):>11}               refused {amount(per_s["connects_refused"])}', '',
           '*QUEUES',
           f'messages     in memory {amount(queues["messages"])}, {size(queues["message_memory_bytes"])} of '
           f'{size(queues["message_memory_max_bytes"])}',
           f'deliveries   queued {amount(per_s["deliveries_queued"])}/s, acknowledged {amount(per_s["deliveries_acknowledged"])}/s, '
           f'on disk only {amount(queues["deliveries_on_disk"])}',
           f'the disk     answers that wait for it {amount(queues["answers_owed"])}, the oldest entry {queues["unkept_seconds"]:.3g} s',
           f'held off     publishers {amount(per_s["publish_stalled"])}/s, clients that do not read {amount(per_s["output_stalled"])}/s', '']
    out += [*busy_lines(lists, why), '']
    out.append('*LISTENERS   CONNECTIONS      NEW/S        IN/S       OUT/S')
    out += [f'{one["listener"]:<12} {amount(one["connections"]):>11} {amount(one["accepted_per_s"]):>10} '
            f'{size(one["received_per_s"]):>11} {size(one["sent_per_s"]):>11}  {safe(one["url"])}' for one in f['listeners']]
    out += ['', '*DROPPED                             /S       TOTAL']
    out += [f'{one["reason"]:<26} {amount(one["per_s"]):>12} {amount(one["total"]):>11}' for one in f['drops']] or ['nothing']
    return out


def drawn(out, columns, rows):
    """What is written to the terminal: cut to its size, the former picture gone."""
    shown = []
    for line in out[:rows]:
        text = line.removeprefix('*')[:columns]
        shown.append((BOLD + text + PLAIN if line.startswith('*') else text) + TO_LINE_END)
    return HOME + '\n'.join(shown) + TO_END


def wait_key(seconds):
    """Is it q, or the end of the input? Other keys show the figures at once."""
    if not select.select([sys.stdin], [], [], seconds)[0]:
        return False
    return os.read(sys.stdin.fileno(), 16)[:1] in (b'q', b'Q', b'\x03', b'')


class Watched:
    """A broker's figures, from one time to the next."""

    def __init__(self, broker):
        self.broker, self.before = broker, Sample(broker)

    def lines(self):
        """What is to be shown now; None: there is nothing to compare with yet."""
        try:
            lists, why = busy(self.broker, ROWS)
            after = Sample(self.broker)
        except Unreachable as e:  # it may be started anew; who watches that does not want to start this anew
            self.before = None
            return [f'*{self.broker.name()}', safe(str(e)), 'trying again; q ends this']
        before, self.before = self.before, after
        if before is None or after.at <= before.at:
            return None
        return lines(self.broker.name(), between(before, after), lists, why)


def show(out):
    columns, rows = shutil.get_terminal_size()
    sys.stdout.write(drawn(out, columns, rows))
    sys.stdout.flush()


def scroll(out):
    print('\n'.join(line.removeprefix('*') for line in out) + '\n', flush=True)


def live(broker, interval):
    watched = Watched(broker)
    is_dumb = os.environ.get('TERM', 'dumb') in ('dumb', '')
    draw, enter, leave = (scroll, '', '') if is_dumb else (show, ENTER, LEAVE)
    saved = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # and not without leaving the screen
    sys.stdout.write(enter)
    try:
        draw([f'*{broker.name()}', 'the first figures are there in a moment; q ends this'])
        while not wait_key(interval):
            out = watched.lines()
            if out is not None:
                draw(out)
    except KeyboardInterrupt:
        pass
    finally:
        sys.stdout.write(leave)
        sys.stdout.flush()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


def top(b, v):
    interval = v.interval or 1
    if v.once or v.json:
        before = Sample(b)
        time.sleep(interval)
        lists, why = busy(b, ROWS_JSON if v.json else ROWS)
        figures = between(before, Sample(b))
        if v.json:
            as_json({**figures, **{name: lists.get(name) for name in LISTED}})
        else:
            scroll(lines(b.name(), figures, lists, why))
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Misuse('top is for a terminal; --once is for scripts')
    live(b, interval)
