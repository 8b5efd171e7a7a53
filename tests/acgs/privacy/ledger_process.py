"""Processes that use a ledger as training does, for tests that kill them or let them race. Run as a script.

    ledger_process.py kill URL RUN SIDE_FILE ROUNDS SEED    fork a trainer and SIGKILL it, ROUNDS times
    ledger_process.py drain URL RUN ATTEMPT                 on a line of input, reserve single steps until refused
    ledger_process.py open URL RUN PLAN_JSON DATASET        on a line of input, open a run

No torch here (but for `open`, which composes), so that a fork is cheap.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time

from acgs.privacy.ledger import BudgetExceededError, DataSet
from acgs.privacy.plan import PrivacyPlan
from acgs.privacy.sql_ledger import SqlLedger
from acgs.storage.engine import open_engine

BLOCK = 5
LONGEST_LIFE_SECONDS = 0.05


def train(url: str, run_id: str, side_file: str, seed: int, first_step: int) -> None:
    """Reserve, step, settle for ever. A step is one byte appended to `side_file`, which outlives a SIGKILL."""
    dice = random.Random(seed)
    ledger = SqlLedger(open_engine(url))
    side = os.open(side_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    attempt = ledger.begin_attempt(run_id)
    mechanism = ledger.run(run_id).plan.history()[0]
    while True:
        reservation = ledger.reserve(run_id, attempt, BLOCK, mechanism)
        steps = dice.randint(1, BLOCK)
        for _ in range(steps):
            os.write(side, b".")
            os.write(first_step, b".")
        ledger.settle(reservation, steps)


def kill(url: str, run_id: str, side_file: str, rounds: int, seed: int) -> None:
    dice = random.Random(seed)
    for number in range(rounds):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reader)
                train(url, run_id, side_file, seed + number, writer)
            finally:
                os._exit(1)
        os.close(writer)
        # No life is so short that it takes no step; from there on, any moment.
        os.read(reader, 1)
        time.sleep(dice.uniform(0, LONGEST_LIFE_SECONDS))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(reader)
        if not os.WIFSIGNALED(status):
            sys.exit("the trainer ended by itself")


def drain(url: str, run_id: str, attempt: int) -> None:
    ledger = SqlLedger(open_engine(url))
    mechanism = ledger.run(run_id).plan.history()[0]
    wait()
    count = 0
    try:
        while True:
            ledger.reserve(run_id, attempt, 1, mechanism)
            count += 1
    except BudgetExceededError:
        say(str(count))


def open_run(url: str, run_id: str, plan_json: str, dataset: str) -> None:
    plan = PrivacyPlan.model_validate_json(plan_json)
    plan.composed(())
    ledger = SqlLedger(open_engine(url))
    wait()
    try:
        ledger.open_run(run_id, plan, [DataSet(dataset, "patients")], owner="race")
    except BudgetExceededError:
        say("refused")
    else:
        say("opened")


def wait() -> None:
    say("ready")
    sys.stdin.readline()


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["kill", url, run_id, side_file, rounds, seed]:
            kill(url, run_id, side_file, int(rounds), int(seed))
        case ["drain", url, run_id, attempt]:
            drain(url, run_id, int(attempt))
        case ["open", url, run_id, plan_json, dataset]:
            open_run(url, run_id, plan_json, dataset)
        case _:
            sys.exit(__doc__)
