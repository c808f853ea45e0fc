"""What is made to go wrong."""

import re
import threading
from dataclasses import dataclass, field

EXPIRED = {"status": 401, "message": "Invalid credentials in Authorization header"}
CONFLICT = {"status": 412, "message": "A commit has happened since. Please refresh and try again."}
RATE_LIMITED = {"status": 429, "message": "We had to rate limit you", "retry_after": 0}


@dataclass
class Fault:
    """One way for requests to fail. The package's docstring says what the fields mean."""

    method: str
    path: str
    times: int | None = 1
    skip: int = 0
    status: int | None = None
    message: str = "injected fault"
    code: str | None = None
    retry_after: int | None = None
    body: dict | None = None
    drop_after: int | None = None
    slow: float = 0.0
    hang: bool = False
    after: bool = False
    released: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        re.compile(self.method)
        re.compile(self.path)
        if sum((self.status is not None, self.drop_after is not None, self.slow > 0, self.hang)) != 1:
            raise ValueError("a fault is one of status, drop_after, slow and hang")

    def takes(self, method: str, path: str) -> bool:
        """Whether this request is to fail. Counts those it lets pass and those it takes."""
        if self.times == 0 or not re.fullmatch(self.method, method) or not re.search(self.path, path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass
class Faults:
    """Those that were set, in this order, also when they had all their requests."""

    present: list[Fault] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> None:
        with self.lock:
            self.present.append(fault)

    def clear(self) -> None:
        """Take all back, and let go the requests that hang."""
        with self.lock:
            for fault in self.present:
                fault.released.set()
            self.present.clear()

    def take(self, method: str, path: str) -> Fault | None:
        with self.lock:
            return next((fault for fault in self.present if fault.takes(method, path)), None)
