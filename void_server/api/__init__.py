"""What clients and the server share: shots, jobs, errors, messages. Python 3.9, pyzmq, msgpack."""
