"""The steps, each a function that raises if it fails, and their order."""

import re
import tempfile
from pathlib import Path

from .claims import missing
from .commands import (
    LONG_HANGS_AFTER_SECONDS,
    SKIP_MARK,
    UNAVAILABLE,
    Unprovable,
    cargo,
    must,
    must_unless_unavailable,
    must_unless_unprovable,
    run,
)
from .needs import need, need_nightly, need_rust, need_target
from .terminal import TERMINAL
from .trees import target_folder

#: The benchmarks beside other libraries: a package of its own.
PEERS = "benches/peers/Cargo.toml"

AARCH64 = "aarch64-unknown-linux-gnu"
OTHER_TARGETS = [AARCH64, "x86_64-pc-windows-gnu", "x86_64-apple-darwin", "x86_64-unknown-linux-musl"]


def formatting(_skips):
    need_rust()
    cargo("fmt", "--all", "--check")
    cargo("fmt", "--manifest-path", "fuzz/Cargo.toml", "--check")
    cargo("fmt", "--manifest-path", PEERS, "--check")


def lints(_skips):
    need_rust()
    cargo("clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings")
    # Without the features, which are peers that take minutes to build.
    peers = ["--manifest-path", PEERS, "--no-default-features", "--locked"]
    cargo("clippy", *peers, "--all-targets", "--", "-D", "warnings")
    fuzz = ["--manifest-path", "fuzz/Cargo.toml", "--locked"]
    flags = {"RUSTFLAGS": "--cfg fuzzing", "CARGO_TARGET_DIR": str(target_folder("fuzz-lints"))}
    cargo("clippy", *fuzz, "--all-targets", "--", "-D", "warnings", **flags)


def documentation(_skips):
    need_rust()
    cargo("doc", "--workspace", "--no-deps", "--locked", RUSTDOCFLAGS="-D warnings")


def tests(skips):
    need_rust()
    cargo("test", "--workspace", "--locked", "--no-fail-fast", skips=skips)
    cargo("test", "--manifest-path", PEERS, "--no-default-features", "--locked")


def optimized_tests(skips):
    need_rust()
    selection = ["--workspace", "--tests", "--release", "--locked", "--no-fail-fast"]
    cargo("test", *selection, "--", "--include-ignored", "--skip", ALL_PAIRS, skips=skips)


def rustix_by_libc(_skips):
    """The library where rustix, by which it calls the system, does so by libc: on machines for which that has no
    assembly, and wherever a crate of the same program asks for it."""
    need_rust()
    flags = {"RUSTFLAGS": "--cfg rustix_use_libc", "CARGO_TARGET_DIR": str(target_folder("by-libc"))}
    tests_of_it = ["--lib", *(f"--test={name}" for name in SYSTEM)]
    cargo("test", "--package=snaprng", "--locked", "--no-fail-fast", *tests_of_it, **flags)


#: Tests of what the library asks of the system.
SYSTEM = ["emulated", "hostile_witnesses", "policy", "process_page", "scarcity", "signals_and_threads", "stand_in"]


#: A million pairs of copies, one within the other: minutes of a core.
ALL_PAIRS = "copies_of_copies_share_nothing_whatever_made_them"


def all_pairs(_skips):
    need_rust()
    selection = ["--package=snaprng", "--lib", "--release", "--locked", "--", "--ignored", "--nocapture", ALL_PAIRS]
    cargo("test", *selection)


#: What SNAPRNG_KERNEL calls the cipher's kernels, and the flag of /proc/cpuinfo that each needs.
KERNELS = {"portable": None, "avx2": "avx2", "avx512": "avx512f"}


