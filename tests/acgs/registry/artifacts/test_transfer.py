from __future__ import annotations

import threading

import pytest

from acgs.registry.artifacts.transfer import Meter, Progress, TransferPool


def test_no_more_pieces_are_held_than_the_workers_and_two() -> None:
    held, most, lock, release = 0, 0, threading.Lock(), threading.Event()

    def work() -> None:
        release.wait(30)
        nonlocal held
        with lock:
            held -= 1

    with TransferPool(3) as pool:
        for index in range(40):
            if index == 5:
                release.set()
            pool.submit(work)
            with lock:
                held += 1
                most = max(most, held)
    assert 3 <= most <= 6  # the one that was just let in is counted before an ended one is


def test_the_first_failure_stops_the_rest_and_is_the_one_that_is_told() -> None:
    started = []

    def work(number: int) -> None:
        started.append(number)
        if number == 2:
            raise ValueError("the second")

    with pytest.raises(ValueError, match="the second"), TransferPool(1) as pool:
        for number in range(1000):
            pool.submit(work, number)
    assert len(started) < 1000


def test_a_failure_in_the_last_piece_is_told() -> None:
    def fail() -> None:
        raise ValueError("the last")

    with pytest.raises(ValueError, match="the last"), TransferPool(2) as pool:
        pool.submit(fail)


def test_progress_counts_what_is_through_and_what_was_moved() -> None:
    seen: list[Progress] = []
    meter = Meter(10, seen.append)
    meter.add(4, moved=True)
    meter.add(6, moved=False)
    assert seen == [Progress(4, 10, 4), Progress(10, 10, 4)]
