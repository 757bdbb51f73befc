"""Every limit on foreign bytes in one place: each is checked before memory is taken.

Sizes are in bytes, times in seconds. docs/protocol.md and docs/format.md quote these numbers; a test compares them.
"""

from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

# objects and packs
CHUNK_SIZE: Final = MIB  # plaintext bytes of every chunk but the last
CHUNK_PAD: Final = 512  # a chunk's payload is padded to a multiple of this
STORED_CHUNK_MAX: Final = CHUNK_SIZE + CHUNK_PAD + 1 + 16  # codec byte, padded payload, tag
OBJECT_MAX: Final = 1 << 40
PACK_CLOSES_AT: Final = 8 * MIB
ARRIVALS_PACK_CLOSES_AT: Final = 4 * MIB  # smaller: what a crash loses must be sent again
PACK_MAX: Final = 16 * MIB
PACK_INDEX_MAX: Final = 8 * MIB

# sealed things
LETTER_MAX: Final = 64 * KIB
RECEIPT_MAX: Final = 64 * KIB
ENVELOPE_MAX: Final = 96 * KIB
ENVELOPE_PAD_MIN: Final = 4 * KIB
CARD_MAX: Final = 64 * KIB
CARD_DEVICES_MAX: Final = 8
CARD_ADDRESSES_MAX: Final = 8
NAME_MAX: Final = 200  # characters of a person's name
QUESTION_MAX: Final = 16 * KIB
REASON_MAX: Final = 2 * KIB
SHARE_SCANS_MAX: Final = 50
OPEN_OFFERS_MAX: Final = 100  # offers of one person that wait for an answer
FEED_EPOCHS_MAX: Final = 50  # lives of one device's feed

# layouts and keyrings
LAYOUT_MAX: Final = 64 * MIB
LAYOUT_OBJECTS_MAX: Final = 500_000
LAYOUT_CHUNKS_MAX: Final = 1_500_000

# the wire
HANDSHAKE_SECONDS: Final = 10.0
HANDSHAKE_FRAME_MAX: Final = 4 * KIB
HANDSHAKE_SOCKETS: Final = 64
HANDSHAKE_SOCKETS_PER_ADDRESS: Final = 4
FRAME_MAX: Final = STORED_CHUNK_MAX + 64
WANT_CHUNKS_MAX: Final = 4096  # chunks that one Want may name
WINDOW: Final = 3 * MIB  # stored bytes asked for and not yet here
SEALED_PER_SESSION_MAX: Final = 10_000  # envelopes and receipts that one session may bring

# the vault's key file and header
VAULT_FILE_MAX: Final = 64 * KIB
SLOTS_MAX: Final = 16
ARGON2_MIB_MIN: Final = 64
ARGON2_MIB_MAX: Final = 1024
ARGON2_PASSES_MIN: Final = 2
ARGON2_PASSES_MAX: Final = 10
ARGON2_LANES: Final = 1  # libsodium's
