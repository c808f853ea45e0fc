"""One attempt to bring to the Hub what waits for a branch. Done again, it finds that nothing has changed."""

from dataclasses import replace

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError

from hfrep.errors import HubError
from hfrep.hub.account import Account
from hfrep.hub.outbox import MAIN, Destination, Outbox
from hfrep.models.base_weights import Weights, weight_files


def deliver(outbox: Outbox, branch: str) -> None:
    """Make repository and branch where they are missing, and commit all that waits for it at once.

    Raises:
        HubError: the token may not write there, or the repository is public where it is to be private.
        Exception: whatever huggingface_hub has to say.
    """
    api, destination = HfApi(), _whole(outbox)
    name, kind = destination.repository, destination.kind
    api.create_repo(name, repo_type=kind, private=destination.private, exist_ok=True)
    if destination.private:
        require_private(name, kind)
    if branch != MAIN:
        api.create_branch(name, branch=branch, repo_type=kind, exist_ok=True)
    content = outbox.take(branch)
    files = [path.relative_to(content).as_posix() for path in sorted(content.rglob("*")) if path.is_file()]
    weights = Weights.of(content).digest if weight_files(content) else None
    commit = api.upload_folder(
        repo_id=name,
        repo_type=kind,
        folder_path=content,
        revision=branch,
        commit_message="Upload by hfrep" if branch == MAIN else f"The model at {branch}",
        # A branch begins as a copy of main. Of main itself only what came from here is removed.
        delete_patterns=destination.files if branch == MAIN else "*",
    )
    outbox.arrived(branch, commit.oid, weights=weights, files=files)


def require_private(name: str, kind: str) -> None:
    """Check that the repository `name`, if there is one, is private.

    Raises:
        HubError: it is public.
        Exception: whatever else huggingface_hub has to say.
    """
    try:
        private = HfApi().repo_info(name, repo_type=kind).private
    except RepositoryNotFoundError:
        return
    if not private:
        raise HubError(
            where=f"--hub_private_repo, {name}",
            expected="a private repository",
            found="one that is public",
            do="make it private in its settings on the Hub, or give another --hub_model_id",
        )


def _whole(outbox: Outbox) -> Destination:
    """The destination, completed by the token's name where it could not be at the start."""
    destination = outbox.destination
    assert destination is not None, "the outbox has been addressed"
    if "/" not in destination.repository:
        destination = replace(destination, repository=Account.of_token().whole_name(destination.repository))
        outbox.address(destination)
    return destination
