"""Draws docs/session.svg from the table in p2pshare/sync/session.py: `python docs/make_session_drawing.py`.

Rule 1: the drawing shows what the table says and nothing else; a test compares the two.
"""
# ruff: noqa: INP001 - a script beside the pages it draws for, not a package

from collections.abc import Iterator
from math import hypot, inf
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from p2pshare.sync.session import TABLE, State

Point = tuple[int, int]

FILE: Final = Path(__file__).with_name("session.svg")

# where each state stands, in units of the drawing
PLACES: Final = {
    State.SILENT: (80, 150),
    State.GREETED: (300, 150),
    State.OPEN: (560, 150),
    State.RESTED: (860, 150),
    State.CLOSED: (560, 340),
}
WIDTH: Final = 960
HEIGHT: Final = 400
STATE_WIDTH: Final = 110
STATE_HEIGHT: Final = 44
LINE: Final = 16  # from one line of text to the next
BEND: Final = 36  # how far an arrow leaves the straight line, so that there and back are two
HEAD: Final = 9  # how long the head of an arrow is
TITLE: Final = "What one side of a session may say, by the state it is in"

STYLE: Final = (
    "text{font:13px sans-serif;text-anchor:middle;fill:#222}"
    ".state{font-weight:bold}"
    "rect.state{fill:#eef4fb;stroke:#2b5d8a;stroke-width:1.5}"
    "path.arrow{fill:none;stroke:#555;stroke-width:1.2}"
    "path.head{fill:#555}"
    "text.said{fill:#7a3b00}"
)


def drawing() -> str:
    """The drawing, as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(TITLE)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        *(_arrow(start, end) for start, end, _ in _transitions()),
        *(_state(state) for state in State),
        *(_said(start, end, names) for start, end, names in _transitions()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _transitions() -> Iterator[tuple[State, State, list[str]]]:
    """From, to, and the names of the frames that lead there."""
    for start in State:
        for end in State:
            names = [kind.__name__.removesuffix("Frame") for kind, after in TABLE[start].items() if after is end]
            if names:
                yield start, end, names


def _state(state: State) -> str:
    x, y = PLACES[state]
    left, top = x - STATE_WIDTH // 2, y - STATE_HEIGHT // 2
    box = f'<rect class="state" x="{left}" y="{top}" width="{STATE_WIDTH}" height="{STATE_HEIGHT}" rx="12"/>'
    return f'{box}<text class="state" x="{x}" y="{y + 5}">{escape(state)}</text>'


def _arrow(start: State, end: State) -> str:
    if start is end:
        x, y = PLACES[start]
        top = y - STATE_HEIGHT // 2
        line = f"M{x - 24},{top} C{x - 40},{top - 44} {x + 40},{top - 44} {x + 24},{top}"
        return f'<path class="arrow" d="{line}"/>{_head((x + 36, top - 33), (x + 24, top))}'
    (from_x, from_y), (bend_x, bend_y), tip = _curve(start, end)
    line = f"M{from_x},{from_y} Q{bend_x},{bend_y} {tip[0]},{tip[1]}"
    return f'<path class="arrow" d="{line}"/>{_head((bend_x, bend_y), tip)}'


def _head(coming_from: Point, tip: Point) -> str:
    """The head of an arrow."""
    length = hypot(tip[0] - coming_from[0], tip[1] - coming_from[1])
    x, y = (tip[0] - coming_from[0]) / length, (tip[1] - coming_from[1]) / length
    back_x, back_y = tip[0] - HEAD * x, tip[1] - HEAD * y
    one = f"{back_x - HEAD / 2 * y:.1f},{back_y + HEAD / 2 * x:.1f}"
    other = f"{back_x + HEAD / 2 * y:.1f},{back_y - HEAD / 2 * x:.1f}"
    return f'<path class="head" d="M{tip[0]},{tip[1]} L{one} L{other} z"/>'


def _said(start: State, end: State, names: list[str]) -> str:
    """The frames of an arrow, in lines beside its middle: above it, below it on the way back, right of it downwards."""
    x, y = PLACES[start]
    block = LINE * (len(names) - 1)
    if start is end:
        y -= STATE_HEIGHT // 2 + 40 + block
    else:
        (from_x, from_y), (bend_x, bend_y), (to_x, to_y) = _curve(start, end)
        x, y = (from_x + 2 * bend_x + to_x) // 4, (from_y + 2 * bend_y + to_y) // 4
        if PLACES[start][1] != PLACES[end][1]:
            x, y = x + 24, y + 6
        elif to_x > from_x:
            y -= 6 + block
        else:
            y += LINE
    return "".join(
        f'<text class="said" x="{x}" y="{y + LINE * line}">{escape(name)}</text>' for line, name in enumerate(names)
    )


def _curve(start: State, end: State) -> tuple[Point, Point, Point]:
    """Where an arrow begins, the point that it bends towards, and where it ends."""
    bend = _bend(start, end)
    return _edge(start, bend), bend, _edge(end, bend)


def _bend(start: State, end: State) -> Point:
    """The point that the arrow bends towards: to the left of its way."""
    (x, y), (to_x, to_y) = PLACES[start], PLACES[end]
    bend = BEND / hypot(to_x - x, to_y - y)
    return round((x + to_x) / 2 + (to_y - y) * bend), round((y + to_y) / 2 - (to_x - x) * bend)


def _edge(state: State, towards: Point) -> Point:
    """Where the way from the middle of a state to a point leaves its box."""
    x, y = PLACES[state]
    over, down = towards[0] - x, towards[1] - y
    reach = min(STATE_WIDTH / 2 / abs(over) if over else inf, STATE_HEIGHT / 2 / abs(down) if down else inf)
    return round(x + over * reach), round(y + down * reach)


if __name__ == "__main__":
    FILE.write_text(drawing(), encoding="utf-8")
