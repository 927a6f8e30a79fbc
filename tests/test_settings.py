"""Settings: all missing and invalid ones are reported at once, by variable, without values."""

import secrets

import pytest

from carbonapi import create_app
from carbonapi.settings import SETTINGS, Limit, SettingsError, from_environ

REQUIRED = {
    "CARBONAPI_DATABASE_URL": "postgresql://u:aPq7xW2m@db/carbonapi",
    "CARBONAPI_SECRET_KEY": "zM0vT8rLk2qYb6WdN4xGh1PjC9uSf3Ea",
}


def test_unset_settings_have_defaults():
    values = from_environ(REQUIRED)

    assert values["DATABASE_URL"] == "postgresql+psycopg2://u:aPq7xW2m@db/carbonapi"
    assert (values["ACCESS_TOKEN_MINUTES"], values["REFRESH_TOKEN_DAYS"]) == (15, 30)
    assert (values["SESSION_CACHE_SECONDS"], values["REGISTRATION"]) == (5, "open")
    assert set(values) == {setting.name for setting in SETTINGS}


@pytest.mark.parametrize(
    ("variable", "text", "message"),
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
            "CARBONAPI_RATE_LIMIT_LOGIN_PER_ACCOUNT",
            "77",
            "CARBONAPI_RATE_LIMIT_LOGIN_PER_ACCOUNT must be a count and seconds",
        ),
        ("CARBONAPI_RATE_LIMIT_LOGIN_PER_ACCOUNT", "0/60", "such as 10/300, or 0 for no limit"),
        ("CARBONAPI_RATE_LIMIT_LOGIN_PER_ACCOUNT", "1/86401", "seconds, up to 86400"),
        (
            "CARBONAPI_RATE_LIMIT_LOGIN_PER_ACCOUNT",
            "1/٣",
            "CARBONAPI_RATE_LIMIT_LOGIN_PER_ACCOUNT must be a count and seconds",
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
        (
            "CARBONAPI_PASSWORD_PAGE_URL",
            "carbon.example",
            "CARBONAPI_PASSWORD_PAGE_URL must be a URL that begins with https://",
        ),
        ("CARBONAPI_SECRET_KEY", "x" * 64, "CARBONAPI_SECRET_KEY can be guessed"),
        ("CARBONAPI_SECRET_KEY", "zM0vT8rLk2qYb6Wd" * 2, "CARBONAPI_SECRET_KEY can be guessed"),
        ("CARBONAPI_SECRET_KEY", "Change-Me zM0vT8rLk2qYb6WdN4xGh1", "CARBONAPI_SECRET_KEY can be guessed"),
        ("CARBONAPI_SECRET_KEY", "my-SECRET-key-of-thirty-two-bytes", "CARBONAPI_SECRET_KEY can be guessed"),
        ("CARBONAPI_SECRET_KEY", "0123456789abcdef0123456789ABCDEF", "CARBONAPI_SECRET_KEY can be guessed"),
        ("CARBONAPI_METRICS_TOKEN", "aab" * 8, "CARBONAPI_METRICS_TOKEN can be guessed"),
        ("CARBONAPI_DATABASE_URL", "postgresql://carbon:carbon@db/hidden", "CARBONAPI_DATABASE_URL has a password"),
        (
            "CARBONAPI_DATABASE_URL",
            "postgresql://c:carbonapi@localhost,db/hidden",
            "CARBONAPI_DATABASE_URL has a password",
        ),
        ("CARBONAPI_DATABASE_URL", "postgresql://c:carbonapi@/hidden?host=db", "CARBONAPI_DATABASE_URL has a password"),
        ("CARBONAPI_DATABASE_URL", "postgresql://db:1:2/hidden", "CARBONAPI_DATABASE_URL must have hosts such as"),
        ("CARBONAPI_DATABASE_URL", "postgres://u:p%6Fstgres@10.0.0.1:5432/hidden", "_DATABASE_URL has a password"),
        (
            "CARBONAPI_MIGRATION_DATABASE_URL",
            "postgresql://u:PassWord@[fd00::1]/hidden",
            "MIGRATION_DATABASE_URL has a password",
        ),
        ("CARBONAPI_CORS_ORIGINS", "*", "CARBONAPI_CORS_ORIGINS must be origins as browsers send them"),
        ("CARBONAPI_CORS_ORIGINS", "null", "CARBONAPI_CORS_ORIGINS must be origins"),
        ("CARBONAPI_CORS_ORIGINS", "https://*.hidden", "CARBONAPI_CORS_ORIGINS must be origins"),
        ("CARBONAPI_CORS_ORIGINS", "https://a.hidden/", "CARBONAPI_CORS_ORIGINS must be origins"),
        ("CARBONAPI_CORS_ORIGINS", "https://a.hidden:443", "CARBONAPI_CORS_ORIGINS must be origins"),
        ("CARBONAPI_CORS_ORIGINS", "https://A.hidden", "CARBONAPI_CORS_ORIGINS must be origins"),
        ("FLASK_DEBUG", "hidden", "FLASK_DEBUG is set"),
        ("DEBUG", "True", "DEBUG is set. Unset it"),
        ("CARBONAPI_DATABASE_POOL_SIZE", "٣", "CARBONAPI_DATABASE_POOL_SIZE must be a whole number"),
    ],
)
def test_invalid_setting_is_reported_without_its_value(variable, text, message):
    environ = {**REQUIRED, variable: text} if text is not None else {k: v for k, v in REQUIRED.items() if k != variable}

    with pytest.raises(SettingsError) as error:
        from_environ(environ)

    assert message in str(error.value)
    assert not text or text not in str(error.value)
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("CARBONAPI_DATABASE_URL", "postgresql://carbon:carbon@localhost/carbonapi"),
        ("CARBONAPI_DATABASE_URL", "postgresql://carbon:carbon@127.0.0.1:5432/carbonapi"),
        ("CARBONAPI_DATABASE_URL", "postgresql://carbon:carbon@/carbonapi?host=/run/postgresql"),
        ("CARBONAPI_DATABASE_URL", "postgresql://carbon@db/carbonapi?sslmode=verify-full"),
        ("FLASK_DEBUG", "0"),
        ("DEBUG", ""),
    ],
)
def test_local_and_missing_database_passwords_are_accepted(variable, text):
    assert from_environ({**REQUIRED, variable: text})["REGISTRATION"] == "open"


