"""Whether the Hub can be asked, found out in under two seconds.

`from_pretrained` of a Hub id retries for 46 s without a network before it fails, `load_dataset` for 23 s. Who asks here
first can say so at once, or go on with what is in the cache (``local_files_only=True``).
"""

import functools
import queue
import threading

import huggingface_hub
from huggingface_hub import constants

PATIENCE = 1.5  # seconds


@functools.cache
def hub_reachable() -> bool:
    """True where the Hub's endpoint answers; False with ``HF_HUB_OFFLINE=1``, without asking. Asked once a process."""
    if constants.HF_HUB_OFFLINE:
        return False
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
    # In a thread because looking a name up knows no time-out.
    threading.Thread(target=lambda: answers.put(_answers()), daemon=True).start()
    try:
        return answers.get(timeout=PATIENCE)
    except queue.Empty:
        return False


def _answers() -> bool:
    try:
        response = huggingface_hub.get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:  # no name, no route, no certificate: whatever it is, it is no answer
        return False
    return bool(response.status_code < 500)
