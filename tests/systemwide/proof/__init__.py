"""Boots a Debian machine with snapsafed, snapshots it, and reads on the wire what its clones gave away."""
