"""The original goes on after its snapshot; how tools of others see the daemon; and what it all costs."""

import json
import re
import time

from ..beacons import ids
from ..machine import Machine
from . import Scenario, Scene

#: As the project asks: what systemd thinks of the unit, of 10.
EXPOSURE = 3.0
SOCKET = "unix:/run/snapsafe/io.snapsafe.Manager"


def resumed(scene: Scene) -> None:
    """The original of a snapshot keeps its ids and its connections, if it is known to be the original."""
    with scene.machine() as machine:
        _go_on(scene, machine, "No counter, and the host says so", "UNQUIESCE 30000 resumed", keeps=True)
        denied = "setpriv --reuid=65534 --clear-groups snapsafectl unquiesce --expect resumed"
        scene.quiesce(machine)
        done = machine.run(denied, codes=None)
        scene.check(f"Whoever is not root cannot say so: {(done.err or done.out).strip()}",
                    done.code == 1 and machine.is_in("quiesced"))
        machine.ask("UNQUIESCE 30000 resumed")
        _go_on(scene, machine, "No counter, and the host does not know", "UNQUIESCE 30000 any", keeps=False)

        machine.clock.announce_counter()
        machine.resume()
        machine.run("systemctl restart snapsafed")
        machine.wait_until_listening()
        _go_on(scene, machine, "A counter that did not change, and the host does not know", "UNQUIESCE 30000 any",
               keeps=True, has_counter=True)


def _go_on(scene: Scene, machine: Machine, when: str, thaw: str, keeps: bool, has_counter: bool = False) -> None:
    """Quiesce, snapshot, and go on in the same machine."""
    machine.wait_for("the connection is open", lambda: int(machine.journal_of("connection")["echoed"]) > 0)
    id, connection = machine.journal_of("beacon")["id"], machine.journal_of("connection")
    scene.quiesce(machine)
    sent = len(machine.wire.ip)
    scene.laboratory.save(machine, scene.folder / "snapshot", has_counter)
    machine.resume()
    time.sleep(1.0)
    silent = len(machine.wire.ip) - sent
    answer = machine.ask(thaw)
    outcome = "resumed" if keeps else "restored"
    scene.check(f"{when}: {silent} IP packets while quiesced; {answer}",
                silent == 0 and answer.startswith("OK running") and f"outcome={outcome}" in answer)
    before = len(machine.wire.packets)
    machine.wait_for("the connection carries bytes", lambda: _carries(machine, connection, keeps))
    now, since = machine.journal_of("connection"), machine.wire
    since.packets = since.packets[before:]
    new = machine.journal_of("beacon")["id"]
    if keeps:
        scene.check(f"The id is the same; the TCP connection is the same: {connection['echoed']} lines echoed before, "
                    f"{now['echoed']} now, every one in its place.",
                    new == id and set(ids(since)) <= {id} and now["connections"] == connection["connections"])
    else:
        scene.check("Nothing proves that it is the same machine: the id is new, and so is the connection.",
                    new != id and id not in ids(since) and now["connections"] != connection["connections"])


def _carries(machine: Machine, before: dict[str, str], same: bool) -> bool:
    """Whether lines come back over the connection that there was, or over another."""
    now = machine.journal_of("connection")
    return int(now["echoed"]) > int(before["echoed"]) + 5 if same else (
        now["connections"] != before["connections"] and int(now["echoed"]) > 0)


def interop(scene: Scene) -> None:
    """Tools of others: varlinkctl, systemd."""
    with scene.machine() as machine:
        info = machine.run(f"varlinkctl info {SOCKET}").out
        scene.check("`varlinkctl info` names the product and the interface.", "io.snapsafe.Manager" in info)
        described = machine.run(f"varlinkctl introspect {SOCKET} io.snapsafe.Manager").out
        methods = re.findall(r"^method (\w+)", described, re.MULTILINE)
        scene.check(f"`varlinkctl introspect` reads the description: {len(methods)} methods.",
                    {"Quiesce", "Unquiesce", "Abort", "Register", "Subscribe", "Ack", "Status"} <= set(methods))
        status = json.loads(machine.run(f"varlinkctl call --json=short {SOCKET} io.snapsafe.Manager.Status '{{}}'").out)
        scene.check(f"`varlinkctl call … Status`: {status['state']}, gate {status['gate']['kind']}, "
                    f"{'owned' if status['gate']['owned'] else 'not owned'}.", status["state"] == "running")
        wrong = machine.run(f"varlinkctl call {SOCKET} io.snapsafe.Manager.Quiesce '{{\"hurry\":true}}'", codes=None)
        scene.check(f"A parameter that does not exist is refused: {wrong.err.strip()}", wrong.code != 0)
        machine.run(f"varlinkctl --more call --json=short {SOCKET} io.snapsafe.Manager.Subscribe '{{}}' "
                    "> /run/events 2>&1 & echo $! > /run/subscriber; sleep 0.5")
        scene.quiesce(machine)
        machine.wait_for("the target is reached", lambda: _target(machine) == "active")
        machine.ask("UNQUIESCE 30000 resumed")
        machine.wait_for("the target is left", lambda: _target(machine) == "inactive")
        scene.check("snapsafe-quiesced.target is reached when the machine is quiesced, and left afterwards.", True)
        events = machine.run("kill $(cat /run/subscriber); tr -d '\\036' < /run/events").out
        states = re.findall(r'"state":"(\w+)"', events)
        scene.check(f"`varlinkctl --more call … Subscribe` saw {' → '.join(states)}.",
                    _without_repeats(states) == ["running", "quiescing", "quiesced", "unquiescing", "running"])
        judged = machine.run("systemd-analyze security --no-pager snapsafed.service").out
        exposure = float(re.search(r"exposure level for snapsafed.service: ([\d.]+)", judged).group(1))
        scene.check(f"`systemd-analyze security`: {exposure}, at most {EXPOSURE} is asked for.", exposure <= EXPOSURE)


def _target(machine: Machine) -> str:
    return machine.run("systemctl is-active snapsafe-quiesced.target", codes=None).out.strip()


def _without_repeats(states: list[str]) -> list[str]:
    return [state for at, state in enumerate(states) if at == 0 or states[at - 1] != state]


def numbers(scene: Scene) -> None:
    """How long transitions take in the emulated machine, and what the daemon occupies."""
    with scene.machine() as machine:
        machine.run("systemctl stop beacon connection patient")
        for count in (0, 1, 100):
            quiesce, unquiesce = machine.run(f"applications measure {count}").out.split()
            scene.note(f"{count} participants, in the emulated machine: Quiesce {int(quiesce) / 1000:.1f} ms, "
                       f"Unquiesce (resumed) {int(unquiesce) / 1000:.1f} ms (medians of 11).", participants=count,
                       quiesce_us=int(quiesce), unquiesce_us=int(unquiesce))
        status = machine.run("cat /proc/$(systemctl show -P MainPID snapsafed)/status").out
        resident = int(re.search(r"VmHWM:\s+(\d+)", status).group(1))
        locked = int(re.search(r"VmLck:\s+(\d+)", status).group(1))
        scene.check(f"The daemon has had {resident / 1024:.1f} MiB resident at most, with 100 participants (8 MiB are "
                    f"allowed); {locked / 1024:.1f} MiB are locked.",
                    resident <= 8 * 1024 and locked > 0, resident_kib=resident)


SCENARIOS = (
    Scenario("resumed", "the original of a snapshot keeps its ids and its TCP connection, if it is known to be that",
             resumed),
    Scenario("interop", "varlinkctl and systemd get along with the daemon", interop),
    Scenario("numbers", "latencies and memory", numbers),
)
