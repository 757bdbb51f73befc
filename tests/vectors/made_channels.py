"""Vectors of the direct road: knocks, and the three messages of the handshake."""

from collections.abc import Iterator

from made_people import ANN, ANNS_NODE, BOBS_NODE, with_s_raised
from writing import Segment, Value, Vector, cut, flipped, seeded

from p2pshare.crypto.channel import ClientHandshake, ServerHandshake, knock
from p2pshare.crypto.keys import SigningKey, device_id
from p2pshare.crypto.labels import lp

KNOCK_KEY, OLD_KNOCK_KEY = seeded("knock key", 32), seeded("older knock key", 32)
CERTIFICATE = seeded("certificate", 32)
CLIENT_NONCE, SERVER_NONCE = seeded("client nonce", 32), seeded("server nonce", 32)
CLIENT, SERVER = ANNS_NODE, BOBS_NODE


def vectors() -> Iterator[Vector]:
    """All of them."""
    yield from _knocks()
    yield from _second_messages()
    yield from _client_side()


def _knocks() -> Iterator[Vector]:
    good = knock(KNOCK_KEY, CERTIFICATE, CLIENT_NONCE)
    keys: list[Value] = [KNOCK_KEY, OLD_KNOCK_KEY]

    def knocked(name: str, expect: str, what: str, path: str) -> Vector:
        given: dict[str, Value] = {"knock_keys": keys, "certificate": CERTIFICATE, "path": path}
        result: dict[str, Value] = {"nonce": CLIENT_NONCE} if expect == "ok" else {}
        return Vector(f"knock-{name}", "knock", "knock", expect, what, given, result)

    no = "stranger-refused"
    yield knocked("good", "ok", "With the newest knock key.", f"/{good}")
    old = knock(OLD_KNOCK_KEY, CERTIFICATE, CLIENT_NONCE)
    yield knocked("older-key", "ok", "With an older knock key that still counts.", f"/{old}")
    wrong = knock(seeded("no knock key", 32), CERTIFICATE, CLIENT_NONCE)
    yield knocked("wrong-key", no, "With another knock key.", f"/{wrong}")
    other = knock(KNOCK_KEY, seeded("other certificate", 32), CLIENT_NONCE)
    yield knocked("other-certificate", no, "The client saw another certificate.", f"/{other}")
    yield knocked("nonce-changed", no, "A bit of the nonce.", f"/{flipped(bytes.fromhex(good), 0).hex()}")
    yield knocked("upper-case", no, "Upper-case digits.", f"/{good.upper()}")
    yield knocked("short", no, "127 digits.", f"/{good[:-1]}")
    yield knocked("long", no, "130 digits.", f"/{good}00")
    yield knocked("query", no, "A query behind it.", f"/{good}?x=1")
    yield knocked("not-hex", no, "A digit is no digit.", f"/{good[:-1]}g")
    yield knocked("wide-digits", no, "A full-width digit.", f"/{good[:-1]}\uff11")
    yield knocked("root", no, "What a browser asks for.", "/")


def _greeting(versions: tuple[int, ...] = (1,), key: bytes = KNOCK_KEY) -> bytes:
    server = ServerHandshake(SERVER, key, CERTIFICATE, CLIENT_NONCE, {}.get, versions=versions, nonce=SERVER_NONCE)
    return server.greeting()


def _transcript(
    server_versions: bytes = b"\x01", client_versions: bytes = b"\x01", client: SigningKey = CLIENT
) -> bytes:
    ids = device_id(client.public) + device_id(SERVER.public)
    return CERTIFICATE + CLIENT_NONCE + SERVER_NONCE + ids + lp(server_versions) + lp(client_versions)


