"""The ways a run can end early, kept apart so that neither can look like the other (or like a pass)."""


class Unavailable(Exception):
    """Something the test needs could not be had: no mirror, no package, no tool. Exit code 3."""


class GuestFailure(Exception):
    """The virtual machine or the program in it did not do what the scenario needs. A failed verdict, exit code 1."""


class GuestSilence(GuestFailure):
    """The guest said nothing for too long: the machine hangs, or the program in it does."""
