"""Bytes and keys -> models; pure. `registry` is the one way in."""
