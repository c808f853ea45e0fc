"""Whose token it is and what it may write: asked before training starts."""

from dataclasses import dataclass

from huggingface_hub import HfApi, get_token

from hfrep.errors import HubError
from hfrep.hub.faults import Fault
from hfrep.network import hub_reachable

TOKEN_ADVICE = "log in with `hf auth login`, or set HF_TOKEN to a token with the role write"


@dataclass(frozen=True)
class Account:
    """The user that the token belongs to.

    Attributes:
        namespaces: whom repositories may be made under: the user, then organisations.
    """

    namespaces: tuple[str, ...]

    @classmethod
    def of_token(cls) -> "Account":
        """The token's account.

        Raises:
            HubError: the token may only read.
            Exception: whatever huggingface_hub has to say.
        """
        facts = HfApi().whoami()
        if facts.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise _no_token("one with the role read")
        return cls((facts["name"], *(one["name"] for one in facts.get("orgs", []))))

    @classmethod
    def ask(cls) -> "Account | None":
        """The token's account; None where the Hub cannot be asked now.

        Raises:
            HubError: there is no token, or it is rejected or may only read.
        """
        if get_token() is None:
            raise _no_token("no token")
        if not hub_reachable():
            return None
        try:
            return cls.of_token()
        except HubError:
            raise
        except Exception as error:  # whatever huggingface_hub raises; told by its kind
            fault = Fault.of(error)
            if fault.passing:
                return None
            raise _no_token(fault.told) from None

    def whole_name(self, name: str) -> str:
        """``org/name`` for a `name` with or without ``org/``.

        Raises:
            HubError: the account may not write there.
        """
        namespace, _, _ = name.rpartition("/")
        if namespace and namespace not in self.namespaces:
            raise HubError(
                where=f"--hub_model_id {name}",
                expected=f"a name under {' or '.join(self.namespaces)}, as whom the token writes",
                found=namespace,
                do="correct the name, or log in as another",
            )
        return name if namespace else f"{self.namespaces[0]}/{name}"


def _no_token(found: str) -> HubError:
    return HubError(where="the Hub", expected="a token that may write", found=found, do=TOKEN_ADVICE)
