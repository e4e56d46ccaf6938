# SPDX-License-Identifier: Apache-2.0
"""What the table of commands says to people and shells: help, the manual page, completion for bash."""
import re
import textwrap

STATUS = ((0, 'done'), (1, 'refused, or there is no such thing; of ready and live: no; of a backup that was waited for: it failed'),
          (2, 'the command line means nothing, or a file that it names cannot be read'), (3, 'no connection, or what answers is no broker'))
ENVIRONMENT = (('DUNLINCTL_URL', 'the address, where no flag says it'), ('DUNLINCTL_KEY_FILE', 'the file of the key, likewise'))
EXAMPLES = ("dunlinctl clients list --address 10.0.0.0/8 --limit 20", "dunlinctl subscriptions list -t building/7/temperature",
            "dunlinctl bans add client sensor-17 --for 1h --because 'it floods'", "dunlinctl publish -t building/7/door -m open -q 1 -r",
            "dunlinctl --json sessions list --away | jq -r '.[].client_id'", "dunlinctl top")
NO_KEY = ('There is no flag for the key itself: every user of the machine can read command lines, and shells write them down. '
          'A key file belongs to one user, with mode 0600.')


def sentence(text):
    return text[0].upper() + text[1:] + '.'


def names_of(flag):
    return ', '.join(flag.names) + (' ' + flag.value if flag.value else '')


def what_of(flag):
    return flag.what + (f' ({", ".join(flag.choices)})' if flag.choices else '')


def rows(pairs, width):
    out = []
    for left, right in pairs:
        folded = textwrap.wrap(right, 78 - width) or ['']
        out.append(f'  {left.ljust(width - 2)}{folded[0]}' if len(left) < width - 2 else f'  {left}\n{" " * width}{folded[0]}')
        out += [' ' * width + line for line in folded[1:]]
    return '\n'.join(out) + '\n'


def overview(commands, common):
    return ('dunlinctl [FLAG]... COMMAND [FLAG]... [ARGUMENT]...\n\nWhat a Dunlin broker does, and what it is to do. '
            'dunlinctl COMMAND --help says what a command takes.\n\nCommands\n' +
            rows([(' '.join((*c.words, *(a.shown() for a in c.arguments))), c.what + (' (the verb may be left out)' if c.default else ''))
                  for c in commands], 28) +
            '\nFlags of all commands\n' + rows([(names_of(f), what_of(f)) for f in common], 28) +
            '\nStatus\n' + rows([(str(number), what) for number, what in STATUS], 8))


def help_of(command, common):
    text = f'dunlinctl {command.synopsis()}\n\n{sentence(command.what)}\n'
    for one in command.arguments:
        if one.choices:
            text += f'\n{one.name} is one of {", ".join(one.choices)}\n'
    if command.flags:
        text += '\n' + rows([(names_of(f), what_of(f)) for f in command.flags], 32)
    return text + '\nFlags of all commands\n' + rows([(names_of(f), what_of(f)) for f in common], 32)


# ---- the manual page

def roff(text):
    """Text of a line: nothing in it is an instruction."""
    text = text.replace('\\', '\\e').replace('-', '\\-')
    return '\\&' + text if text.startswith(('.', "'")) else text


def tagged(pairs):
    return ''.join(f'.TP\n.B {roff(left)}\n{roff(right)}\n' for left, right in pairs)


