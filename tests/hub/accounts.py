"""Who may do what."""

from dataclasses import dataclass

TOKEN = "hf_local_write"
READ_TOKEN = "hf_local_read"
OTHER_TOKEN = "hf_local_other"


@dataclass(frozen=True)
class Account:
    """One token of a user."""

    user: str
    role: str
    organisations: tuple[str, ...] = ()

    def belongs_to(self, namespace: str) -> bool:
        return namespace == self.user or namespace in self.organisations

    def described(self) -> dict:
        """What ``whoami`` says."""
        return {
            "type": "user",
            "id": self.user.encode().hex(),
            "name": self.user,
            "fullname": self.user.capitalize(),
            "email": f"{self.user}@example.org",
            "emailVerified": True,
            "isPro": False,
            "canPay": False,
            "orgs": [{"type": "org", "name": name, "fullname": name} for name in self.organisations],
            "auth": {"type": "access_token", "accessToken": {"displayName": self.role, "role": self.role}},
        }


ACCOUNTS = {
    TOKEN: Account("me", "write", ("org",)),
    READ_TOKEN: Account("me", "read", ("org",)),
    OTHER_TOKEN: Account("other", "write"),
}
