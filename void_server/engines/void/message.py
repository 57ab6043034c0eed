"""What the leading process tells its helpers: plain values as JSON, tensors as safetensors. Nothing in it ever runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import torch
from safetensors.torch import load

from .tensors import packed


@dataclass(frozen=True)
class Message:
    """Plain values, and tensors by name; both arrive as they were sent, tensors on the CPU."""

    values: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def send(self, pipe: IO[bytes]) -> None:
        """Write the message: a line of JSON, and then as many bytes of tensors as it says."""
        content = packed(self.tensors)
        pipe.write(json.dumps({"values": self.values, "bytes": len(content)}).encode() + b"\n")
        pipe.write(content)
        pipe.flush()

    @classmethod
    def receive(cls, pipe: IO[bytes]) -> Message:
        """Wait for a message and read it. Raises EOFError where none will come."""
        line = pipe.readline()
        if not line.endswith(b"\n"):
            raise EOFError("the pipe has ended")
        head = json.loads(line)
        content = pipe.read(head["bytes"])
        if len(content) < head["bytes"]:
            raise EOFError("the pipe has ended in the middle of a message")
        return cls(head["values"], load(content))
