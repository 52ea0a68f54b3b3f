"""The table of scenarios: what machine, which workers, and what must come out."""

from dataclasses import dataclass

from .analyse import after_agent, before_agent, within
from .checks import (
    Check,
    all_clones_do_the_same,
    clocks_are_equal,
    cut_requests_differ,
    first_output_is_new,
    generation_ends,
    kernel_repeats,
    level_is,
    measured,
    nothing_is_shared,
    openssl_runs_on,
    refuses_until_settled,
    reports_no_diversity,
    something_is_shared,
    witness_is,
)
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
            return {"idle": {"snaprng-idle-process": 2000, "snaprng-idle-thread": 2000},
                    "require": {"snaprng-require": 1000}, "agent": {}}[self.body]
        if self.body == OPENSSL:
            lasting = ["RAND_bytes", "RAND_priv_bytes"]
            expected = dict.fromkeys(["plain", "kernel", "RAND_bytes-new-thread", *lasting], self.keep)
            return expected | {f"{stream}@large": 2 for stream in lasting}
        made_before = ["snaprng-thread", *(f"snaprng-owned-{kind}" for kind in self.owned)]
        if self.body == C_ABI:
            made_before += ["snaprng-RAND_bytes", "snaprng-u64"]
        if "request=65536" in flags:
            return dict.fromkeys(made_before, self.keep)
        lasting = [*made_before, *(f"snaprng-new-owned-{kind}" for kind in self.owned)]
        expected = dict.fromkeys(["plain", "kernel", "snaprng-new-thread", *lasting], self.keep)
        expected |= {f"{stream}@large": 2 for stream in lasting}
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

    def orders(self) -> list[str]:
        """What init is told. An agent's page must be there before the others look for it."""
        orders = []
        for worker in self.workers:
            orders.append(worker.order())
            if worker.body == "agent":
                orders.append("wait")
        return orders


NO_CPU = Shape(cpu_randomness=False)
NEVER_TOLD = Shape(cpus=1, guid=SAME_GUID, equal_clocks=True)
HOGGED = Shape(cpus=1, equal_clocks=True)
HOGGED_NO_CPU = Shape(cpus=1, equal_clocks=True, cpu_randomness=False)
# Generators that were asked through the resume and on, or made right after it.
IN_USE = "*/snaprng-thread *-thread@large */snaprng-owned-* */snaprng-new-*"
PLAIN_REPEATS = something_is_shared(
    "*/plain", "a plain ChaCha20 generator, seeded before the snapshot, repeats itself in the clones")

# Where neither clocks nor the kernel tell the clones apart: all that is left is the CPU's randomness.
NOTHING_SHARED_WITH_EQUAL_CLOCKS = (
    PLAIN_REPEATS,
    kernel_repeats("main/kernel"),
    clocks_are_equal("main"),
    level_is("main/snaprng-thread", "synchronous"),
    witness_is("main/snaprng-thread", "vmclock", "active"),
    first_output_is_new("main/snaprng-*"),
    nothing_is_shared("main/snaprng-*", "of any generator"),
)

SCENARIOS = (
    Scenario(
        name="counter",
        proves="vmclock with a generation counter, CPU randomness: level synchronous, nothing shared",
        workers=(Worker("main"), Worker("cut", "request=65536", keep=4)),
        checks=(
            PLAIN_REPEATS,
            level_is("main/snaprng-thread", "synchronous"),
            level_is("main/snaprng-owned-plain", "synchronous"),
            first_output_is_new("main/snaprng-* cut/snaprng-*"),
            nothing_is_shared("main/snaprng-* cut/snaprng-*", "of any generator"),
            nothing_is_shared("main/snaprng-new-*", "of a generator first made after the resume", among=True),
            nothing_is_shared("main/snaprng-*@large cut/snaprng-*", "of 64 KiB requests", among=True),
            cut_requests_differ("cut/snaprng-*"),
            measured("main/kernel", "raw getrandom"),
        ),
    ),
    Scenario(
        name="same-guid",
        proves="equal clocks, a hypervisor that never tells the kernel (VMGenID unchanged): still nothing shared",
        shape=NEVER_TOLD,
        workers=(Worker("main"),),
        checks=NOTHING_SHARED_WITH_EQUAL_CLOCKS,
    ),
    Scenario(
        name="c-abi",
        proves="a C program on libsnaprng.a, equal clocks, VMGenID unchanged: its generation ends, nothing shared",
        shape=NEVER_TOLD,
        workers=(Worker("main", body=C_ABI),),
        checks=(*NOTHING_SHARED_WITH_EQUAL_CLOCKS, generation_ends("main")),
    ),
    Scenario(
        name="openssl",
        proves="programs on the system's OpenSSL, equal clocks, VMGenID unchanged: all clones have its own "
               "RAND_bytes in common, and with the provider configured nothing",
        shape=NEVER_TOLD,
        workers=(
            Worker("stock", body=OPENSSL, keep=2000),
            Worker("provider", body=OPENSSL, keep=2000, variables="OPENSSL_CONF=/provider.cnf"),
            Worker("per-call", body=OPENSSL, keep=2000, variables="OPENSSL_CONF=/without-vmclock.cnf"),
        ),
        checks=(
            PLAIN_REPEATS,
            kernel_repeats("*/kernel"),
            clocks_are_equal("stock"),
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
        ),
    ),
    Scenario(
        name="no-cpu-nobody",
        proves="no CPU randomness, VMGenID unchanged, unprivileged: Require refuses until settled, then nothing shared",
        # The hardest case: the kernel is never told, so only its own reseeding after a minute tells the clones apart.
        shape=Shape(cpu_randomness=False, guid=SAME_GUID),
        workers=(
            Worker("prefer", f"nobody settle-ms={LOOK_AFTER_MS}"),
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
            measured(IN_USE, "under Prefer, before the settling time was over", within(SETTLE_SECONDS)),
            measured("prefer/kernel@settled", "raw getrandom, after the settling time"),
        ),
    ),
    Scenario(
        name="no-cpu-root",
        proves="no CPU randomness, root: the library makes the kernel reseed (RNDRESEEDCRNG), nothing shared",
        shape=NO_CPU,
        workers=(Worker("main"),),
        checks=(
            PLAIN_REPEATS,
            level_is("main/snaprng-thread", "synchronous"),
            first_output_is_new("main/snaprng-*"),
            nothing_is_shared("main/snaprng-*", "of any generator"),
            measured("main/kernel", "raw getrandom"),
        ),
    ),
    Scenario(
        name="marker",
        proves="QEMU's vmclock as it is (a marker, no counter): per-call, or accepted by name, nothing shared",
        counter=False,
        workers=(Worker("main", owned=("plain", "marker")),),
        checks=(
            PLAIN_REPEATS,
            level_is("main/snaprng-thread", "per-call"),
            level_is("main/snaprng-owned-plain", "per-call"),
            level_is("main/snaprng-owned-marker", "accepted"),
            first_output_is_new("main/snaprng-*"),
            nothing_is_shared("main/snaprng-*", "of any generator"),
            nothing_is_shared("main/snaprng-*-marker*", "of a buffered generator that accepts the marker", among=True),
            measured("main/kernel", "raw getrandom"),
        ),
    ),
    Scenario(
        name="late-agent",
        proves="no vmclock, an agent 300 ms late: accept_late shares (the negative control), Prefer does not",
        counter=False,
        workers=(
            Worker("agent", "delay-ms=300", body="agent"),
            Worker("main", "vmclock-off", owned=("plain", "late")),
        ),
        checks=(
            PLAIN_REPEATS,
            level_is("main/snaprng-thread", "per-call"),
            level_is("main/snaprng-owned-late", "accepted"),
            something_is_shared("main/snaprng-owned-late",
                                "a generator that accepts a late witness repeats itself until the agent moves its page",
                                before_agent),
            nothing_is_shared("main/snaprng-owned-late", "of that generator once the page has moved", after_agent),
            first_output_is_new("main/snaprng-thread main/snaprng-owned-plain main/snaprng-new-*"),
            nothing_is_shared("main/snaprng-thread* main/snaprng-owned-plain* main/snaprng-new-*",
                              "under plain Prefer, or of generators made after the resume"),
        ),
    ),
    Scenario(
        name="hog",
        proves="equal clocks, a real-time hog on the only CPU keeps the kernel from reseeding: still nothing shared",
        shape=HOGGED,
        workers=(Worker("main", "hog"),),
        checks=NOTHING_SHARED_WITH_EQUAL_CLOCKS,
    ),
    Scenario(
        name="hog-marker",
        proves="the same hog without a counter: per-call and accepted marker, nothing shared",
        shape=HOGGED,
        counter=False,
        workers=(Worker("main", "hog", owned=("plain", "marker")),),
        checks=(
            PLAIN_REPEATS,
            kernel_repeats("main/kernel"),
            clocks_are_equal("main"),
            level_is("main/snaprng-thread", "per-call"),
            level_is("main/snaprng-owned-marker", "accepted"),
            first_output_is_new("main/snaprng-*"),
            nothing_is_shared("main/snaprng-*", "of any generator"),
        ),
    ),
    Scenario(
        name="hog-no-cpu-root",
        proves="the hog, no CPU randomness, root: measures what a forced kernel reseed is worth where clocks are equal",
        shape=HOGGED_NO_CPU,
        workers=(Worker("main", f"hog settle-ms={LOOK_AFTER_MS}"),),
        checks=(
            PLAIN_REPEATS,
            clocks_are_equal("main"),
            nothing_is_shared("main/snaprng-*@settled", "asked for after the settling time"),
            measured(IN_USE, "under Prefer, after RNDRESEEDCRNG, before the settling time was over",
                     within(SETTLE_SECONDS)),
            measured("main/kernel", "raw getrandom"),
        ),
    ),
    Scenario(
        name="hog-no-cpu",
        proves="the hog, no CPU randomness, unprivileged: what Prefer shares is measured, it says so, settled none",
        shape=HOGGED_NO_CPU,
        workers=(Worker("main", f"hog nobody settle-ms={LOOK_AFTER_MS}"),),
        checks=(
            PLAIN_REPEATS,
            kernel_repeats("main/kernel"),
            clocks_are_equal("main"),
            reports_no_diversity("main/snaprng-thread"),
            nothing_is_shared("main/snaprng-*@settled", "asked for after the settling time"),
            measured(IN_USE, "under Prefer, before the settling time was over", within(SETTLE_SECONDS)),
        ),
    ),
)
