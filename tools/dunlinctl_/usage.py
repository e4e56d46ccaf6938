# SPDX-License-Identifier: Apache-2.0
"""The form of a command line: commands, flags and arguments as rows of a table, and a line read by them.

Not argparse: a flag here may take as many words as its first ones say (-D), a value may begin with a
dash, and help, manual page and completion are made of the same rows.
"""
import types
from typing import Callable, NamedTuple


class Misuse(Exception):
    """Why the line means nothing."""


class Flag(NamedTuple):
    names: tuple                 # the last, without dashes, is the value's name
    value: str                   # what is shown for it; '' of one that takes none
    what: str
    kind: Callable = str         # makes the value of the words; ValueError says why not
    choices: tuple = ()
    many: bool = False           # it may come more than once
    size: Callable = lambda words: 1

    def key(self):
        return self.names[-1].lstrip('-').replace('-', '_')


class Argument(NamedTuple):
    name: str
    choices: tuple = ()
    optional: bool = False

    def key(self):
        return self.name.lower()

    def shown(self):
        return f'[{self.name}]' if self.optional else self.name


class Command(NamedTuple):
    words: tuple
    run: Callable
    what: str
    arguments: tuple = ()
    flags: tuple = ()
    default: bool = False        # of its group, where no verb is given

    def synopsis(self):
        parts = list(self.words)
        for flag in self.flags:
            parts.append(f'[{flag.names[0]}{" " + flag.value if flag.value else ""}]{"..." if flag.many else ""}')
        return ' '.join([*parts, *(one.shown() for one in self.arguments)])


class Line:
    """Reads a command line. `common` flags may stand anywhere."""

    def __init__(self, commands, common, words):
        self.commands, self.common, self.left = commands, common, list(words)
        self.command, self.arguments, self.given = None, [], {}

    def read(self):
        """(command or None, its values)"""
        only_arguments = False
        while self.left:
            word = self.left.pop(0)
            if word == '--' and not only_arguments:
                only_arguments = True
            elif word.startswith('-') and word != '-' and not only_arguments:
                self._flag(word)
            elif self.command is None:
                self._find_command(word)
            else:
                self.arguments.append(word)
        return self.command, self._values()

    def _flags(self):
        return (*self.common, *(self.command.flags if self.command else ()))

    def _find_command(self, first):
        group = [c for c in self.commands if c.words[0] == first]
        if not group:
            raise Misuse(f"there is no command '{first}'")
        for command in group:
            if command.words == (first,):
                self.command = command
                return
        verbs = ', '.join(c.words[1] for c in group)
        # Flags of all commands may stand between the two words.
        at = 0
        while at < len(self.left) and self.left[at].startswith('-') and (flag := self._known(self.left[at])):
            at += 1 + (flag.size(self.left[at + 1:]) if flag.value and '=' not in self.left[at] else 0)
        verb = self.left[at] if at < len(self.left) and not self.left[at].startswith('-') else None
        for command in group:
            if command.words[1] == verb or verb is None and command.default:
                self.command = command
        if self.command is None:
            raise Misuse(f"'{first}' has no '{verb}'; it has {verbs}" if verb else f"'{first}' wants one of {verbs}")
        if verb is not None:
            del self.left[at]

    def _known(self, word):
        name = word.partition('=')[0] if word.startswith('--') else word
        return next((flag for flag in self._flags() if name in flag.names), None)

    def _flag(self, word):
        flag = self._known(word)
        if flag is None:
            shown = word.partition('=')[0]
            raise Misuse(f"'{' '.join(self.command.words)}' has no {shown}" if self.command else
                         f'{shown} is no flag of all commands, and only those may stand before the command')
        name, equals, value = word.partition('=') if word.startswith('--') else (word, '', '')
        if not flag.value:
            if equals:
                raise Misuse(f'{name} takes no value')
            self.given[flag.key()] = True
            return
        words = [value] if equals else []
        count = flag.size([*words, *self.left])
        while len(words) < count:
            if not self.left:
                raise Misuse(f'{name} wants {flag.value}')
            words.append(self.left.pop(0))
        made = self._made(name, flag, words)
        if flag.many:
            self.given.setdefault(flag.key(), []).append(made)
        elif flag.key() in self.given:
            raise Misuse(f'{name} is there twice')
        else:
            self.given[flag.key()] = made

    @staticmethod
    def _made(name, flag, words):
        if flag.choices and words[0] not in flag.choices:
            raise Misuse(f"{name}: '{words[0]}' is none of {', '.join(flag.choices)}")
        try:
            return flag.kind(*words)
        except ValueError as e:
            raise Misuse(f'{name}: {e}') from None

    def _values(self):
        values = {flag.key(): [] if flag.many else None for flag in self._flags()}
        values.update(self.given)
        if self.command is not None and not values.get('help'):
            wanted = self.command.arguments
            for one in wanted[len(self.arguments):]:
                if not one.optional:
                    raise Misuse(f"'{' '.join(self.command.words)}' wants {one.name}")
            if len(self.arguments) > len(wanted):
                raise Misuse(f"'{self.arguments[len(wanted)]}' is one word too many")
            for one, word in zip(wanted, self.arguments):
                if one.choices and word not in one.choices:
                    raise Misuse(f"{one.name}: '{word}' is none of {', '.join(one.choices)}")
            for one, word in zip(wanted, [*self.arguments, *[None] * len(wanted)]):
                values[one.key()] = word
        return types.SimpleNamespace(**values)


# ---- kinds of values

UNITS_S = {'': 1, 's': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}


def count(text):
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"'{text}' is not a number")
    return int(text)


def at_least_one(text):
    if count(text) == 0:
        raise ValueError('0 is too few')
    return int(text)


def port(text):
    if not 0 < count(text) < 65536:
        raise ValueError(f'{text} is not a port')
    return int(text)


def period(text):
    """Seconds, of 90, 90s, 15m, 12h, 7d or 2w."""
    number, unit = (text[:-1], text[-1]) if text[-1:].isalpha() else (text, '')
    if unit not in UNITS_S or count(number) == 0:
        raise ValueError(f"'{text}' is not a time as in 90s, 15m, 12h or 7d")
    return int(number) * UNITS_S[unit]


def seconds(text):
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0.1 <= value <= 3600:
        raise ValueError(f"'{text}' is not a time from 0.1 to 3600 seconds")
    return value
