"""Makes the vectors in this folder. The committed files are the contract: run this only to add to them.

    python tests/vectors/make_vectors.py [FOLDER]

writes to FOLDER (`v1` beside this file by default). It comes out the same at every run; envelopes, whose sealing is
random inside the library, are taken from `v1` while they still say the same.
"""

import sys
from pathlib import Path

import made_channels
import made_letters
import made_objects
import made_people
import made_vaults
from writing import write

COMMITTED = Path(__file__).parent / "v1"


def main(folder: Path) -> int:
    """Write every vector to `folder`, and return how many there are."""
    kept = made_letters.Kept(COMMITTED)
    vectors = [
        *made_objects.vectors(),
        *made_vaults.vectors(),
        *made_people.vectors(),
        *made_letters.vectors(kept),
        *made_channels.vectors(),
    ]
    names = [vector.name for vector in vectors]
    assert len(set(names)) == len(names), "two vectors of one name"
    for vector in vectors:
        write(vector, folder)
    return len(vectors)


if __name__ == "__main__":
    print(main(Path(sys.argv[1]) if len(sys.argv) > 1 else COMMITTED), "vectors")
