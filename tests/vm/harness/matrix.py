"""Every combination of what may matter about a machine, the process in it, and the moment of the snapshot: 96 points.

Points that differ only in what a process is or does share a machine, each as a worker of its own. Two that would
disturb each other do not: where the CPU has no randomness, a privileged process makes the whole kernel reseed.
"""

from dataclasses import astuple, dataclass
from itertools import combinations, product

CPUS = (1, 2)
WITNESSES = ("counter", "marker", "novmclock")
RANDOMNESS = ("rdrand", "norand")
KERNELS = ("told", "hog")  # told of the clone at once, or kept from running by a process with real-time priority
MOMENTS = ("idle", "request")  # what the snapshot finds the process doing
PRIVILEGES = ("root", "nobody")


@dataclass(frozen=True)
class Point:
    """One combination."""

    cpus: int
    witness: str
    randomness: str
    kernel: str
    moment: str
    privilege: str

    @property
    def name(self) -> str:
        return f"{self.cpus}cpu-" + "-".join(astuple(self)[1:])

    @property
    def worker(self) -> str:
        """The name of its process among those of its machine."""
        return f"{self.moment}-{self.privilege}"

    @property
    def machine(self) -> str:
        """The name of the machine it is found in."""
        shape = f"{self.cpus}cpu-{self.witness}-{self.randomness}-{self.kernel}"
        return shape if self.randomness == "rdrand" else f"{shape}-{self.privilege}"

    # What follows from the design: see README.md.

    @property
    def level(self) -> str:
        return "synchronous" if self.witness == "counter" else "per-call"

    @property
    def learns_of_the_copy(self) -> bool:
        """Whether the library can know that the machine was cloned before its next output."""
        return self.witness != "novmclock"

    @property
    def diversity(self) -> str:
        """What the library reports to tell this clone from the others."""
        if self.randomness == "rdrand":
            return "CPU 256 bits"
        return "kernel made to reseed" if self.privilege == "root" else "none"

    @property
    def never_shares(self) -> bool:
        """Whether nothing at all that was asked for after the resume may be shared, also before settling is over.

        A kernel that is made to reseed has its clock to mix in, which differs between clones unless a hog's machine
        keeps it from doing so; and only a library that knows of the copy makes it.
        """
        reseeds = self.privilege == "root" and self.kernel == "told" and self.learns_of_the_copy
        return self.randomness == "rdrand" or reseeds

    @property
    def never_shares_a_cut_request(self) -> bool:
        """Whether a request that the snapshot cuts in half is made again."""
        return self.never_shares and self.learns_of_the_copy


POINTS = tuple(Point(*values) for values in product(CPUS, WITNESSES, RANDOMNESS, KERNELS, MOMENTS, PRIVILEGES))

#: The machines of `tests/run`. Their points contain every two values of every two dimensions; test_matrix.py says so.
COVERING = (
    "1cpu-counter-rdrand-hog",
    "2cpu-counter-norand-told-root",
    "1cpu-marker-rdrand-told",
    "2cpu-marker-norand-hog-nobody",
    "1cpu-novmclock-norand-hog-root",
    "2cpu-novmclock-rdrand-told",
)


def machines() -> dict[str, tuple[Point, ...]]:
    """All machines by their names, with the points in each."""
    found: dict[str, tuple[Point, ...]] = {}
    for point in POINTS:
        found[point.machine] = (*found.get(point.machine, ()), point)
    return found


def pairs(points) -> set[tuple]:
    """Every two values of two dimensions that some of these points has."""
    return {pair for point in points for pair in combinations(enumerate(astuple(point)), 2)}
