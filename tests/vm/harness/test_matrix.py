"""What must hold of the matrix before any machine is booted: `tests/vm/run --self-test`."""

import unittest

from .matrix import COVERING, POINTS, machines, pairs
from .scenarios import MATRIX, SCENARIOS


class Matrix(unittest.TestCase):
    def test_there_are_as_many_points_as_combinations(self):
        self.assertEqual(len(POINTS), 2 * 3 * 2 ** 4)
        self.assertEqual(len({point.name for point in POINTS}), 96)

    def test_every_point_is_in_one_machine(self):
        there = [point for points in machines().values() for point in points]
        self.assertEqual(sorted(point.name for point in there), sorted(point.name for point in POINTS))

    def test_the_points_of_a_machine_differ_in_nothing_that_makes_it(self):
        for name, points in machines().items():
            with self.subTest(name):
                alike = {(point.cpus, point.witness, point.randomness, point.kernel) for point in points}
                self.assertEqual(len(alike), 1)

    def test_a_privileged_process_is_alone_where_it_makes_the_kernel_reseed(self):
        for name, points in machines().items():
            if points[0].randomness == "norand":
                with self.subTest(name):
                    self.assertEqual(len({point.privilege for point in points}), 1)

    def test_the_short_run_has_every_two_values_of_every_two_dimensions(self):
        chosen = [point for name in COVERING for point in machines()[name]]
        self.assertEqual(pairs(POINTS) - pairs(chosen), set())

    def test_a_run_without_one_of_its_machines_would_not(self):
        for left_out in COVERING:
            with self.subTest(left_out):
                chosen = [point for name in COVERING if name != left_out for point in machines()[name]]
                self.assertNotEqual(pairs(POINTS) - pairs(chosen), set())

    def test_the_short_run_has_no_more_than_eight_scenarios(self):
        self.assertLessEqual(len(SCENARIOS), 8)
        self.assertLessEqual(set(COVERING), {scenario.name for scenario in SCENARIOS})

    def test_all_machines_together_judge_every_point(self):
        judged = [name for scenario in MATRIX for name, _ in scenario.points]
        self.assertEqual(sorted(judged), sorted(point.name for point in POINTS))


def holds() -> bool:
    """Run them; whether all hold."""
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Matrix)
    return unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful()
