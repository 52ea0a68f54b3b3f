"""random.Random over snaprng: the whole interface of Python's random, from a generator that no clone shares.

    import snaprng_random
    rng = snaprng_random.SnapRandom()
    rng.randrange(6), rng.shuffle(cards), rng.sample(names, 3), rng.randbytes(32)

The library is looked up as the loader does, or is the one that SNAPRNG_LIBRARY names.
"""

import ctypes
import ctypes.util
import os
import random


def _load():
    name = os.environ.get("SNAPRNG_LIBRARY") or ctypes.util.find_library("snaprng") or "libsnaprng.so.0.1"
    library = ctypes.CDLL(name)
    library.snaprng_fill.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.snaprng_fill.restype = ctypes.c_int
    library.snaprng_generation.argtypes = [ctypes.c_char_p]
    library.snaprng_generation_is_current.argtypes = [ctypes.c_char_p]
    library.snaprng_notify_restored.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    library.snaprng_protection_string.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    library.snaprng_strerror.argtypes = [ctypes.c_int]
    library.snaprng_strerror.restype = ctypes.c_char_p
    return library


_library = _load()


class SnapRngError(OSError):
    """No random bytes could be given; the text says why, and what to do."""


def _check(code):
    if code < 0:
        raise SnapRngError(_library.snaprng_strerror(code).decode())
    return code


def token_bytes(length):
    """As secrets.token_bytes."""
    buffer = bytearray(length)
    place = (ctypes.c_char * length).from_buffer(buffer) if length else None
    _check(_library.snaprng_fill(place, length))
    return bytes(buffer)


def notify_restored(unique=b""):
    """After a restore that the machine shows in no other way."""
    _check(_library.snaprng_notify_restored(unique, len(unique)))


def protection():
    """The report for an operator."""
    length = _check(_library.snaprng_protection_string(None, 0))
    # It may have grown meanwhile: then it is cut.
    text = ctypes.create_string_buffer(length + 1)
    _check(_library.snaprng_protection_string(text, length + 1))
    return text.value.decode()


class Generation:
    """This copy of the machine and the process: take it before, ask it after."""

    def __init__(self):
        self._token = ctypes.create_string_buffer(64)
        _check(_library.snaprng_generation(self._token))

    def is_current(self):
        return _check(_library.snaprng_generation_is_current(self._token)) == 1


class SnapRandom(random.Random):
    """Every method of random.Random; nothing to seed, no state to save."""

    def random(self):
        return (int.from_bytes(token_bytes(7), "little") >> 3) * 2.0**-53

    def getrandbits(self, k):
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        length = (k + 7) // 8
        return int.from_bytes(token_bytes(length), "little") >> (length * 8 - k)

    def randbytes(self, n):
        return token_bytes(n)

    def seed(self, *args, **kwds):
        """Does nothing: there is no seed."""

    def getstate(self, *args, **kwds):
        raise NotImplementedError("a generator that no clone shares has no state to copy")

    setstate = getstate
