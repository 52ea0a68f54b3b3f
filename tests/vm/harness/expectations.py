"""What a point of the matrix must show, from what the design says about it; and what it may share, measured."""

from .checks import (
    Check,
    clocks_are_equal,
    cut_requests_are_measured,
    cut_requests_differ,
    diversity_is,
    first_output_is_new,
    kernel_repeats,
    level_is,
    measured,
    nothing_is_shared,
    something_is_shared,
    what_it_may_share_is_reported,
    witness_is,
)
from .matrix import Point

#: How the library calls the state of vmclock, by the witness that the machine has.
STATES = {"counter": "active", "marker": "active", "novmclock": "absent"}


def of_machine(points: tuple[Point, ...]) -> tuple[Check, ...]:
    """What all points of a machine have in common."""
    checks = [something_is_shared(
        "*/plain", "plain ChaCha20 generators, seeded before the snapshot, repeat themselves in the clones")]
    if points[0].kernel == "hog":
        checks += [kernel_repeats("*/kernel"), clocks_are_equal(points[0].worker)]
    if all(point.never_shares for point in points):
        checks.append(nothing_is_shared("*/snaprng-*", "of all the machine's generators together", among=True))
    return tuple(checks)


def of_point(point: Point) -> tuple[Check, ...]:
    """What this process in its machine must show."""
    worker = point.worker
    everything, thread = f"{worker}/snaprng-*", f"{worker}/snaprng-thread"
    checks = [
        level_is(thread, point.level),
        level_is(f"{worker}/snaprng-owned-plain", point.level),
        witness_is(thread, "vmclock", STATES[point.witness]),
        diversity_is(thread, point.diversity),
    ]
    if point.witness == "marker":
        checks.append(level_is(f"{worker}/snaprng-owned-marker", "accepted"))
    if point.never_shares:
        checks += [first_output_is_new(everything), nothing_is_shared(everything, "of any generator")]
    else:
        checks += [
            what_it_may_share_is_reported(everything, worker),
            nothing_is_shared(f"{everything}@settled", "asked for after the settling time"),
        ]
    if point.moment == "request":
        cut = f"{worker}/cut-snaprng-*"
        checks.append(cut_requests_differ(cut) if point.never_shares_a_cut_request else cut_requests_are_measured(cut))
    checks.append(measured(f"{worker}/kernel", "raw getrandom", mark="kernel"))
    return tuple(checks)
