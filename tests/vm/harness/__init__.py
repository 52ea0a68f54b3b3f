"""Boots guests, clones them, and proves from what they recorded that no clone repeated another."""
