# SPDX-License-Identifier: Apache-2.0
"""A line chart with logarithmic axes, as SVG. Nothing else."""
import html
import math

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 66, 150, 34, 46
COLOURS = ('#4477aa', '#cc6677', '#228833', '#aa7733', '#7755aa', '#555555')
STEPS = (1, 2, 5)


class Axis:
    """Values, all above 0, on the pixels from begin to end."""

    def __init__(self, values, begin, end):
        self.low, self.high = min(values) / 1.15, max(values) * 1.15
        self.begin, self.end = begin, end

    def at(self, value):
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return self.begin + part * (self.end - self.begin)

    def ticks(self):
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps = STEPS if last - first <= 3 else STEPS[:1]
        for exponent in range(first, last + 1):
            for step in steps:
                value = step * 10.0 ** exponent
                if self.low <= value <= self.high:
                    yield value


def label(value):
    for size, unit in ((1e6, 'M'), (1e3, 'k')):
        if value >= size:
            return f'{value / size:g}{unit}'
    return f'{value:g}'


def text(x, y, what, anchor='middle', more=''):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{html.escape(what)}</text>'


def grid(x, y):
    parts = []
    for value in x.ticks():
        at = x.at(value)
        parts.append(f'<line x1="{at:.1f}" y1="{y.end}" x2="{at:.1f}" y2="{y.begin}" class="g"/>')
        parts.append(text(at, y.begin + 16, label(value)))
    for value in y.ticks():
        at = y.at(value)
        parts.append(f'<line x1="{x.begin}" y1="{at:.1f}" x2="{x.end}" y2="{at:.1f}" class="g"/>')
        parts.append(text(x.begin - 6, at + 4, label(value), 'end'))
    return parts


def chart(title, x_title, y_title, lines):
    """lines: {name: [(x, y), …]}; None when there is nothing to draw."""
    lines = {name: points for name, points in lines.items() if points}
    points = [p for line in lines.values() for p in line]
    if not points:
        return None
    x = Axis([p[0] for p in points], LEFT, WIDTH - RIGHT)
    y = Axis([p[1] for p in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        '<style>.g{stroke:#ddd}.l{fill:none;stroke-width:2}</style>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(LEFT, 20, title, 'start', ' font-weight="bold"'),
        text((x.begin + x.end) / 2, HEIGHT - 10, x_title),
        text(14, (y.begin + y.end) / 2, y_title, 'middle',
             f' transform="rotate(-90 14 {(y.begin + y.end) / 2:.1f})"'),
        *grid(x, y),
    ]
    for i, (name, line) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = ' '.join(f'{x.at(a):.1f},{y.at(b):.1f}' for a, b in line)
        parts.append(f'<polyline points="{path}" class="l" stroke="{colour}"/>')
        parts += [f'<circle cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" r="3" fill="{colour}"/>'
                  for a, b in line]
        parts.append(text(WIDTH - RIGHT + 12, TOP + 14 + 18 * i, name, 'start',
                          f' fill="{colour}"'))
    return '\n'.join([*parts, '</svg>', ''])
