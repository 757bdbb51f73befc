"""Lists as SQL parameters: one JSON text for a whole list, so that no SQL is ever put together from pieces.

In a join, `json_each(?) j CROSS JOIN table ON ...` keeps SQLite from going through the table for every value.
In SQL: `IN (SELECT unhex(value) FROM json_each(?))` for blobs, `IN (SELECT value FROM json_each(?))` for texts.
"""

import json
from collections.abc import Iterable


def blobs(values: Iterable[bytes]) -> str:
    """Blobs as the JSON text that `unhex(value)` reads."""
    return json.dumps([value.hex() for value in values])


def texts(values: Iterable[str]) -> str:
    """Texts as a JSON text."""
    return json.dumps(list(values))
