"""What goes wrong, and keeps the network cut: hung applications, a daemon that is killed, a host that forgets, an
administrator."""

import time

from ..beacons import ids
from ..machine import Machine
from . import Scenario, Scene

#: How long silence is listened to, in seconds.
LISTEN = 1.0


def hung(scene: Scene) -> None:
    """A required application that does not answer keeps the clone silent; when it recovers, a retry goes through."""
    with scene.machine() as original:
        old = original.journal_of("beacon")["id"]
        scene.quiesce(original)
        snapshot = scene.laboratory.save(original, scene.folder / "snapshot")
    with scene.laboratory.clone(scene.folder / "clone", snapshot) as clone:
        clone.run("systemctl kill -s STOP patient")
        before = len(clone.wire.ip)
        answer = clone.ask("UNQUIESCE 3000")
        scene.check(f"The host's UNQUIESCE, while an application hangs: {answer}",
                    answer.startswith("ERR expired") and "patient" in answer)
        renewed = clone.journal_of("beacon")["id"]
        scene.check(f"Another application has {'a new' if renewed != old else 'the old'} id, and would talk.",
                    renewed != old)
        scene.is_silent(clone, LISTEN, "The clone stays silent")
        status = clone.ask("STATUS")
        scene.check(f"It says why: {status}", status.startswith("OK quiesced") and "degraded" in status)
        sent = len(clone.wire.ip)
        clone.run("systemctl kill -s CONT patient")
        answer = clone.ask("UNQUIESCE 30000")
        clone.wait_for("packets flow", lambda: ids(clone.wire))
        carried = ids(clone.wire)
        scene.check(f"The application goes on, and the host tries again: {answer}", answer.startswith("OK running"))
        scene.check(f"{before} and {sent} IP packets until then; then {clone.wire}, {carried[old]} with the old id.",
                    before == sent == 0 and old not in carried and len(carried) == 1)


def killed(scene: Scene) -> None:
    """The daemon is killed in every state; the next one goes on with the same transition."""
    with scene.machine() as machine:
        _in_every_state(scene, machine)


def link_killed(scene: Scene) -> None:
    """The same, with the gate at the links."""
    with scene.machine() as machine:
        scene.put_the_gate_at_the_links(machine)
        _in_every_state(scene, machine)
        gate = machine.run("snapsafectl status").out
        scene.check("The gate was at the links.", "link" in gate and "ARP" not in gate)


def _in_every_state(scene: Scene, machine: Machine) -> None:
    """Kill it while running, quiescing, quiesced and unquiescing, and come to the end."""
    _kill(scene, machine, "running")
    scene.check("After it, the machine runs and packets flow.", machine.packets_in(LISTEN).ip)
    machine.run("systemctl kill -s STOP patient")
    # Whose answer never comes: the daemon that knew the question dies.
    machine.run("snapsafectl quiesce --timeout 60s > /dev/null 2>&1 &")
    machine.wait_for("it quiesces", lambda: machine.is_in("quiescing"))
    _kill(scene, machine, "quiescing")
    machine.run("systemctl kill -s CONT patient")
    machine.wait_for("it is quiesced", lambda: machine.is_in("quiesced"))
    _kill(scene, machine, "quiesced", silent=True)
    scene.is_silent(machine, LISTEN, "After the restart")
    machine.run("systemctl kill -s STOP patient")
    machine.run("snapsafectl unquiesce --timeout 60s > /dev/null 2>&1 &")
    machine.wait_for("it unquiesces", lambda: machine.is_in("unquiescing"))
    _kill(scene, machine, "unquiescing", silent=True)
    scene.is_silent(machine, LISTEN, "After the restart, with an application that has not answered yet")
    machine.run("systemctl kill -s CONT patient")
    machine.wait_for("it runs", lambda: machine.is_in("running"))
    status = machine.ask("STATUS")
    scene.check(f"When that one answers, the transition comes to its end: {status}", "outcome=restored" in status)
    scene.check("Packets flow.", machine.packets_in(2 * LISTEN).ip)


