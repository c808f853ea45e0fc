"""One attempt to bring to the Hub what waits for a branch. Done again, it finds that nothing has changed."""

from dataclasses import replace

from huggingface_hub import HfApi

from hfrep.hub.account import Account
from hfrep.hub.outbox import MAIN, Destination, Outbox
from hfrep.models.base_weights import Weights, weight_files


def deliver(outbox: Outbox, revision: str) -> None:
    """Make repository and branch where they are missing, and commit all that waits for it at once.

    Raises:
        HubError: the token may only read, or not there.
        Exception: whatever huggingface_hub has to say.
    """
    api, destination, content = HfApi(), _whole(outbox), outbox.content(revision)
    name, kind = destination.repository, destination.kind
    api.create_repo(name, repo_type=kind, private=destination.private, exist_ok=True)
    if revision != MAIN:
        api.create_branch(name, branch=revision, repo_type=kind, exist_ok=True)
    commit = api.upload_folder(
        repo_id=name,
        repo_type=kind,
        folder_path=content,
        revision=revision,
        commit_message="Upload by hfrep" if revision == MAIN else f"The model at {revision}",
    )
    weights = Weights.of(content).digest if weight_files(content) else None
    outbox.arrived(revision, commit.oid, weights)


def _whole(outbox: Outbox) -> Destination:
    """The destination, completed by the token's name where it could not be at the start."""
    destination = outbox.destination
    assert destination is not None, "the outbox has been addressed"
    if "/" not in destination.repository:
        destination = replace(destination, repository=Account.of_token().whole_name(destination.repository))
        outbox.address(destination)
    return destination
