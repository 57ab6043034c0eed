"""What clients and the server share: shots, jobs, errors, messages, the client. Python 3.9, pyzmq, msgpack."""

from .client import Client, Keys, ServerInfo
from .job import Job, JobState, Progress
from .shot import Prompt, Settings, Shot

__all__ = ["Client", "Job", "JobState", "Keys", "Progress", "Prompt", "ServerInfo", "Settings", "Shot"]
