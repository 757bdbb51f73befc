"""Hostile files, made by an encoder that shares no code with the readers."""

from collections.abc import Callable

import pytest

from tests.dicom.conftest import Encoder


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """What makes them."""
    return Encoder()


@pytest.fixture(scope="session")
def dicom_with(encoder: Encoder) -> Callable[[str], bytes]:
    """A small whole image whose three UIDs are one text."""
    pixels = encoder.element(0x7FE00010, "OW", bytes(32))
    return lambda uid: encoder.head() + encoder.identity(uid, uid, uid) + encoder.image() + pixels
