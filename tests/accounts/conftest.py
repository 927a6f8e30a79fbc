import pytest

from carbonapi.accounts import passwords


@pytest.fixture
def hashes_checked(monkeypatch):
    """Return the list of cost parameters of the hashes that passwords are verified against."""
    checked = []
    verify = passwords.HASHER.verify

    class RecordingHasher:
        def verify(self, password_hash, password):
            checked.append(password_hash.split("$")[3])
            return verify(password_hash, password)

    monkeypatch.setattr(passwords, "HASHER", RecordingHasher())
    return checked
