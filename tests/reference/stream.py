#!/usr/bin/env python3
"""The generator's stream under fixed entropy, computed a second time.

Written from the documentation (the rekey's hash, the refill, the absorbing step, the one-shot
path) with Python's BLAKE2s and a ChaCha20 of its own, so that the frozen vector in
`src/generator/tests/keys.rs` is more than a copy of what the code happens to give.

Usage: stream.py          prints the vector
       stream.py --check  compares it with the one in the source; exit 1 if they differ
"""

import hashlib
import re
import struct
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "generator" / "tests" / "keys.rs"
MASK = 0xFFFFFFFF


def quarter_round(x, a, b, c, d):
    """RFC 8439, section 2.1."""
    for first, second, third, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        x[first] = (x[first] + x[second]) & MASK
        turned = x[third] ^ x[first]
        x[third] = ((turned << bits) | (turned >> (32 - bits))) & MASK


def block(key, counter_and_nonce):
    """RFC 8439, section 2.3; whose counter is how long does not matter for one block."""
    state = list(struct.unpack("<4I", b"expand 32-byte k"))
    state += struct.unpack("<8I", key) + struct.unpack("<4I", counter_and_nonce)
    x = state[:]
    for _ in range(10):
        for column in range(4):
            quarter_round(x, *(column + 4 * row for row in range(4)))
        for column in range(4):
            quarter_round(x, *((column + row) % 4 + 4 * row for row in range(4)))
    return struct.pack("<16I", *((a + b) & MASK for a, b in zip(x, state)))


def keystream(key, length):
    """ChaCha20 with a 64-bit counter from 0 and a zero nonce."""
    blocks = (block(key, struct.pack("<QQ", counter, 0)) for counter in range((length + 63) // 64))
    return b"".join(blocks)[:length]


class Script:
    """The scripted sources of the test: each draw is the keystream of a seed and a count."""

    CPU, KERNEL = 1, 2

    def __init__(self):
        self.draws = 0

    def draw(self, seed, length=32):
        key = struct.pack("<QQ", seed, self.draws) + bytes(16)
        self.draws += 1
        return keystream(key, length)


def rekey(script, old_key, first_of_machine):
    """key' = BLAKE2s-256(name, length and bytes of the old key and of each source that is used)."""
    digest = hashlib.blake2s(person=b"snaprng2", digest_size=32)

    def add(name, data):
        digest.update(bytes([name, len(data)]) + data)

    add(0, old_key)
    add(1, script.draw(Script.CPU))
    if first_of_machine:
        add(2, script.draw(Script.CPU))
    add(6, bytes(24))
    add(7, script.draw(Script.KERNEL))
    return digest.digest()


def step(key, data, tweak):
    """The block under key XOR data, with tweak as counter and nonce: the next key, and bytes to hand out."""
    made = block(bytes(a ^ b for a, b in zip(key, data)), tweak)
    return made[:32], made[32:]


def vector():
    script = Script()
    key = rekey(script, bytes(32), True)
    buffer = keystream(key, 1024)
    key, out = buffer[:32], buffer[32:48]
    # 512 bytes: straight from a key that is taken from the buffer.
    out += keystream(buffer[48:80], 512)[496:]
    # A new epoch.
    key = rekey(script, key, True)
    out += keystream(key, 1024)[32:48]

    script = Script()  # level PerCall
    key = keystream(rekey(script, bytes(32), True), 48)[:32]
    cpu, kernel = script.draw(Script.CPU, 16), script.draw(Script.KERNEL)
    out += step(key, kernel, cpu)[1][:16]
    # One shot: the next key of a chain that has no next, and the one of this output.
    keys = keystream(rekey(script, bytes(32), False), 64)
    return out + keystream(keys[32:], 16)


def frozen():
    text = re.search(r'const FROZEN: &str = "(.*?)";', SOURCE.read_text(), re.DOTALL)
    return "".join(re.findall(r"[0-9a-f]+", text.group(1))) if text else "(not found)"


def main(arguments):
    computed = vector().hex()
    if arguments == ["--check"]:
        if computed != frozen():
            print(f"computed {computed}\nfrozen   {frozen()}", file=sys.stderr)
            return 1
        print("the frozen vector is what a second implementation computes")
        return 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    print(computed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
