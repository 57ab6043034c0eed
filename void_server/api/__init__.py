"""What clients and the server share: shots, jobs, errors, messages. Needs Python 3.9, pyzmq and msgpack, nothing else."""
