"""The scenarios: what machine, which workers, what must come out. Those of the matrix, and two that are not in it."""

from dataclasses import dataclass

from . import expectations
from .analyse import after_agent, before_agent, within
from .checks import (
    Check,
    all_clones_do_the_same,
    clocks_are_equal,
    first_output_is_new,
    generation_ends,
    kernel_repeats,
    level_is,
    measured,
    measured_with_its_report,
    nothing_is_shared,
    openssl_runs_on,
    refuses_until_settled,
    reports_no_diversity,
    something_is_shared,
    witness_is,
)
from .matrix import COVERING, Point, machines
from .qemu import Shape

# The library's settling time is 64 s; the workers look half a second after it.
SETTLE_SECONDS = 64.0
LOOK_AFTER_MS = 64_500
SAME_GUID = "8ff1e3a5-1d0e-4a57-9a0c-3b6c6a0d5a11"
# The programs in the guest's image.
INIT = "init"  # guest/src
C_ABI = "c-abi"  # guest/c/c-abi, which has one body, of the same name: the busy one through the C ABI
OPENSSL = "openssl"  # guest/c/openssl, likewise: the busy one on the system's OpenSSL


@dataclass(frozen=True)
class Worker:
    """One process in the guest. `options` are the words of guest/src/plan.rs, or of guest/c/busy.c."""

    name: str
    options: str = ""
    body: str = "busy"
    owned: tuple[str, ...] = ("plain",)
    keep: int = 4000
    variables: str = ""  # of its environment, as a shell has them

    @property
    def program(self) -> str:
        return self.body if self.body in (C_ABI, OPENSSL) else INIT

    @property
    def is_busy(self) -> bool:
        """Whether it asks through the snapshot and on, and so is the first to know of the resume."""
        return self.body in ("busy", C_ABI, OPENSSL)

    def order(self) -> str:
        owned = f"owned={','.join(self.owned)}" if self.program == INIT else ""
        words = ["worker", self.name, self.variables, f"/{self.program}", f"body={self.body}", owned,
                 f"keep={self.keep}", self.options]
        return " ".join(filter(None, words))

    def expected(self) -> dict[str, int]:
        """The streams every clone must bring, and how many outputs from after the resume at least."""
        flags = self.options.split()
        if not self.is_busy:
            return {"hog": {}, "idle": {"snaprng-idle-process": 2000, "snaprng-idle-thread": 2000},
                    "require": {"snaprng-require": 1000}, "agent": {}}[self.body]
        if self.body == OPENSSL:
            lasting = ["RAND_bytes", "RAND_priv_bytes"]
            expected = dict.fromkeys(["plain", "kernel", "RAND_bytes-new-thread", *lasting], self.keep)
            return expected | {f"{stream}@large": 1 for stream in lasting}
        made_before = ["snaprng-thread", *(f"snaprng-owned-{kind}" for kind in self.owned)]
        if self.body == C_ABI:
            made_before += ["snaprng-RAND_bytes", "snaprng-u64"]
        lasting = [*made_before, *(f"snaprng-new-owned-{kind}" for kind in self.owned)]
        expected = dict.fromkeys(["plain", "kernel", "snaprng-new-thread", *lasting], self.keep)
        expected |= {f"{stream}@large": 1 for stream in lasting}
        if any(flag.startswith("settle-ms=") for flag in flags):
            expected |= {f"{stream}@settled": 2000 for stream in ["kernel", *lasting, "snaprng-idle"]}
        return expected


