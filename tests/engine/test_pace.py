import asyncio
import time

from p2pshare.engine.pace import Pace


async def seconds_for(pace: Pace, *sizes: int) -> float:
    began = time.monotonic()
    await asyncio.gather(*(pace.spend(size) for size in sizes))
    return time.monotonic() - began


async def test_without_a_limit_nobody_waits() -> None:
    assert await seconds_for(Pace(None), 10**12, 10**12) < 1


async def test_all_that_goes_out_together_keeps_to_the_rate() -> None:
    assert 0.19 < await seconds_for(Pace(100_000), 5_000, 10_000, 5_000) < 3


async def test_an_idle_time_is_not_saved_up() -> None:
    pace = Pace(100_000)
    await asyncio.sleep(0.15)
    assert await seconds_for(pace, 10_000) > 0.09


async def test_those_who_wait_go_one_after_another() -> None:
    pace = Pace(100_000)
    done: list[str] = []

    async def spend(name: str) -> None:
        await pace.spend(2_000)
        done.append(name)

    await asyncio.gather(*(spend(name) for name in "abc"))
    assert done == ["a", "b", "c"]
