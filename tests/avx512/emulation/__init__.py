"""Tests on an emulated CPU: the image, the machine, and what came out."""
