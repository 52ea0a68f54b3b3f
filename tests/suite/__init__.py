"""The steps of `tests/run`: what they are (steps), how they are run and judged (judgement), and what they rest on."""
