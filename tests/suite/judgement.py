"""Performing steps, and the summary that tells what was proven and what was not."""

import time
from dataclasses import dataclass, field

from .commands import Missing, Unprovable
from .steps import LONG_STEPS, STEPS
from .terminal import FAILED, PASSED, SKIPPED, TERMINAL


@dataclass
class Outcome:
    step: str
    verdict: str
    seconds: float
    reason: str = ""
    skips: list[str] = field(default_factory=list)


def perform(name: str) -> Outcome:
    TERMINAL.say(f"\n{TERMINAL.paint(f'=== {name}', 'title')}")
    began = time.monotonic()
    skips: list[str] = []
    verdict, reason = PASSED, ""
    try:
        (STEPS | LONG_STEPS)[name](skips)
    except Unprovable as error:
        verdict, reason = SKIPPED, str(error)
    except (Missing, RuntimeError, OSError) as error:
        verdict, reason = FAILED, str(error)
    seconds = time.monotonic() - began
    TERMINAL.say(f"=== {name}: {TERMINAL.paint(verdict, verdict)} ({seconds:.0f} s) {reason}".rstrip())
    return Outcome(name, verdict, seconds, reason, skips)


def summarize(outcomes: list[Outcome], left_out: list[str]) -> int:
    TERMINAL.say(f"\n{TERMINAL.paint('=== Summary', 'title')}")
    width = max(len(outcome.step) for outcome in outcomes)
    for outcome in outcomes:
        verdict = TERMINAL.paint(f"{outcome.verdict:<7}", outcome.verdict)
        line = f"{verdict}  {outcome.step:<{width}}  {outcome.seconds:5.0f} s  {outcome.reason}"
        TERMINAL.say(line.rstrip())
        for skip in sorted(set(outcome.skips)):
            TERMINAL.say(f"         {TERMINAL.paint(SKIPPED, SKIPPED)} in it: {skip}")
    for step in left_out:
        TERMINAL.say(TERMINAL.paint(f"LEFT OUT BY `quick`: {step.upper()} WERE NOT TESTED", SKIPPED))
    count = {verdict: sum(o.verdict == verdict for o in outcomes) for verdict in (PASSED, FAILED, SKIPPED)}
    partly = sum(len(set(o.skips)) for o in outcomes)
    if count[SKIPPED] or partly:
        TERMINAL.say(f"NOT PROVEN ON THIS MACHINE: {count[SKIPPED]} STEPS AND {partly} PROOFS WERE SKIPPED, SEE ABOVE")
    TERMINAL.say(f"steps: {count[PASSED]} passed, {count[FAILED]} failed, {count[SKIPPED]} skipped")
    return 1 if count[FAILED] else 0
