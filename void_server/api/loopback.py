"""The names of this machine that no other one reaches."""

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
