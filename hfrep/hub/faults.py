"""What went wrong at the Hub: in one line, and whether trying again may help."""

from dataclasses import dataclass
from http import HTTPStatus

from httpx2 import HTTPError
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

from hfrep.errors import HfrepError
from hfrep.models.stored import reason

REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
PASSING = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.CONFLICT,
    HTTPStatus.PRECONDITION_FAILED,  # someone committed meanwhile
    HTTPStatus.TOO_MANY_REQUESTS,
)


@dataclass(frozen=True)
class Fault:
    """Why something was not done.

    Attributes:
        told: in a few words.
        passing: whether it may be done later.
        wait: seconds that the Hub asks to wait; None where it does not say.
    """

    told: str
    passing: bool
    wait: float | None = None

    @classmethod
    def of(cls, error: Exception) -> "Fault":
        """What `error`, raised by huggingface_hub, means."""
        if isinstance(error, HfrepError):
            return cls(error.found, passing=False)
        if isinstance(error, LocalTokenNotFoundError):
            return cls("no token", passing=False)
        if isinstance(error, OfflineModeIsEnabled):
            return cls("HF_HUB_OFFLINE is set", passing=False)
        if isinstance(error, HfHubHTTPError) and error.response is not None:
            return cls._of_status(error, error.response.status_code)
        if isinstance(error, HTTPError | OSError):  # no route, a connection that broke, a time-out
            return cls(f"no answer ({reason(error)})", passing=True)
        return cls(reason(error), passing=False)

    @classmethod
    def _of_status(cls, error: HfHubHTTPError, status: int) -> "Fault":
        if status in REFUSED:
            return cls(f"the token is refused ({status})", passing=False)
        passing = status in PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        told = f"status {status}" if passing else f"status {status}: {reason(error)}"
        return cls(told, passing, _seconds(error.response.headers.get("Retry-After")))


def _seconds(header: str | None) -> float | None:
    """Of a ``Retry-After`` header; None where it gives a date or is missing."""
    try:
        return None if header is None else max(0.0, float(header))
    except ValueError:
        return None
