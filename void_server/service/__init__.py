"""The server: takes jobs over ZeroMQ, runs them in worker processes, and loses none."""