def manual(commands, common):
    out = ['.\\" SPDX-License-Identifier: Apache-2.0\n.\\" Made by `dunlinctl man`; a test compares.\n'
           '.TH DUNLINCTL 1 "" Dunlin "User Commands"\n'
           '.SH NAME\ndunlinctl \\- what a Dunlin broker does, and what it is to do\n'
           '.SH SYNOPSIS\n.B dunlinctl\n[FLAG]... COMMAND [FLAG]... [ARGUMENT]...\n'
           '.SH DESCRIPTION\n'
           'Asks the API on the admin port of a broker, and prints tables, or JSON. Flags may stand before, between and behind the words of '
           'a command;\n.B \\-\\-\nends them, for arguments that begin with a dash. Lists are printed whole, page by page, as they come. '
           'Control characters in what clients have chosen are printed as in \\ex1b.\n.SH COMMANDS\n']
    for command in commands:
        out.append(f'.SS {roff(" ".join(command.words))}\n.B dunlinctl\n{roff(command.synopsis())}\n.PP\n{roff(sentence(command.what))}\n')
        if command.default:
            out.append(f'The word {roff(command.words[1])} may be left out.\n')
        out += [f'{roff(one.name)} is one of {roff(", ".join(one.choices))}.\n' for one in command.arguments if one.choices]
        out.append(tagged([(names_of(f), what_of(f)) for f in command.flags]))
    out += ['.SH OPTIONS\n', tagged([(names_of(f), what_of(f)) for f in common]), '.PP\n', roff(NO_KEY), '\n.SH EXIT STATUS\n',
            tagged([(str(number), what) for number, what in STATUS]), '.SH ENVIRONMENT\n', tagged(ENVIRONMENT), '.SH EXAMPLES\n.nf\n',
            ''.join(roff(line) + '\n' for line in EXAMPLES), '.fi\n.SH SEE ALSO\n.BR mosquitto_pub (1),\ndocs/dunlinctl.md, docs/api.md\n']
    return ''.join(out)


# ---- bash

BASH = '''\
# SPDX-License-Identifier: Apache-2.0
# bash: source <(dunlinctl completion bash)
_dunlinctl()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} path='' words='' flags='' i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        @all@)
            # A colon makes words of its own, as in a URL.
            while [[ ${COMP_WORDS[++i + 1]-} == :* ]]; do ((i++)); done
            ;;
        -*) ;;
        *) path+=" ${COMP_WORDS[i]}" ;;
        esac
    done
    case $before in
    @files@)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
@of_flags@    @others@) return ;;
    esac
    case $path in
@of_paths@    esac
    case $path in
@flags@    esac
    [[ $word != -* ]] || words=$flags
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _dunlinctl dunlinctl
'''


def completion(commands, common):
    flags = {name: flag for c in commands for flag in (*c.flags, *common) for name in flag.names}
    firsts = list(dict.fromkeys(c.words[0] for c in commands))
    of_paths = [f"    '') words='{' '.join(firsts)}' ;;\n"]
    of_flags, last = [], []
    for first in firsts:
        verbs = [c.words[1] for c in commands if c.words[0] == first and len(c.words) > 1]
        if verbs:
            of_paths.append(f"    ' {first}') words='{' '.join(verbs)}' ;;\n")
    for c in commands:
        path = ' '.join(('', *c.words))
        if c.arguments and c.arguments[0].choices:
            of_paths.append(f"    '{path}') words='{' '.join(c.arguments[0].choices)}' ;;\n")
        own = [name for flag in (*c.flags, *common) for name in flag.names]
        paths = f"'{path}'*" + (f" | ' {c.words[0]}'" if c.default else '')
        last.append(f"    {paths}) flags='{' '.join(own)}' ;;\n")
    last.append(f"    *) flags='{' '.join(name for flag in common for name in flag.names)}' ;;\n")
    for name, flag in flags.items():
        if flag.choices:
            of_flags.append(f"    {name})\n        mapfile -t COMPREPLY < <(compgen -W '{' '.join(flag.choices)}' -- \"$word\")\n"
                            '        return\n        ;;\n')
    with_value = [name for name, flag in flags.items() if flag.value]
    files = [name for name in with_value if flags[name].value == 'FILE']
    others = [name for name in with_value if name not in files and not flags[name].choices]
    parts = {'all': ' | '.join(with_value), 'files': ' | '.join(files), 'of_flags': ''.join(of_flags),
             'others': ' | '.join(others), 'of_paths': ''.join(of_paths), 'flags': ''.join(last)}
    return re.sub('@(\\w+)@', lambda m: parts[m[1]], BASH)
