import os
import ssl
from pathlib import Path

import pytest

from p2pshare.crypto.certificate import certificate_digest, new_certificate
from p2pshare.sync.tls import client_context, server_context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Run a handshake in memory, and return the client's end."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[0]


def test_the_client_sees_the_certificate_that_the_server_made() -> None:
    certificate = new_certificate()
    client = shake_hands(server_context(certificate), client_context())
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    assert certificate_digest(shown) == certificate.digest
    assert client.version() == "TLSv1.3"


@pytest.mark.parametrize("side", ["server", "client"])
def test_a_lower_version_of_tls_is_refused(side: str) -> None:
    contexts = {"server": server_context(new_certificate()), "client": client_context()}
    contexts[side].minimum_version = ssl.TLSVersion.TLSv1_2
    contexts[side].maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake_hands(contexts["server"], contexts["client"])


@pytest.mark.linux
def test_the_key_never_has_a_name_on_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def load(self: ssl.SSLContext, path: Path) -> None:
        seen.append(path.readlink().as_posix())
        assert b"PRIVATE KEY" in path.read_bytes()

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load)
    server_context(new_certificate())
    (name,) = seen
    assert name.startswith("/memfd:")


def test_where_there_are_no_memory_files_a_private_file_is_used_and_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Path] = []
    load_cert_chain = ssl.SSLContext.load_cert_chain

    def load(self: ssl.SSLContext, path: Path) -> None:
        assert path.stat().st_mode & 0o777 == 0o600
        seen.append(path)
        load_cert_chain(self, path)

    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    server_context(new_certificate())
    assert seen[0].is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []
