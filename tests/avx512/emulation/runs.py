"""What is run in the emulated machine."""

from dataclasses import dataclass, field

UNIT_TESTS, EMULATED = "unit-tests", "emulated"

#: Nothing may be left out unseen, and a test that hangs must be named in the log before it does.
ALWAYS = ["--nocapture", "--test-threads=1"]

#: Where the generator is played against its model, and copied at every step: that takes minutes in emulation, and what it looks for does not
#: depend on the kernel that makes the bytes.
MODEL = ["no_history_of_copies_and_failures_hands_a_block_out_twice",
         "without_any_witness_of_the_machine_forks_are_told_all_the_same"]  # fmt: skip
GENERATOR = ["generator::", "--skip=generator::tests::copies::", *(f"--skip={test}" for test in MODEL)]


@dataclass(frozen=True)
class Run:
    """One start of a test program, and what it proves."""

    proves: str
    program: str
    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def line(self) -> str:
        """What the machine's init reads (init/src/main.rs)."""
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        return " ".join([*settings, f"/{self.program}", *self.arguments, *ALWAYS])


RUNS = [
    Run("every kernel makes the stream of the oracle", UNIT_TESTS, ["cipher::"]),
    Run("the generator's tests and frozen vectors, but for models and copies, with AVX-512", UNIT_TESTS, GENERATOR,
        {"SNAPRNG_KERNEL": "avx512"}),  # fmt: skip
    Run("the same with AVX2", UNIT_TESTS, GENERATOR, {"SNAPRNG_KERNEL": "avx2"}),
    # The library refuses to install if the CPU lacks the kernel that is asked for.
    Run("a whole process and its children, with AVX-512", EMULATED, [], {"SNAPRNG_KERNEL": "avx512"}),
]
