"""What is asked of the C allocator."""

import platform

from p2pshare.service.memory import reuse_large_buffers


def test_the_allocator_is_asked_where_it_is_glibc_and_left_alone_elsewhere() -> None:
    assert reuse_large_buffers() is (platform.libc_ver()[0] == "glibc")


def test_asking_again_does_no_harm() -> None:
    assert reuse_large_buffers() == reuse_large_buffers()
