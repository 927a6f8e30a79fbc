import pytest

from carbonapi.accounts import passwords


@pytest.fixture
def hashes_checked(monkeypatch):
    """What the hashes against which passwords are checked cost, as it stands in them."""
    checked = []
    verify = passwords.HASHER.verify

    class Noting:
        def verify(self, password_hash, password):
            checked.append(password_hash.split("$")[3])
            return verify(password_hash, password)

    monkeypatch.setattr(passwords, "HASHER", Noting())
    return checked