@dataclass(frozen=True)
class Scenario:
    """A machine that is cloned, and what its clones must show."""

    name: str
    proves: str
    workers: tuple[Worker, ...]
    checks: tuple[Check, ...]
    shape: Shape = Shape()
    counter: bool = True  # write the generation counter QEMU does not have
    settle_seconds: float = 0.0
    waits_before: bool = False  # a worker settles before the snapshot too
    points: tuple[tuple[str, tuple[Check, ...]], ...] = ()  # of the matrix, each with what is asked of it alone

    @property
    def waits(self) -> bool:
        """Whether its clones wait for their settling time as long as a clock on the wall does."""
        return self.settle_seconds > 0 and not self.shape.equal_clocks

    def orders(self) -> list[str]:
        """What init is told. An agent's page must be there before the others look for it."""
        orders = []
        for worker in self.workers:
            orders.append(worker.order())
            if worker.body == "agent":
                orders.append("wait")
        return orders

    def all_checks(self) -> list[tuple[str, Check]]:
        """Each with the point it is about, or with no name."""
        of_points = [(name, check) for name, checks in self.points for check in checks]
        return [("", check) for check in self.checks] + of_points



NEVER_TOLD = Shape(cpus=1, guid=SAME_GUID, equal_clocks=True)
PLAIN_REPEATS = something_is_shared(
    "*/plain", "a plain ChaCha20 generator, seeded before the snapshot, repeats itself in the clones")

# How much is recorded in the machines of the matrix: outputs of each generator, and for how long at least.
MATRIX_KEEP = 600
MATRIX_RUN_MS = 300


def _matrix_worker(point: Point) -> Worker:
    options = [f"run-ms={MATRIX_RUN_MS}", "asleep" if point.moment == "idle" else "in-request"]
    options += ["nobody"] * (point.privilege == "nobody") + ["beside-hogs"] * (point.kernel == "hog")
    options += [f"settle-ms={LOOK_AFTER_MS}"] * (not point.never_shares)
    owned = ("plain", "marker") if point.witness == "marker" else ("plain",)
    return Worker(point.worker, " ".join(options), owned=owned, keep=MATRIX_KEEP)


def _hog(cpu: int) -> Worker:
    return Worker(f"hog-{cpu}", f"cpu={cpu} run-ms={MATRIX_RUN_MS}", body="hog", owned=())


def _matrix_scenario(name: str, points: tuple[Point, ...]) -> Scenario:
    first = points[0]
    hogs = range(first.cpus) if first.kernel == "hog" else ()
    return Scenario(
        name=name,
        proves=f"{len(points)} points of the matrix: {', '.join(point.worker for point in points)}",
        shape=Shape(cpus=first.cpus, cpu_randomness=first.randomness == "rdrand", equal_clocks=first.kernel == "hog",
                    vmclock=first.witness != "novmclock"),
        counter=first.witness == "counter",
        workers=(*map(_matrix_worker, points), *map(_hog, hogs)),
        settle_seconds=0.0 if all(point.never_shares for point in points) else SETTLE_SECONDS,
        checks=expectations.of_machine(points),
        points=tuple((point.name, expectations.of_point(point)) for point in points),
    )


MATRIX = tuple(_matrix_scenario(name, points) for name, points in machines().items())