def kernels(skips):
    """The library's own tests, and those with real processes, on each kernel that this CPU has."""
    need_rust()
    flags = set(re.findall(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[:1])
    flags = set(" ".join(flags).split())
    for kernel, flag in KERNELS.items():
        if flag and flag not in flags:
            skip = f"the {kernel} kernel on a real CPU: this one has no {flag} (see avx512-emulated)"
            TERMINAL.say(SKIP_MARK + skip)
            skips.append(skip)
            continue
        selection = ["--package=snaprng", "--lib", "--tests", "--release", "--locked", "--no-fail-fast"]
        cargo("test", *selection, skips=skips, SNAPRNG_KERNEL=kernel)


def other_target(target: str):
    def check(_skips):
        need_rust()
        need_target(target)
        cargo("check", "--locked", "--target", target)

    return check


def aarch64_tests(skips):
    need_rust()
    need_target(AARCH64)
    need(
        {
            "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
            "/usr/aarch64-linux-gnu/lib/crt1.o": "libc6-dev-arm64-cross",
            "qemu-aarch64": "qemu-user",
        }
    )
    cargo(
        "test",
        "--package=snaprng",
        "--lib",
        "--test=emulated",
        "--release",
        "--locked",
        f"--target={AARCH64}",
        skips=skips,
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER="aarch64-linux-gnu-gcc",
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu",
    )


#: What the unit of the daemon may expose, by systemd's own count.
MOST_EXPOSURE = 3.0


def units(_skips):
    """The units are what systemd understands, and let the daemon do no more than it has to."""
    need({"systemd-analyze": "systemd"})
    unit = "dist/systemd/snapsafed.service"
    must(["systemd-analyze", "security", "--offline=true", f"--threshold={round(MOST_EXPOSURE * 10)}", unit])


def avx512_emulated(skips):
    need_rust()
    need(
        {
            "bochs": "bochs",
            # Bochs' display on a terminal; without it, apt would choose one that needs a desktop.
            "/usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_term_gui.so": "bochs-term",
            "/usr/share/bochs/BIOS-bochs-latest": "bochsbios",
            "/usr/share/bochs/VGABIOS-lgpl-latest": "vgabios",
            "xorriso": "xorriso",
            "/usr/lib/ISOLINUX/isolinux.bin": "isolinux",
            "/usr/lib/syslinux/modules/bios/ldlinux.c32": "syslinux-common",
            "strip": "binutils",
        }
    )
    must_unless_unavailable(["tests/avx512/run"], skips)


#: Each takes an input as a list of decisions: see fuzz/fuzz_targets.
FUZZ_TARGETS = ["vmclock_page", "sysgenid", "agent_page", "c_abi_structs", "provider_params", "snapsafe_messages"]
FUZZ_SECONDS, FUZZ_LONG_SECONDS = 15, 600


def fuzz_for(seconds: int):
    def fuzz(_skips):
        need_rust()
        need({"g++": "g++"})
        for target in FUZZ_TARGETS:
            # Prints executions and coverage, and for an input that fails how to run it again.
            must(["fuzz/run", target, str(seconds)])

    return fuzz


def c_abi(skips):
    need_rust()
    must(["tests/capi/run"], skips)


def openssl(skips):
    need_rust()
    # The rest, which a step of it may do without, it gets itself.
    need({"openssl": "openssl", "/usr/include/openssl/core_dispatch.h": "libssl-dev"})
    must(["tests/openssl/run"], skips)


def criu(skips):
    need_rust()
    need({"pkg-config": "pkg-config", "/usr/include/openssl/core_dispatch.h": "libssl-dev"})
    must_unless_unprovable(["tests/criu/run"], skips)


def wrong_orders(_skips):
    need_rust()
    must(["tests/mutants/wrong_orders"])


def gvisor(skips):
    need_rust()
    need({"runsc": "runsc"})
    must_unless_unprovable(["tests/gvisor/run"], skips)


def address_sanitizer(_skips):
    """The library's unsafe code apart from its assembly, which no sanitizer sees. The option is unstable; it is std that
    would have to be built for the thread sanitizer."""
    need_rust()
    selection = ["--package=snaprng", "--lib", "--test=requests", "--locked", "--target=x86_64-unknown-linux-gnu"]
    flags = {"RUSTC_BOOTSTRAP": "1", "RUSTFLAGS": "-Zsanitizer=address", "CARGO_TARGET_DIR": str(target_folder("address"))}
    # It puts what a function leaves on the stack somewhere else, and the address is what that test looks at.
    cargo("test", *selection, "--", *without(["the_real_diversifiers"]), **flags)


#: Unit tests that Miri interprets: rooms with unsafe code or atomics that need neither a mapping nor a system call.
MIRI_TESTS = ["entropy::", "environment::", "policy::", "world::cause", "world::claim", "world::platform",
              "world::process", "world::tests", "world::vmclock", "rng::", "generator::buffer", "generator::tests::failures",
              "generator::tests::levels", "generator::tests::order", "keys::an_absorb", "keys::what_was",
              "cipher::tests::a_s", "cipher::tests::the", "cipher::tests::later"]
#: What Miri does not know, and what it would take minutes for.
MIRI_KNOWS_NOT = ["kernel::linux", "device", "it_gives_bytes", "every_state_serves", "a_clock_that_every_vdso",
                  "the_time_stamp", "the_real_", "cpu_and_firmware", "a_mapped_header", "another_thread_waits",
                  "process::identity"]
MIRI_TAKES_LONG = ["what_is_no_image", "settling_ends", "output_of_a_request", "a_dropped_page_does_not_restart",
                   "absorbs_at_each_stage", "a_new_machine_unsettles", "per_call_draws", "a_late_witness_never",
                   "without_cpu_randomness"]


def miri(_skips):
    """Undefined behaviour, by an interpreter; on the portable kernel, for it has no other's instructions."""
    need_rust()
    need_nightly("miri", "rust-src")
    left_out = without(MIRI_KNOWS_NOT + MIRI_TAKES_LONG)
    command = ["+nightly", "miri", "test", "--package=snaprng", "--lib", "--locked", "--", *MIRI_TESTS, *left_out]
    folder = str(target_folder("miri"))
    cargo(*command, MIRIFLAGS="-Zmiri-disable-isolation", PROPTEST_CASES="1", CARGO_TARGET_DIR=folder)


#: They play a generator against itself a thousand times over, in one thread, and without code of their own.
PURE_AND_LONG = ["generator::tests::co", "generator::tests::model", "mebibyte", "bytes_that_absorbs_make"]


def thread_sanitizer(_skips):
    """Races that threads really come to, std's own code included, which is built for it."""
    need_rust()
    need_nightly("rust-src")
    target = "x86_64-unknown-linux-gnu"
    build = ["+nightly", "test", "-Zbuild-std", f"--target={target}", "--package=snaprng", "--locked"]
    flags = {"RUSTFLAGS": "-Zsanitizer=thread", "CARGO_TARGET_DIR": str(target_folder("thread")), "PROPTEST_CASES": "4"}
    cargo(*build, "--lib", "--", *without(PURE_AND_LONG), **flags)
    # It allows no thread in a child of a process that had several.
    threads = ["--test=signals_and_threads", "--", "thread", *without(["threads_of_a_child"])]
    cargo(*build, *threads, **flags)


def valgrind(_skips):
    """Reads of what was never written, in Rust's own tests. AVX-512 is unknown to valgrind."""
    need_rust()
    need({"valgrind": "valgrind"})
    runner = "valgrind -q --error-exitcode=9 --errors-for-leak-kinds=none"
    flags = {"CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER": runner, "PROPTEST_CASES": "2"}
    tests = ["test", "--package=snaprng", "--lib", "--locked", "--", "--test-threads=1"]
    # What asks every kernel for every length is as good a test of valgrind's patience as of them.
    cargo(*tests, *without([*PURE_AND_LONG, "avx512", "kernel::tests"]), **flags)


def planted_bugs(skips):
    """Each of these four finds a bug of its kind in the library, whichever other tests it leaves out."""
    need_rust()
    must(["tests/mutants/planted_bugs"], skips, hangs_after=LONG_HANGS_AFTER_SECONDS)


def without(names: list[str]) -> list[str]:
    """Arguments for libtest that leave out tests with these in their names."""
    return [argument for name in names for argument in ("--skip", name)]


def models(_skips):
    """What threads share without a lock, under every order in which they may take turns (src/sync.rs)."""
    need_rust()
    # Atomics are loom's in this build: a folder of its own, so that the others need not be built again.
    selection = ["--package=snaprng", "--lib", "--locked", "--", "models::", "--nocapture"]
    cargo("test", *selection, RUSTFLAGS="--cfg loom", CARGO_TARGET_DIR=str(target_folder("loom")))


def second_implementation(_skips):
    must(["tests/reference/stream.py", "--check"])


def instructions(_skips):
    need_rust()
    need({"valgrind": "valgrind"})
    code = run(["tests/instructions/run"])
    if code == UNAVAILABLE:
        raise Unprovable("the kernel for AVX2, whose instructions are counted, cannot run on this CPU")
    if code != 0:
        raise RuntimeError(f"tests/instructions/run ended with code {code}")


def benches(_skips):
    """That they work: the figures of such a short run are worth nothing."""
    need_rust()
    cargo("bench", "--locked", "--bench", "library", "--", "--test")
    peers = ["run", "--release", "--no-default-features", "--locked", "--manifest-path", PEERS]
    # All tables but that of a kernel that this CPU may not have.
    tables = ["--tables", "settled,twelve,default,unsettled", "--skip-settling"]
    cargo(*peers, "--", *tables, "--quick", "--rounds", "1", "--batch", "20")


def supply_chain(skips):
    need_rust()
    must(["tests/supply_chain/run"], skips)


def claims(_skips):
    wrong = missing(STEPS.keys() | LONG_STEPS.keys())
    if wrong:
        raise RuntimeError("the table in tests/README.md: " + "; ".join(wrong))


def mutants(_skips):
    need_rust()
    must(["tests/mutants/run"], hangs_after=LONG_HANGS_AFTER_SECONDS)


def demo(_skips):
    need_rust()
    cargo("run", "--release", "--locked", "--", "demo")


def vm_clones(skips):
    need_rust()
    need({"pkg-config": "pkg-config", "/usr/include/openssl/core_dispatch.h": "libssl-dev"})
    must(["tests/vm/run", "--self-test"])
    with tempfile.TemporaryDirectory() as streams:
        must_unless_unavailable(["tests/vm/run", "--streams", streams], skips)
        must(["tests/statistics/run", "--clones", streams])


def systemwide(skips):
    need_rust()
    need_target("x86_64-unknown-linux-musl")
    need({"mmdebstrap": "mmdebstrap"})
    must(["tests/systemwide/run", "--self-test"])
    must_unless_unavailable(["tests/systemwide/run"], skips)


def vm_clones_long(skips):
    """The whole matrix. Machines that are finished, with these very sources, are left out when it is started again."""
    need_rust()
    command = ["tests/vm/run", "--all", "--clones", "8", "--at-least", "1000000"]
    kept = ["--resume", "tests/vm/.finished", "--record", "tests/vm/results"]
    must_unless_unavailable([*command, *kept], skips, LONG_HANGS_AFTER_SECONDS)


def statistics(skips):
    need_rust()
    need({"dieharder": "dieharder"})
    must_unless_unavailable(["tests/statistics/run"], skips)


def statistics_long(skips):
    need_rust()
    need({"dieharder": "dieharder"})
    must_unless_unavailable(["tests/statistics/run", "--long"], skips, LONG_HANGS_AFTER_SECONDS)


STEPS = {
    "format": formatting,
    "lints": lints,
    "tests": tests,
    "optimized-tests": optimized_tests,
    "rustix-by-libc": rustix_by_libc,
    "kernels": kernels,
    "models": models,
    "second-implementation": second_implementation,
    "documentation": documentation,
    "units": units,
    **{f"check-{target}": other_target(target) for target in OTHER_TARGETS},
    "aarch64-tests": aarch64_tests,
    "avx512-emulated": avx512_emulated,
    "fuzz": fuzz_for(FUZZ_SECONDS),
    "c-abi": c_abi,
    "openssl": openssl,
    "criu": criu,
    "gvisor": gvisor,
    "valgrind": valgrind,
    "instructions": instructions,
    "benches": benches,
    "supply-chain": supply_chain,
    "claims": claims,
    "demo": demo,
    "statistics": statistics,
    "vm-clones": vm_clones,
    "systemwide": systemwide,
}
LEFT_OUT_BY_QUICK = ["vm-clones", "systemwide"]

#: What takes hours. Each keeps what it has finished, says so, and goes on from there when it is started again.
LONG_STEPS = {
    "all-pairs": all_pairs,
    "wrong-orders": wrong_orders,
    "mutants": mutants,
    "miri": miri,
    "address-sanitizer": address_sanitizer,
    "thread-sanitizer": thread_sanitizer,
    "planted-bugs": planted_bugs,
    "fuzz-long": fuzz_for(FUZZ_LONG_SECONDS),
    "vm-clones-long": vm_clones_long,
    "statistics-long": statistics_long,
}
