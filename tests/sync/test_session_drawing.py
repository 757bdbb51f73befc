from xml.etree import ElementTree as ET

from docs.make_session_drawing import FILE, drawing
from p2pshare.sync.session import TABLE


def test_the_drawing_in_the_docs_is_that_of_the_table() -> None:
    assert FILE.read_text(encoding="utf-8") == drawing(), "run `python docs/make_session_drawing.py`"


def test_the_drawing_names_every_state_and_every_frame_of_every_state() -> None:
    texts = [element.text for element in ET.fromstring(drawing()).iter() if element.tag.endswith("}text")]  # noqa: S314 - our own
    for state, row in TABLE.items():
        assert state in texts
        for kind in row:
            name = kind.__name__.removesuffix("Frame")
            assert texts.count(name) == sum(kind in other for other in TABLE.values())
