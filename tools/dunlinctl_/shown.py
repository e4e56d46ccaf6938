# SPDX-License-Identifier: Apache-2.0
"""What is printed: tables and records for people, JSON for programs.

What clients have chosen (identifiers, topics, payloads) may have control characters in it, which a
terminal would obey: people get them as \\x1b, programs as JSON has them.
"""
import json
import sys


def clean(value):
    if value is None or value == '':
        return '-'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    return safe(str(value))


def safe(text):
    return ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def as_json(value):
    print(json.dumps(value))


class Table:
    """Rows as they come, page by page. A column is as wide as what it has had so far, so that a list of
    any length needs little memory; the last has no end."""

    def __init__(self, columns):
        self.columns, self.widths, self.begun = columns, [len(c) for c in columns], False

    def add(self, items):
        rows = [[clean(item[c]) for c in self.columns] for item in items]
        for row in rows:
            self.widths = [max(w, len(cell)) for w, cell in zip(self.widths, row)]
        if not self.begun and rows:
            rows.insert(0, [c.upper() for c in self.columns])
            self.begun = True
        for row in rows:
            print('  '.join([*(cell.ljust(w) for cell, w in zip(row[:-1], self.widths)), row[-1]]))


def listing(values, columns, pages):
    """All items: a table, or one JSON array."""
    if not values.json:
        table = Table(columns)
        for items in pages:
            table.add(items)
        return
    begun = False
    for items in pages:
        for item in items:
            sys.stdout.write((',\n ' if begun else '[') + json.dumps(item))
            begun = True
    print(']' if begun else '[]')


def record(values, item):
    """One thing: a line for each member."""
    if values.json:
        as_json(item)
        return
    width = max(map(len, item))
    for name, value in item.items():
        print(f'{name.ljust(width)}  {clean(value)}')


def done(values, text, **more):
    if values.json:
        as_json({'done': True, **more})
    else:
        print(safe(text))