# What is proven of programs that are not in the matrix, and of a kernel that is never told.
SPECIAL = (
    Scenario(
        name="settling",
        proves="no CPU randomness, VMGenID unchanged, unprivileged: Require refuses until settled, then nothing shared",
        # The hardest case: the kernel is never told, so only its own reseeding after a minute tells the clones apart.
        shape=Shape(cpu_randomness=False, guid=SAME_GUID),
        workers=(
            Worker("prefer", f"nobody settle-ms={LOOK_AFTER_MS}"),
            Worker("blind", f"nobody vmclock-off settle-ms={LOOK_AFTER_MS}"),
            Worker("require", f"nobody require settle-ms={LOOK_AFTER_MS}", body="require"),
            Worker("idle", f"nobody settle-ms={LOOK_AFTER_MS}", body="idle"),
        ),
        settle_seconds=SETTLE_SECONDS,
        waits_before=True,
        checks=(
            PLAIN_REPEATS,
            kernel_repeats("prefer/kernel"),
            reports_no_diversity("prefer/snaprng-thread"),
            reports_no_diversity("prefer/snaprng-owned-plain"),
            refuses_until_settled("require", SETTLE_SECONDS),
            nothing_is_shared("require/snaprng-require", "served under Require"),
            nothing_is_shared("prefer/snaprng-*@settled", "asked for after settling, also of an idle generator"),
            nothing_is_shared("idle/snaprng-*", "of a process that stayed idle through the settling time"),
            measured("prefer/snaprng-thread* prefer/snaprng-owned-* prefer/snaprng-new-*",
                     "under Prefer, before the settling time was over", within(SETTLE_SECONDS)),
            # It settled before the snapshot, and has no witness to learn from that it must do so again.
            level_is("blind/snaprng-thread", "per-call"),
            witness_is("blind/snaprng-thread", "vmclock", "off"),
            measured_with_its_report("blind/snaprng-*", "blind/snaprng-thread",
                                     "of a process that had settled before the snapshot and has no witness",
                                     within(SETTLE_SECONDS)),
            nothing_is_shared("blind/snaprng-*@settled", "of that process, once the kernel has reseeded by itself"),
            measured("prefer/kernel@settled", "raw getrandom, after the settling time"),
        ),
    ),
    Scenario(
        name="strangers",
        proves="equal clocks, a kernel that is never told (VMGenID unchanged): programs in C and on OpenSSL, "
               "and an agent that is late",
        shape=NEVER_TOLD,
        workers=(
            Worker("agent", "delay-ms=300", body="agent"),
            Worker("late", "vmclock-off agent-page", owned=("plain", "late"), keep=1200),
            Worker("c-abi", body=C_ABI, keep=1200),
            Worker("stock", body=OPENSSL, keep=1200),
            Worker("provider", body=OPENSSL, keep=1200, variables="OPENSSL_CONF=/provider.cnf"),
            Worker("per-call", body=OPENSSL, keep=1200, variables="OPENSSL_CONF=/without-vmclock.cnf"),
        ),
        checks=(
            PLAIN_REPEATS,
            kernel_repeats("*/kernel"),
            clocks_are_equal("stock"),
            # A program in C, on the C library.
            level_is("c-abi/snaprng-thread", "synchronous"),
            witness_is("c-abi/snaprng-thread", "vmclock", "active"),
            first_output_is_new("c-abi/snaprng-*"),
            nothing_is_shared("c-abi/snaprng-*", "of a C program's generators"),
            generation_ends("c-abi"),
            # Programs on OpenSSL.
            openssl_runs_on("CTR-DRBG", "stock"),
            all_clones_do_the_same("stock/RAND_bytes stock/RAND_priv_bytes",
                                   "OpenSSL's own RAND_bytes and RAND_priv_bytes"),
            openssl_runs_on("SNAPRNG", "provider"),
            openssl_runs_on("SNAPRNG", "per-call"),
            level_is("provider/RAND_bytes", "synchronous"),
            level_is("per-call/RAND_bytes", "per-call"),
            first_output_is_new("provider/RAND_* per-call/RAND_*"),
            nothing_is_shared("provider/RAND_* per-call/RAND_*", "of RAND_bytes and RAND_priv_bytes with the provider"),
            nothing_is_shared("per-call/RAND_*", "of a process without vmclock", among=True),
            measured("stock/RAND_bytes-new-thread", "OpenSSL's own, of a thread that began after the resume"),
            # A process that has nothing but an agent's page, which moves late.
            level_is("late/snaprng-thread", "per-call"),
            level_is("late/snaprng-owned-late", "accepted"),
            something_is_shared("late/snaprng-owned-late",
                                "a generator that accepts a late witness repeats itself until the agent moves its page",
                                before_agent),
            nothing_is_shared("late/snaprng-owned-late", "of that generator once the page has moved", after_agent),
            first_output_is_new("late/snaprng-thread late/snaprng-owned-plain late/snaprng-new-*"),
            nothing_is_shared("late/snaprng-thread* late/snaprng-owned-plain* late/snaprng-new-*",
                              "under plain Prefer, or of generators made after the resume"),
        ),
    ),
)

# What `tests/run` takes: first those that wait, so that the others can run meanwhile.
SCENARIOS = (*SPECIAL, *(scenario for scenario in MATRIX if scenario.name in COVERING))
