"""The handshake proves both ends to each other, and ends typed at the first thing that does not fit."""

from collections.abc import Callable

import pytest

from p2pshare.crypto.channel import Agreed, ClientHandshake, ServerHandshake, check_knock, knock
from p2pshare.crypto.keys import SigningKey
from p2pshare.errors import Forged, P2PShareError, ProtocolViolation, StrangerRefused, Unsupported
from p2pshare.model.ids import DeviceId
from p2pshare.model.limits import HANDSHAKE_FRAME_MAX
from tests.crypto.samples import ANN, ANNS_DEVICE, ANNS_NODE, BOBS_DEVICE, BOBS_NODE, flips

KEY, CERTIFICATE, NONCE = b"k" * 32, b"c" * 32, b"n" * 32

Lookup = Callable[[DeviceId], bytes | None]


def known(device: DeviceId) -> bytes | None:
    return {ANNS_DEVICE: ANNS_NODE.public}.get(device)


class Pair:
    """Ann's node knocks on Bob's; each side may be told something else."""

    def __init__(
        self,
        *,
        client: SigningKey = ANNS_NODE,
        server_public: bytes = BOBS_NODE.public,
        seen: bytes = CERTIFICATE,
        client_versions: tuple[int, ...] = (1,),
        server_versions: tuple[int, ...] = (1,),
        lookup: Lookup = known,
    ) -> None:
        self.client = ClientHandshake(client, server_public, KEY, seen, versions=client_versions)
        nonce, key = check_knock(self.client.knock(), [KEY], seen)
        self.server = ServerHandshake(BOBS_NODE, key, CERTIFICATE, nonce, lookup, versions=server_versions)

    def run(self) -> tuple[Agreed, Agreed]:
        third, at_server = self.server.answer(self.client.answer(self.server.greeting()))
        return at_server, self.client.finish(third)


def test_both_ends_learn_who_is_there() -> None:
    assert Pair().run() == (Agreed(ANNS_DEVICE, 1), Agreed(BOBS_DEVICE, 1))


@pytest.mark.parametrize(
    ("client", "server", "agreed"),
    [((1,), (1, 2), 1), ((1, 2), (2, 1), 2), ((3, 1), (1, 2, 3, 9), 3), ((255,), (255,), 255)],
)
def test_the_highest_version_that_both_speak_is_agreed(
    client: tuple[int, ...], server: tuple[int, ...], agreed: int
) -> None:
    at_server, at_client = Pair(client_versions=client, server_versions=server).run()
    assert at_server.version == at_client.version == agreed


def test_without_a_common_version_there_is_none() -> None:
    with pytest.raises(Unsupported):
        Pair(client_versions=(2,)).run()


# --- knocks -----------------------------------------------------------------------------------------------


def test_a_knock_is_128_digits_and_tells_nonce_and_key() -> None:
    digits = knock(KEY, CERTIFICATE, NONCE)
    assert len(digits) == 128
    for path in (digits, f"/{digits}"):
        assert check_knock(path, [b"o" * 32, KEY], CERTIFICATE) == (NONCE, KEY)


def test_every_flipped_byte_of_a_knock_is_refused() -> None:
    for changed in flips(bytes.fromhex(knock(KEY, CERTIFICATE, NONCE))):
        with pytest.raises(StrangerRefused):
            check_knock(changed.hex(), [KEY], CERTIFICATE)


@pytest.mark.parametrize(("keys", "certificate"), [([], CERTIFICATE), ([b"o" * 32], CERTIFICATE), ([KEY], b"d" * 32)])
def test_a_knock_with_another_key_or_certificate_is_refused(keys: list[bytes], certificate: bytes) -> None:
    with pytest.raises(StrangerRefused):
        check_knock(knock(KEY, CERTIFICATE, NONCE), keys, certificate)


@pytest.mark.parametrize(
    "path", ["", "/", "/index.html", "f" * 127, "f" * 129, "F" * 128, " " * 128, "\uff11" * 128, "//" + "f" * 127]
)
def test_what_is_no_knock_is_refused(path: str) -> None:
    with pytest.raises(StrangerRefused):
        check_knock(path, [KEY], CERTIFICATE)


def test_all_refusals_of_strangers_read_alike_from_outside() -> None:
    refused: list[type[P2PShareError]] = []
    for attempt in (
        lambda: check_knock("/", [KEY], CERTIFICATE),
        lambda: check_knock("f" * 128, [KEY], CERTIFICATE),
        lambda: Pair(lookup=lambda _: None).run(),
    ):
        with pytest.raises(P2PShareError) as error:
            attempt()
        refused.append(type(error.value))
    assert set(refused) == {StrangerRefused}