@pytest.mark.parametrize(
    ("rest", "parsed"),
    [
        ("u:p@one,two/db", "u:p@/db?host=one,two&port=5432,5432"),
        ("u@one:1,[::1]:2/db?sslmode=require", "u@/db?host=one,::1&port=1,2&sslmode=require"),
        ("one,two", "/?host=one,two&port=5432,5432"),
        ("u:p%40@[::1]:5/db?options=-c%20a", "u:p%40@[::1]:5/db?options=-c%20a"),
        ("/db?host=one:1&host=two:2", "/db?host=one:1&host=two:2"),
    ],
)
def test_database_url_may_have_several_hosts(rest, parsed):
    values = from_environ(REQUIRED | {"CARBONAPI_DATABASE_URL": f"postgresql://{rest}"})

    assert values["DATABASE_URL"] == f"postgresql+psycopg2://{parsed}"


def test_random_secrets_are_accepted():
    for _ in range(100):
        secret_settings = {
            "CARBONAPI_SECRET_KEY": secrets.token_hex(16),
            "CARBONAPI_METRICS_TOKEN": secrets.token_hex(8),
        }
        assert from_environ(REQUIRED | secret_settings)["METRICS_TOKEN"] == secret_settings["CARBONAPI_METRICS_TOKEN"]


def test_cors_origins_are_comma_separated():
    values = from_environ(REQUIRED | {"CARBONAPI_CORS_ORIGINS": "https://a.example, http://[::1]:3000,"})

    assert values["CORS_ORIGINS"] == {"https://a.example", "http://[::1]:3000"}


def test_rate_limit_is_count_per_seconds_or_0():
    limits = {"CARBONAPI_RATE_LIMIT_LOGIN_PER_ACCOUNT": "7/86400", "CARBONAPI_RATE_LIMIT_LOGIN_PER_IP": "0"}
    values = from_environ(REQUIRED | limits)

    assert values["RATE_LIMIT_LOGIN_PER_ACCOUNT"] == Limit(7, 86_400)
    assert values["RATE_LIMIT_LOGIN_PER_IP"] is None
    assert str(values["RATE_LIMIT_WRITES_PER_ACCOUNT"]) == "30000/60"


def test_all_errors_are_reported_at_once():
    with pytest.raises(SettingsError) as error:
        from_environ({"CARBONAPI_REGISTRATION": "ajar"})

    assert len(str(error.value).splitlines()) == 3


def test_app_requires_secret_key(monkeypatch):
    for setting in SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.setenv("CARBONAPI_DATABASE_URL", REQUIRED["CARBONAPI_DATABASE_URL"])

    with pytest.raises(SettingsError, match="CARBONAPI_SECRET_KEY is not set"):
        create_app()
