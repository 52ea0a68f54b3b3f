"""The example in snaprng_random.py, in use: distributions, forks, threads, errors."""

import os
import sys
import threading
import unittest

from snaprng_random import Generation, SnapRandom, SnapRngError, notify_restored, protection, token_bytes


def in_child(work, length):
    """What `work` returns in a forked child."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, work())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    assert os.waitpid(child, 0)[1] == 0 and len(answer) == length
    return answer


class Example(unittest.TestCase):
    def test_python_s_own_methods_work_on_it(self):
        rng = SnapRandom()
        self.assertTrue(all(0 <= rng.random() < 1 for _ in range(1000)))
        self.assertEqual({rng.randrange(6) for _ in range(1000)}, set(range(6)))
        cards = list(range(52))
        self.assertEqual(sorted(rng.sample(cards, 52)), cards)
        self.assertEqual(rng.getrandbits(0), 0)
        self.assertTrue(all(rng.getrandbits(k) < 2**k for k in range(1, 200)))
        # Half of the top bits are set: by chance 2^-60 outside.
        self.assertLess(abs(sum(rng.getrandbits(65) >> 64 for _ in range(10000)) - 5000), 450)
        self.assertLess(abs(sum(rng.gauss(0, 1) for _ in range(10000))), 900)
        self.assertEqual(len(rng.randbytes(1000)), 1000)
        self.assertRaises(NotImplementedError, rng.getstate)

    def test_a_seed_makes_nothing_repeat(self):
        self.assertNotEqual(SnapRandom(1).randbytes(16), SnapRandom(1).randbytes(16))

    def test_forks_share_nothing(self):
        rng = SnapRandom()
        rng.randbytes(1)
        drawn = [in_child(lambda: rng.randbytes(16), 16) for _ in range(50)] + [rng.randbytes(16) for _ in range(50)]
        self.assertEqual(len(set(drawn)), 100)

    def test_threads_share_nothing(self):
        drawn, lock = [], threading.Lock()

        def draw():
            mine = [token_bytes(16) for _ in range(200)]
            with lock:
                drawn.extend(mine)

        threads = [threading.Thread(target=draw) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(set(drawn)), 1600)

    def test_a_generation_ends_in_a_child_and_with_a_restore(self):
        generation = Generation()
        self.assertTrue(generation.is_current())
        self.assertEqual(in_child(lambda: bytes([generation.is_current()]), 1), b"\0")
        self.assertTrue(generation.is_current())
        notify_restored(os.urandom(32))
        self.assertFalse(generation.is_current())

    def test_the_report_is_readable(self):
        report = protection()
        self.assertRegex(report, r"^protection +(per-call|process-only|synchronous|accepted)")
        for witness in "vmclock", "sysgenid", "agent page", "process":
            self.assertIn(witness, report)

    def test_errors_say_what_to_do(self):
        def fail():
            os.environ["SNAPRNG_POLICY"] = "nonsense"
            program = "import snaprng_random; snaprng_random.token_bytes(1)"
            os.execv(sys.executable, [sys.executable, "-c", program])

        self.assertTrue(issubclass(SnapRngError, OSError))
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(writer, 2)
            fail()
        os.close(writer)
        with os.fdopen(reader) as pipe:
            said = pipe.read()
        self.assertNotEqual(os.waitpid(child, 0)[1], 0)
        self.assertIn("SNAPRNG_POLICY in the environment must be prefer or require", said)


if __name__ == "__main__":
    unittest.main()
