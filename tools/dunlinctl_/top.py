# SPDX-License-Identifier: Apache-2.0
"""`dunlinctl top`: figures and rates, on the whole terminal, anew each interval; or once.

Plain ANSI: the alternate screen, so that what stood there is back afterwards.
"""
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty

from .asking import Unreachable
from .figures import Sample, between
from .shown import as_json, safe
from .usage import Misuse

ENTER, LEAVE, HOME, TO_LINE_END, TO_END = '\x1b[?1049h\x1b[?25l', '\x1b[?25h\x1b[?1049l', '\x1b[H', '\x1b[K', '\x1b[J'
BOLD, PLAIN = '\x1b[1m', '\x1b[0m'
STEPS = ((1 << 30, 'Gi'), (1 << 20, 'Mi'), (1 << 10, 'Ki'))


def size(value):
    for step, name in STEPS:
        if value >= step:
            return f'{value / step:.1f} {name}B'
    return f'{value:.0f} B'


def amount(value):
    return f'{value:,.0f}' if value >= 100 or value == int(value) else f'{value:.1f}'


def lines(name, f):
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


def live(broker, interval):
    before = Sample(broker)
    saved = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    out = [f'*{broker.name()}', 'the first figures are there in a moment; q ends this']
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # and not without leaving the screen
    sys.stdout.write(ENTER)
    try:
        while True:
            columns, rows = shutil.get_terminal_size()
            sys.stdout.write(drawn(out, columns, rows))
            sys.stdout.flush()
            if wait_key(interval):
                return
            try:
                after = Sample(broker)
                if before is not None and after.at > before.at:
                    out = lines(broker.name(), between(before, after))
                before = after
            except Unreachable as e:  # it may be started anew; who watches that does not want to start this anew
                before, out = None, [f'*{broker.name()}', safe(str(e)), 'trying again; q ends this']
    except KeyboardInterrupt:
        pass
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


def top(b, v):
    interval = v.interval or (1 if v.once else 2)
    if v.once or v.json:
        before = Sample(b)
        time.sleep(interval)
        figures = between(before, Sample(b))
        if v.json:
            as_json(figures)
        else:
            print('\n'.join(line.removeprefix('*') for line in lines(b.name(), figures)))
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Misuse('top is for a terminal; --once is for scripts')
    live(b, interval)
