"""What clones of one snapshot put on the wire: with snapsafed, without it, and when nobody announced the snapshot."""

import time
from collections import Counter

from ..beacons import first_packet_after, ids
from ..machine import Machine
from ..pcap import ARP
from . import Scenario, Scene

#: Those without whose answers the network stays cut.
REQUIRED = ("beacon", "connection", "patient")
#: How long clones are watched, in seconds.
WATCH = 2.0


def control(scene: Scene) -> None:
    """Without the daemon, ids repeat: else the other scenarios would prove nothing."""
    with scene.machine() as original:
        original.run("systemctl stop snapsafed")
        before = original.journal_of("beacon")["id"]
        snapshot = scene.laboratory.save(original, scene.folder / "snapshot")
    seen = []
    for number in range(1, scene.laboratory.clones + 1):
        with scene.laboratory.clone(scene.folder / f"clone-{number}", snapshot) as clone:
            time.sleep(WATCH)
            wire = clone.wire
            reseeded = "random: crng reseeded due to virtual machine fork" in clone.run("dmesg").out
        seen.append(ids(wire))
        told = "its kernel had reseeded" if reseeded else "its kernel had not reseeded"
        scene.note(f"Clone {number} sent {wire}; {told}.", packets=dict(wire.counts))
    repeated = set.intersection(*map(set, seen))
    scene.check(f"As it must without snapsafed, all {len(seen)} clones gave the same session id, the original's: "
                f"{', '.join(str(sum(one.values())) for one in seen)} packets carried it.",
                repeated == {before}, control=True)


def quiesced(scene: Scene) -> None:
    """One snapshot of a quiesced machine: no clone sends anything before its applications have answered."""
    laboratory = scene.laboratory
    with scene.machine(counter=True) as original:
        old = original.journal_of("beacon")["id"]
        answer = original.ask("QUIESCE 30000")
        scene.check(f"The host's QUIESCE: {answer}", answer.startswith("OK quiesced"))
        scene.is_silent(original, 1.0, "The original is silent")
        snapshot = laboratory.save(original, scene.folder / "snapshot", has_counter=True)
    seen: Counter = Counter({old: 1})
    for number in range(1, laboratory.clones + 1):
        with laboratory.clone(scene.folder / f"clone-{number}", snapshot) as clone:
            scene.is_silent(clone, WATCH, f"Clone {number} is silent until it is thawed")
            if number == 1:
                _arp(scene, clone)
            seen += _thaw(scene, clone, f"Clone {number}")
    scene.check(f"{len(seen)} worlds, {len(seen)} session ids: none is on the wire of two.",
                all(count == 1 for count in seen.values()) and len(seen) == laboratory.clones + 1)


def _thaw(scene: Scene, clone: Machine, name: str) -> Counter:
    """Unquiesce a clone; the ids it then gave, each counted once."""
    before = len(clone.wire.ip)
    answer = clone.ask("UNQUIESCE 30000")
    last = max(int(clone.journal_of(one)["acked"]) for one in REQUIRED)
    clone.wait_for("packets flow", lambda: len(ids(clone.wire)) > 0)
    time.sleep(WATCH)
    wire = clone.wire
    after = first_packet_after(last, wire)
    scene.check(f"{name}: {answer}", answer.startswith("OK running") and "outcome=restored" in answer)
    scene.check(f"{name} sent {before} IP packets before that, and its first {after:.1f} ms after the last answer of "
                f"its applications; then {wire}.", before == 0 and after is not None and after > 0,
                packets=dict(wire.counts), first_packet_ms_after_last_answer=after)
    return Counter(dict.fromkeys(ids(wire), 1))


def _arp(scene: Scene, clone: Machine) -> None:
    """Whether a quiesced machine asks for link addresses, if the kernel wants to know one."""
    before = clone.wire.counts[ARP]
    clone.run("ip neigh replace 10.0.2.2 dev eth0 lladdr 52:55:0a:00:02:02 nud probe")
    time.sleep(1)
    asked = clone.wire.counts[ARP] - before
    scene.note(f"ARP {'passes' if asked else 'does not pass'} the gate: {asked} packets of a kernel that was made to "
               "look for its neighbour.", arp=asked)


def unannounced(scene: Scene) -> None:
    """A snapshot that nobody announced: best effort, and measured."""
    laboratory = scene.laboratory
    with scene.machine(counter=True) as original:
        old = original.journal_of("beacon")["id"]
        generation = _generation(original)
        snapshot = laboratory.save(original, scene.folder / "snapshot", has_counter=True)
    seen: Counter = Counter()
    for number in range(1, laboratory.clones + 1):
        with laboratory.clone(scene.folder / f"clone-{number}", snapshot) as clone:
            clone.wait_for("it adapts", lambda: _generation(clone) > generation
                           and clone.ask("STATUS").startswith("OK running"))
            clone.wait_for("packets flow", lambda: set(ids(clone.wire)) - {old})
            carried = ids(clone.wire)
        scene.note(f"Clone {number}: {carried[old]} packets carried the original's id before the gate was shut.",
                   leaked=carried[old])
        seen += Counter(dict.fromkeys(set(carried) - {old}, 1))
    scene.check("Every clone noticed by itself, cut its network, and came back with an id of its own.",
                len(seen) == laboratory.clones and all(count == 1 for count in seen.values()))


def _generation(machine: Machine) -> int:
    words = dict(word.split("=", 1) for word in machine.ask("STATUS").split() if "=" in word)
    return int(words["gen"])


SCENARIOS = (
    Scenario("control", "without snapsafed, clones of one snapshot repeat a session id on the wire", control),
    Scenario("quiesced", "clones of a quiesced machine send nothing before applications answered, and repeat no id",
             quiesced),
    Scenario("unannounced", "clones of a snapshot that nobody announced notice, and adapt behind a shut gate",
             unannounced),
)
