"""What clones of one snapshot put on the wire: with snapsafed, without it, and when nobody announced the snapshot."""

import re
import time
from collections import Counter

from ..beacons import first_packet_after, ids
from ..machine import Machine
from ..pcap import ARP, RARP, Wire
from . import Scenario, Scene

#: Those without whose answers the network stays cut.
REQUIRED = ("beacon", "connection", "patient")
#: How long clones are watched, in seconds.
WATCH = 2.0
#: Makes the kernel look for the gateway's link address.
ASK_FOR_THE_NEIGHBOUR = "ip neigh replace 10.0.2.2 dev eth0 lladdr 52:55:0a:00:02:02 nud probe"


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
    twice = sum(count > 1 for count in seen.values())
    scene.check(f"{laboratory.clones + 1} worlds with {len(seen)} session ids; {twice} are on the wire of two.",
                not twice and len(seen) == laboratory.clones + 1)


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


def links(scene: Scene) -> None:
    """The gate at the links: a quiesced machine and its clones are silent altogether."""
    laboratory = scene.laboratory
    with scene.machine(counter=True) as original:
        scene.put_the_gate_at_the_links(original)
        before, old = _settled_network(original), original.journal_of("beacon")["id"]
        scene.quiesce(original)
        gate = original.run("snapsafectl status").out
        scene.check("Its gate is at the links, and names neither ARP nor packet sockets as what passes.",
                    "link" in gate and "ARP" not in gate and "AF_PACKET" not in gate)
        _is_mute(scene, original, len(original.wire.packets), "The original")
        snapshot = laboratory.save(original, scene.folder / "snapshot", has_counter=True)
        original.resume()
        answer = original.ask("UNQUIESCE 30000 resumed")
        original.wait_for("packets flow", lambda: original.packets_in(0.5).ip)
        kept = original.journal_of("beacon")["id"] == old and _network(original) == before
        scene.check(f"The original goes on, with its id, routes and addresses: {answer}",
                    kept and answer.startswith("OK running") and "outcome=resumed" in answer)
    with laboratory.clone(scene.folder / "clone-1", snapshot) as clone:
        _is_mute(scene, clone, 0, "A clone, from its first instruction on,")
        found = _network(clone)
        scene.check("Its routes and addresses are those of the original.", found == before, before=before, found=found)
        given = _thaw(scene, clone, "The clone")
        scene.check("Its session id is not the original's.", given and old not in given)


def _network(machine: Machine) -> list[str]:
    """Its addresses and routes, without the times for which routers promised them."""
    text = machine.run("ip -o address; ip -4 route show table all; ip -6 route show table all").out
    return sorted(re.sub(r"(valid_lft|preferred_lft|expires) \S+", "", line) for line in text.splitlines())


def _settled_network(machine: Machine) -> list[str]:
    """The same, once the router has said what there is, and nobody else has the addresses."""

    def settled() -> list[str]:
        found = _network(machine)
        is_complete = any("proto ra" in line for line in found) and not any("tentative" in line for line in found)
        return found if is_complete else []

    return machine.wait_for("the router is heard and no address is tentative", settled)


def _is_mute(scene: Scene, machine: Machine, since: int, name: str) -> None:
    """No frame of any kind leaves it, though it is made to ask for a neighbour. QEMU's own RARP is not its."""
    machine.run(ASK_FOR_THE_NEIGHBOUR)
    time.sleep(WATCH)
    wire = Wire(machine.wire.packets[since:])
    frames = len(wire.packets) - wire.counts[RARP]
    scene.check(f"{name} sends {frames} frames of any kind, QEMU's RARP apart ({wire}).", frames == 0,
                packets=dict(wire.counts))


def _arp(scene: Scene, clone: Machine) -> None:
    """Whether a quiesced machine asks for link addresses, if the kernel wants to know one."""
    before = clone.wire.counts[ARP]
    clone.run(ASK_FOR_THE_NEIGHBOUR)
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
    scene.check(f"Each of {laboratory.clones} clones noticed by itself and cut its network; they came back with "
                f"{len(seen)} ids.", len(seen) == laboratory.clones and all(count == 1 for count in seen.values()))


def _generation(machine: Machine) -> int:
    words = dict(word.split("=", 1) for word in machine.ask("STATUS").split() if "=" in word)
    return int(words["gen"])


SCENARIOS = (
    Scenario("control", "without snapsafed, clones of one snapshot repeat a session id on the wire", control),
    Scenario("quiesced", "clones of a quiesced machine send nothing before applications answered, and repeat no id",
             quiesced),
    Scenario("links", "with the gate at the links a quiesced machine and its clones send no frame of any kind", links),
    Scenario("unannounced", "clones of a snapshot that nobody announced notice, and adapt behind a shut gate",
             unannounced),
)
