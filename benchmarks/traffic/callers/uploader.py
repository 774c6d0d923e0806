"""Uploaders: large request bodies, which must arrive byte for byte. Below /demo/, so of the demo alone."""

import hashlib
import os
import random

from locust import task
from traffic.answers import upload_fault
from traffic.callers.caller import COREDINATOR, Caller

KIB = 1024
LARGEST = 4096 * KIB

_bytes = os.urandom(2 * LARGEST)


class Uploader(Caller):
    """Somebody who sends files: each another piece of the same random bytes."""

    weight = 4
    pauses = (2.0, 6.0)

    @task(6)
    def small(self) -> None:
        self.upload("64 KiB", 64 * KIB)

    @task(3)
    def medium(self) -> None:
        self.upload("512 KiB", 512 * KIB)

    @task(1)
    def large(self) -> None:
        self.upload("4 MiB", LARGEST)

    def upload(self, words: str, size: int) -> None:
        begin = random.randrange(LARGEST)
        content = _bytes[begin : begin + size]
        name, digest = f"file-{self.name}.bin", hashlib.sha256(content).hexdigest()
        self.ask(
            "PUT",
            f"{COREDINATOR}/demo/uploads/{name}",
            f"upload of {words}",
            lambda value: upload_fault(value, name, size, digest),
            data=content,
            headers={"Content-Type": "application/octet-stream"},
        )