def _kill(scene: Scene, machine: Machine, state: str, silent: bool = False) -> None:
    """Kill the daemon and wait for the next one, which must be where this one was."""
    before, sent = machine.position, len(machine.wire.ip)
    old = machine.run("systemctl show -P MainPID snapsafed").out.strip()
    machine.run(f"kill -9 {old}")

    def another() -> bool:
        pid = machine.run("systemctl show -P MainPID snapsafed").out.strip()
        is_active = machine.run("systemctl is-active snapsafed", codes=None).out.strip() == "active"
        return is_active and pid not in ("0", old)

    machine.wait_for("systemd starts it again", another)
    machine.wait_until_listening()
    after, meanwhile = machine.position, len(machine.wire.ip) - sent
    told = f"; {meanwhile} IP packets meanwhile" if silent else ""
    scene.check(f"Killed while {' '.join(before)}, and started again: {' '.join(after)}{told}.",
                before == after and after[0] == state and (not silent or meanwhile == 0))


def forgotten(scene: Scene) -> None:
    """A host that never thaws: the watchdog opens as aborted, or adapts first, by what the counter proves."""
    with scene.machine() as machine:
        machine.run("echo 'quiesced_max = \"4s\"' > /etc/snapsafe/snapsafed.toml; systemctl restart snapsafed")
        machine.wait_until_listening()
        old = machine.journal_of("beacon")["id"]
        machine.run("systemctl kill -s STOP patient; sleep 0.1; systemctl kill -s CONT patient")
        _wait_for_watchdog(scene, machine, "Without a counter", "restored")
        new = machine.journal_of("beacon")["id"]
        machine.wait_for("packets flow with the new id", lambda: new in ids(machine.wire))
        scene.check("The beacon has a new id, and says it.", new != old)

        scene.quiesce(machine)
        machine.run("systemctl kill -s STOP patient")
        scene.is_silent(machine, 10.0, "With a hung application, also when the watchdog's time is over")
        machine.run("systemctl kill -s CONT patient")
        machine.wait_for("it runs again", lambda: machine.is_in("running"))

        machine.clock.announce_counter()
        machine.resume()
        machine.run("systemctl restart snapsafed")
        machine.wait_until_listening()
        old = machine.journal_of("beacon")["id"]
        _wait_for_watchdog(scene, machine, "With a counter that did not change", "aborted")
        scene.check("The beacon keeps its id, and says it.",
                    set(ids(machine.packets_in(2.0))) == {old} == {machine.journal_of("beacon")["id"]})


def _wait_for_watchdog(scene: Scene, machine: Machine, when: str, outcome: str) -> None:
    scene.quiesce(machine)
    sent = len(machine.wire.ip)
    time.sleep(LISTEN)
    meanwhile = len(machine.wire.ip) - sent
    machine.wait_for("the watchdog acts", lambda: machine.is_in("running"))
    status = machine.ask("STATUS")
    scene.check(f"{when} and without a thaw, it was silent ({meanwhile} IP packets), and then: {status}",
                meanwhile == 0 and f"outcome={outcome}" in status)


def flushed(scene: Scene) -> None:
    """An administrator flushes the rules of a quiesced machine."""
    with scene.machine() as machine:
        machine.run("nft 'add table inet theirs'")
        scene.quiesce(machine)
        sent = len(machine.wire.ip)
        done = machine.run("nft flush ruleset", codes=None)
        left = machine.run("nft list tables").out.split("\n")
        scene.is_silent(machine, 2.0, "After `nft flush ruleset`")
        leaked = len(machine.wire.ip) - sent
        said = done.err.splitlines()[0] if done.err else "done"
        scene.check(f"nft says: {said}. Left are: {', '.join(filter(None, left))}; {leaked} IP packets since.",
                    leaked == 0 and any("snapsafe" in table for table in left))
        status = machine.ask("STATUS")
        scene.check(f"The daemon: {status}", status.startswith("OK quiesced") and "degraded" not in status)
        answer = machine.ask("UNQUIESCE 30000 resumed")
        scene.check(f"It opens when it is told to: {answer}", answer.startswith("OK running")
                    and machine.packets_in(2 * LISTEN).ip)


SCENARIOS = (
    Scenario("hung", "a hung application keeps a clone silent, and a retry after it recovered works", hung),
    Scenario("killed", "a daemon killed in any state comes back into the same transition, and nothing opens", killed),
    Scenario("link_killed", "the same with the gate at the links", link_killed),
    Scenario("forgotten", "a host that never thaws: only an unchanged counter opens as it is, else all adapt",
             forgotten),
    Scenario("flushed", "a flush of all rules by an administrator does not open the gate", flushed),
)
