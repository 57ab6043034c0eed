"""The server: takes jobs over ZeroMQ, has worker processes do them, and loses none."""
