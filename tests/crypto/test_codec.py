"""Every codec gives back every byte, and a payload that lies is refused before it is unpacked."""

import random
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from p2pshare.crypto.codec import Codec, compress, decompress, padded_length
from p2pshare.errors import ShareCorrupt
from p2pshare.model.limits import CHUNK_PAD, CHUNK_SIZE

WORDS = b"".join(struct.pack("<H", 1000 + i % 300) for i in range(5000))
FRAME = zstandard.ZstdCompressor(level=1).compress(WORDS)
RLE_BLOCK = struct.pack("<I", (131_072 << 3) | 0b010)[:3] + b"\x00"  # RFC 8878 §3.1.1.2: 128 KiB of zeros


@given(st.binary(max_size=3000), st.sampled_from(Codec))
def test_what_was_compressed_comes_back(plain: bytes, codec: Codec) -> None:
    used, payload = compress(plain, codec)
    assert decompress(payload, used, len(plain)) == plain


@given(st.binary(min_size=1, max_size=40), st.integers(1, 500), st.sampled_from(Codec))
def test_repetitive_content_comes_back(unit: bytes, times: int, codec: Codec) -> None:
    used, payload = compress(memoryview(unit * times), codec)
    assert decompress(memoryview(payload), used, len(unit) * times) == unit * times


def test_byte_planes_are_all_low_bytes_then_all_high_bytes() -> None:
    used, payload = compress(WORDS, Codec.PLANES)
    assert used is Codec.PLANES
    assert zstandard.ZstdDecompressor().decompress(payload) == WORDS[0::2] + WORDS[1::2]


def test_pixels_become_smaller_in_byte_planes() -> None:
    noisy = random.Random(1)
    pixels = b"".join(struct.pack("<H", 1000 + noisy.randrange(256)) for _ in range(50_000))
    assert len(compress(pixels, Codec.PLANES)[1]) < len(compress(pixels, Codec.ZSTD)[1])


def test_an_odd_number_of_bytes_is_not_cut_into_planes() -> None:
    assert compress(WORDS + b"x", Codec.PLANES)[0] is Codec.ZSTD


@pytest.mark.parametrize("plain", [b"", b"x", b"xy" * 100, random.Random(2).randbytes(CHUNK_SIZE)])
def test_what_gains_nothing_stays_raw(plain: bytes) -> None:
    assert compress(plain, Codec.ZSTD) == (Codec.RAW, plain)


@pytest.mark.parametrize("length", [0, 1, 510, 511, 512, 513, CHUNK_SIZE])
def test_padding_leaves_room_for_its_mark_and_no_more(length: int) -> None:
    padded = padded_length(length)
    assert padded % CHUNK_PAD == 0
    assert length + 1 <= padded <= length + CHUNK_PAD


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("off", [-1, 1])
def test_another_length_than_claimed_is_refused(codec: Codec, off: int) -> None:
    used, payload = compress(WORDS, codec)
    with pytest.raises(ShareCorrupt):
        decompress(payload, used, len(WORDS) + off)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        FRAME[:3],
        FRAME[:-1],
        FRAME + b"\x00",
        FRAME + FRAME,
        b"\x50\x2a\x4d\x18" + struct.pack("<I", len(WORDS)) + WORDS,
        zstandard.ZstdCompressor(write_content_size=False).compress(WORDS),
        zstandard.ZstdCompressor(level=1).compress(WORDS[:-1] + b"x")[:-9] + bytes(9),
    ],
)
def test_a_payload_that_is_not_one_whole_frame_is_refused(payload: bytes) -> None:
    with pytest.raises(ShareCorrupt):
        decompress(payload, Codec.ZSTD, len(WORDS))


def test_a_skippable_frame_is_no_content() -> None:
    with pytest.raises(ShareCorrupt, match="not a zstd frame"):
        decompress(b"\x50\x2a\x4d\x18" + struct.pack("<I", 5) + b"12345", Codec.ZSTD, 5)


def test_a_frame_with_a_dictionary_is_refused() -> None:
    dictionary = zstandard.train_dictionary(4096, [WORDS[i : i + 200] for i in range(0, 9000, 7)])
    payload = zstandard.ZstdCompressor(dict_data=dictionary).compress(WORDS)
    assert zstandard.get_frame_parameters(payload).dict_id
    with pytest.raises(ShareCorrupt, match="dictionary"):
        decompress(payload, Codec.ZSTD, len(WORDS))


def test_a_frame_with_a_wide_window_is_refused() -> None:
    block = struct.pack("<I", (len(WORDS) << 3) | 0b011)[:3] + b"\x00"
    payload = b"\x28\xb5\x2f\xfd\x40\x68" + struct.pack("<H", len(WORDS) - 256) + block  # a window of 8 MiB
    assert zstandard.ZstdDecompressor().decompress(payload) == bytes(len(WORDS))
    with pytest.raises(ShareCorrupt, match="window"):
        decompress(payload, Codec.ZSTD, len(WORDS))


@pytest.mark.parametrize(
    ("header", "claimed"),
    [
        (b"\xa0" + struct.pack("<I", 1 << 30), 1 << 30),  # one segment, as large as it says
        (b"\x80\x50" + struct.pack("<I", 1 << 30), 1 << 30),  # a window of 1 MiB
        (b"\x40\x50" + struct.pack("<H", 1000 - 256), 1000),  # says 1,000 bytes
    ],
)
def test_a_bomb_takes_no_memory(header: bytes, claimed: int) -> None:
    bomb = b"\x28\xb5\x2f\xfd" + header + RLE_BLOCK * 8191 + bytes([RLE_BLOCK[0] | 1]) + RLE_BLOCK[1:]
    assert zstandard.frame_content_size(bomb) == claimed
    tracemalloc.start()
    try:
        with pytest.raises(ShareCorrupt):
            decompress(bomb, Codec.ZSTD, 1000)
        assert tracemalloc.get_traced_memory()[1] < 4 * CHUNK_SIZE
    finally:
        tracemalloc.stop()


def test_several_threads_do_not_disturb_each_other() -> None:
    def round_trips(seed: int) -> bool:
        plain = bytes([seed]) * 20_000 + random.Random(seed).randbytes(20_000) + WORDS
        for _ in range(50):
            used, payload = compress(plain, Codec.PLANES)
            if decompress(payload, used, len(plain)) != plain:
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(round_trips, range(8)))