# --- messages ---------------------------------------------------------------------------------------------


def test_every_flipped_byte_of_every_message_is_refused() -> None:
    pair = Pair()
    first = pair.server.greeting()
    for changed in flips(first):
        with pytest.raises((Forged, ProtocolViolation, Unsupported)):
            pair.client.answer(changed)
    second = pair.client.answer(first)
    for changed in flips(second):
        with pytest.raises((Forged, StrangerRefused, ProtocolViolation)):
            pair.server.answer(changed)
    third, _ = pair.server.answer(second)
    for changed in flips(third):
        with pytest.raises(Forged):
            pair.client.finish(changed)


def test_an_offer_changed_on_the_way_to_the_client_is_refused_by_the_server() -> None:
    pair = Pair(client_versions=(1, 2), server_versions=(1, 2))
    lowered = pair.server.greeting()[:64] + b"\x01\x01"
    with pytest.raises(Forged):
        pair.server.answer(pair.client.answer(lowered))


def test_an_offer_changed_on_the_way_to_the_server_is_refused_by_the_server() -> None:
    pair = Pair(client_versions=(1, 2), server_versions=(1, 2))
    second = pair.client.answer(pair.server.greeting())
    with pytest.raises(Forged):
        pair.server.answer(second[:32] + b"\x01\x01" + second[-64:])


def test_somebody_in_between_with_another_certificate_is_refused() -> None:
    client = ClientHandshake(ANNS_NODE, BOBS_NODE.public, KEY, b"d" * 32)
    with pytest.raises(StrangerRefused):
        check_knock(client.knock(), [KEY], CERTIFICATE)
    with pytest.raises(Forged):
        client.answer(Pair().server.greeting())


def test_a_server_that_does_not_know_the_knock_key_is_refused() -> None:
    client = ClientHandshake(ANNS_NODE, BOBS_NODE.public, KEY, CERTIFICATE, nonce=NONCE)
    server = ServerHandshake(BOBS_NODE, b"o" * 32, CERTIFICATE, NONCE, known)
    with pytest.raises(Forged, match="knock key"):
        client.answer(server.greeting())


def test_another_device_behind_the_same_knock_key_is_refused() -> None:
    with pytest.raises(Forged):
        Pair(server_public=ANN.public).run()
    with pytest.raises(StrangerRefused):
        Pair(client=ANN).run()


def test_a_lookup_that_gives_another_devices_key_proves_nothing() -> None:
    with pytest.raises(StrangerRefused):
        Pair(client=ANN, lookup=lambda _: ANNS_NODE.public).run()


def test_messages_are_neither_replayed_nor_reflected() -> None:
    one, other = Pair(), Pair()
    second = one.client.answer(one.server.greeting())
    with pytest.raises(Forged):
        other.server.answer(second)
    third, _ = one.server.answer(second)
    other.client.answer(other.server.greeting())
    with pytest.raises(Forged):
        other.client.finish(third)
    with pytest.raises(Forged):
        one.client.finish(second[-64:])


def test_a_third_message_before_the_first_is_a_violation() -> None:
    with pytest.raises(ProtocolViolation):
        Pair().client.finish(bytes(64))


@pytest.mark.parametrize(
    "ending", [b"", b"\x00", b"\x01", b"\x02\x01", b"\x01\x01\x01", b"\x02\x01\x01", bytes(HANDSHAKE_FRAME_MAX)]
)
def test_a_first_message_of_a_wrong_form_is_a_violation(ending: bytes) -> None:
    pair = Pair()
    with pytest.raises(ProtocolViolation):
        pair.client.answer(pair.server.greeting()[:64] + ending)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda second: b"",
        lambda second: second[:-1],
        lambda second: second + b"\x00",
        lambda second: second[:32] + second[-64:],
        lambda second: second[:32] + b"\x00" + second[-64:],
        lambda second: second[:32] + b"\x02\x01\x01" + second[-64:],
        lambda second: second + bytes(HANDSHAKE_FRAME_MAX),
    ],
)
def test_a_second_message_of_a_wrong_form_is_a_violation(spoil: Callable[[bytes], bytes]) -> None:
    pair = Pair()
    with pytest.raises(ProtocolViolation):
        pair.server.answer(spoil(pair.client.answer(pair.server.greeting())))


def test_nonces_are_fresh() -> None:
    assert len({Pair().client.knock()[:64] for _ in range(20)}) == 20
    assert len({Pair().server.greeting()[:32] for _ in range(20)}) == 20
