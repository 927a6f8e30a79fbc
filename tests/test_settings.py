"""Settings: what is missing or malformed is told all at once, by name, without values."""

import pytest

from carbonapi import create_app
from carbonapi.settings import SETTINGS, Limit, SettingsError, from_environ

REQUIRED = {
    "CARBONAPI_DATABASE_URL": "postgresql://u:secret@db/carbonapi",
    "CARBONAPI_SECRET_KEY": "x" * 32,
}


def test_defaults_stand_where_nothing_is_set():
    values = from_environ(REQUIRED)

    assert values["DATABASE_URL"] == "postgresql+psycopg2://u:secret@db/carbonapi"
    assert (values["ACCESS_TOKEN_MINUTES"], values["REFRESH_TOKEN_DAYS"]) == (15, 30)
    assert (values["SESSION_CACHE_SECONDS"], values["REGISTRATION"]) == (5, "open")
    assert set(values) == {setting.name for setting in SETTINGS}


@pytest.mark.parametrize(
    ("variable", "text", "told"),
    [
        ("CARBONAPI_SECRET_KEY", None, "CARBONAPI_SECRET_KEY is not set"),
        ("CARBONAPI_SECRET_KEY", "", "CARBONAPI_SECRET_KEY must be 32 bytes or longer"),
        ("CARBONAPI_SECRET_KEY", "x" * 31, "CARBONAPI_SECRET_KEY must be 32 bytes or longer"),
        ("CARBONAPI_DATABASE_URL", None, "CARBONAPI_DATABASE_URL is not set"),
        ("CARBONAPI_DATABASE_URL", "mysql://u:hidden@db", "CARBONAPI_DATABASE_URL must be a postgresql:// URL"),
        ("CARBONAPI_REGISTRATION", "ajar", "CARBONAPI_REGISTRATION must be open or closed"),
        ("CARBONAPI_SESSION_CACHE_SECONDS", "6", "CARBONAPI_SESSION_CACHE_SECONDS must be a whole number from 0 to 5"),
        ("CARBONAPI_ACCESS_TOKEN_MINUTES", "1e3", "CARBONAPI_ACCESS_TOKEN_MINUTES must be a whole number"),
        (
            "CARBONAPI_LIMIT_SIGN_IN_PER_ACCOUNT",
            "77",
            "CARBONAPI_LIMIT_SIGN_IN_PER_ACCOUNT must be a count and seconds",
        ),
        ("CARBONAPI_LIMIT_SIGN_IN_PER_ACCOUNT", "0/60", "such as 10/300, or 0 for no limit"),
        ("CARBONAPI_LIMIT_SIGN_IN_PER_ACCOUNT", "1/86401", "seconds, up to 86400"),
        (
            "CARBONAPI_LIMIT_SIGN_IN_PER_ACCOUNT",
            "1/٣",
            "CARBONAPI_LIMIT_SIGN_IN_PER_ACCOUNT must be a count and seconds",
        ),
        ("CARBONAPI_REDIS_URL", "http://hidden", "CARBONAPI_REDIS_URL must be a redis://, rediss:// or unix:// URL"),
        ("CARBONAPI_TRUSTED_PROXIES", "all", "CARBONAPI_TRUSTED_PROXIES must be a whole number from 0 to 10"),
        (
            "CARBONAPI_SMTP_URL",
            "http://hidden",
            "CARBONAPI_SMTP_URL must be a URL that begins with smtp:// or smtps://",
        ),
        ("CARBONAPI_SMTP_URL", "smtp://:25", "CARBONAPI_SMTP_URL must be a URL"),
        ("CARBONAPI_SMTP_URL", "smtp://hidden:port", "CARBONAPI_SMTP_URL must be a URL"),
        ("CARBONAPI_SMTP_URL", "smtp://u:hidden@mail.example", "CARBONAPI_MAIL_FROM is not set"),
        ("CARBONAPI_MAIL_FROM", "Carbon <hidden@mail.example>", "CARBONAPI_MAIL_FROM must be an e-mail address"),
        ("CARBONAPI_MAIL_FROM", "hidden@mail.example\r\nBcc: x@y", "CARBONAPI_MAIL_FROM must be an e-mail address"),
        ("CARBONAPI_PUBLIC_URL", "carbon.example", "CARBONAPI_PUBLIC_URL must be a URL that begins with https://"),
        ("CARBONAPI_POOL_SIZE", "٣", "CARBONAPI_POOL_SIZE must be a whole number"),
    ],
)
def test_a_setting_at_fault_is_named_and_its_value_is_not(variable, text, told):
    environ = {**REQUIRED, variable: text} if text is not None else {k: v for k, v in REQUIRED.items() if k != variable}

    with pytest.raises(SettingsError) as refusal:
        from_environ(environ)

    assert told in str(refusal.value)
    assert not text or text not in str(refusal.value)
    assert "hidden" not in str(refusal.value)


def test_a_limit_is_a_count_and_seconds_and_0_is_none():
    limits = {"CARBONAPI_LIMIT_SIGN_IN_PER_ACCOUNT": "7/86400", "CARBONAPI_LIMIT_SIGN_IN_PER_ADDRESS": "0"}
    values = from_environ(REQUIRED | limits)

    assert values["LIMIT_SIGN_IN_PER_ACCOUNT"] == Limit(7, 86_400)
    assert values["LIMIT_SIGN_IN_PER_ADDRESS"] is None
    assert str(values["LIMIT_WRITES_PER_ACCOUNT"]) == "30000/60"


def test_all_faults_are_told_at_once():
    with pytest.raises(SettingsError) as refusal:
        from_environ({"CARBONAPI_REGISTRATION": "ajar"})

    assert len(str(refusal.value).splitlines()) == 3


def test_the_app_does_not_start_without_its_secret(monkeypatch):
    for setting in SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.setenv("CARBONAPI_DATABASE_URL", REQUIRED["CARBONAPI_DATABASE_URL"])

    with pytest.raises(SettingsError, match="CARBONAPI_SECRET_KEY is not set"):
        create_app()