def _second_messages() -> Iterator[Vector]:
    def second(name: str, expect: str, what: str, message: bytes | list[Segment]) -> Vector:
        given: dict[str, Value] = {
            "server_seed": SERVER.seed,
            "client_public": CLIENT.public,
            "knock_key": KNOCK_KEY,
            "certificate": CERTIFICATE,
            "client_nonce": CLIENT_NONCE,
            "server_nonce": SERVER_NONCE,
            "message_2": message,
        }
        result: dict[str, Value] = {}
        if expect == "ok":
            result = {"message_1": _greeting(), "message_3": SERVER.sign("sig/channel-server", _transcript())}
        return Vector(f"handshake-{name}", "server handshake", "message 2", expect, what, given, result)

    def message(signature: bytes, versions: bytes = b"\x01", client: SigningKey = CLIENT) -> list[Segment]:
        data = device_id(client.public) + bytes([len(versions)]) + versions + signature
        return cut(data, (32, "device id"), (1, "count"), (len(versions), "versions"), (-1, "signature"))

    name = "sig/channel-client"
    good = CLIENT.sign(name, _transcript())
    violation = "protocol-violation"
    yield second("good", "ok", "Message 2, with the messages before and after it.", message(good))
    stranger = message(ANN.sign(name, _transcript(client=ANN)), client=ANN)
    yield second("stranger", "stranger-refused", "A device that is not in the list of people.", stranger)
    yield second("signature-bit", "forged", "A bit of the signature.", message(flipped(good, 10)))
    yield second("s-not-canonical", "forged", "S too large.", message(with_s_raised(good)))
    by_other = message(ANN.sign(name, _transcript()))
    yield second("signed-by-another", "forged", "Another device signed it.", by_other)
    reflected = message(CLIENT.sign("sig/channel-server", _transcript()))
    yield second("reflected", "forged", "The signature is under the server's label.", reflected)
    replayed = _transcript().replace(SERVER_NONCE, seeded("nonce of yesterday", 32))
    yield second("replayed", "forged", "It was signed for another server nonce.", message(CLIENT.sign(name, replayed)))
    relayed = _transcript().replace(CERTIFICATE, seeded("certificate in between", 32))
    what = "The client saw another certificate: somebody is in between."
    yield second("other-certificate", "forged", what, message(CLIENT.sign(name, relayed)))
    both = CLIENT.sign(name, _transcript(client_versions=b"\x01\x02"))
    yield second("versions-removed", "forged", "The client offered 1 and 2; 2 was removed on the way.", message(both))
    greeted = CLIENT.sign(name, _transcript(server_versions=b"\x01\x02"))
    what = "The client saw an offer of 1 and 2; this server offered 1."
    yield second("offer-changed", "forged", what, message(greeted))
    newer = message(CLIENT.sign(name, _transcript(client_versions=b"\x02")), b"\x02")
    yield second("no-common-version", "unsupported", "The client speaks version 2 only.", newer)
    none = message(CLIENT.sign(name, _transcript(client_versions=b"")), b"")
    yield second("no-versions", violation, "The client offers nothing.", none)
    twice = message(CLIENT.sign(name, _transcript(client_versions=b"\x01\x01")), b"\x01\x01")
    yield second("version-twice", violation, "The client offers version 1 twice.", twice)
    data = device_id(CLIENT.public) + b"\x02\x01" + good
    yield second("count-wrong", violation, "It counts two versions and has one.", data)
    yield second("cut", violation, "Its last byte is missing.", device_id(CLIENT.public) + b"\x01\x01" + good[:-1])
    yield second("short", violation, "It has no signature.", device_id(CLIENT.public) + b"\x01\x01")
    large: list[Segment] = [(data, "a message"), (b"\x00", "more than 4 KiB", 4096)]
    yield second("too-large", violation, "It is larger than 4 KiB.", large)


def _client_side() -> Iterator[Vector]:
    def client(name: str, layer: str, expect: str, what: str, first: bytes, third: bytes = b"") -> Vector:
        given: dict[str, Value] = {
            "client_seed": CLIENT.seed,
            "server_public": SERVER.public,
            "knock_key": KNOCK_KEY,
            "certificate": CERTIFICATE,
            "client_nonce": CLIENT_NONCE,
            "message_1": cut(first, (32, "server nonce"), (32, "HMAC"), (1, "count"), (-1, "versions")),
            "message_3": third,
        }
        made = ClientHandshake(CLIENT, SERVER.public, KNOCK_KEY, CERTIFICATE, nonce=CLIENT_NONCE)
        result: dict[str, Value] = {"message_2": made.answer(first)} if expect == "ok" else {}
        return Vector(f"handshake-client-{name}", "client handshake", layer, expect, what, given, result)

    one, three = "message 1", "message 3"
    first, name = _greeting(), "sig/channel-server"
    good = SERVER.sign(name, _transcript())
    yield client("good", three, "ok", "Messages 1 and 3.", first, good)
    what = "The server does not know the knock key."
    yield client("wrong-knock-key", one, "forged", what, _greeting(key=seeded("no knock key", 32)))
    yield client("nonce-changed", one, "forged", "A bit of the server's nonce.", flipped(first, 0))
    yield client("no-common-version", one, "unsupported", "The server speaks version 2 only.", _greeting((2,)))
    yield client("first-cut", one, "protocol-violation", "Message 1 ends before its versions.", first[:-1])
    yield client("first-longer", one, "protocol-violation", "One byte after message 1.", first + b"\x02")
    own = CLIENT.sign("sig/channel-client", _transcript())
    yield client("reflected", three, "forged", "The client's own signature as message 3.", first, own)
    by_other = ANN.sign(name, _transcript())
    yield client("signed-by-another", three, "forged", "Another device signed message 3.", first, by_other)
    lowered = SERVER.sign(name, _transcript(server_versions=b"\x01\x02"))
    what = "The server offered 1 and 2; 2 was removed on the way."
    yield client("versions-removed", three, "forged", what, first, lowered)
    yield client("third-longer", three, "forged", "One byte after message 3.", first, good + b"\x00")
    yield client("third-missing", three, "forged", "An empty message 3.", first, b"")
