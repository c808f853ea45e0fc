"""Whether the Hub can be asked, found out in under two seconds.

`from_pretrained` of a Hub id retries for 46 s without a network before it fails, `load_dataset` for 23 s. Who asks here
first can say so at once, or go on with what is in the cache (``local_files_only=True``).
"""

import functools
import threading

import huggingface_hub
from huggingface_hub import constants

PATIENCE = 1.5  # seconds


@functools.cache
def hub_reachable() -> bool:
    """True where the Hub's endpoint answers; False with ``HF_HUB_OFFLINE=1``, without asking. Asked once a process."""
    if constants.HF_HUB_OFFLINE:
        return False
    answered = threading.Event()
    # In a thread because looking a name up knows no time-out.
    threading.Thread(target=_ask, args=(answered,), daemon=True).start()
    return answered.wait(PATIENCE)


def _ask(answered: threading.Event) -> None:
    try:
        huggingface_hub.get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:  # whatever it is, it is not an answer
        return
    answered.set()
