"""Mail: a user's token to their address, through the operator's mail server.

Nothing but the address is of a caller's choosing, so nobody can have words of theirs sent to strangers. It is sent
before the commit, for a token that was neither sent nor told would be lost: if it cannot be sent, nothing is done.
"""

import datetime as dt
import ipaddress
import smtplib
import ssl
from email import utils
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from urllib.parse import SplitResult, unquote, urlsplit

from flask import current_app

from ..errors import Unavailable, ValidationFailed
from ..rest.fields import format_datetime

TIMEOUT_SECONDS = 5
# Not folded before a line must be (RFC 5322, section 2.1.1): so a long address, or token, stays in one piece.
POLICY = SMTP.clone(max_line_length=998)
TEXT = """\
You can set a password for your account with this:

{way}

It is good once, until {expires_at}. If you know nothing of it, leave it: then nothing changes.
"""


def is_configured() -> bool:
    """Whether there is a mail server, so that tokens are sent rather than told."""
    return current_app.config["SMTP_URL"] is not None


def send_token(address: str, token: str, expires_at: dt.datetime, now: dt.datetime) -> None:
    """Send the token to the address. Raises Unavailable if that does not go well, Invalid if it never will."""
    page = current_app.config["PASSWORD_PAGE_URL"]
    # Behind the #, it is in no server's log.
    text = TEXT.format(way=f"{page}#token={token}" if page else token, expires_at=format_datetime(expires_at))
    message = _message(current_app.config["MAIL_FROM"], address, "Set your password", text, now)
    try:
        _send(urlsplit(current_app.config["SMTP_URL"]), message, address)
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        if all(code >= 500 for code in codes):
            raise ValidationFailed(f"The mail server refuses {address}, so nothing was changed.") from None
        raise _unavailable(error) from None
    except OSError as error:  # So are those of smtplib and of TLS.
        raise _unavailable(error) from None


def _message(sender: str, address: str, subject: str, text: str, now: dt.datetime) -> EmailMessage:
    """The message. Raises ValueError for an address that would be more than one header."""
    message = EmailMessage(POLICY)
    message["From"], message["To"] = Address(addr_spec=sender), Address(addr_spec=address)
    message["Subject"] = subject
    message["Date"] = utils.format_datetime(now)
    message["Message-ID"] = utils.make_msgid(domain=_domain(sender))
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: who is away sends no answer.
    message.set_content(text)
    return message


def _send(url: SplitResult, message: EmailMessage, address: str) -> None:
    assert url.hostname is not None
    sender, tls = current_app.config["MAIL_FROM"], ssl.create_default_context()
    server: smtplib.SMTP
    if url.scheme == "smtps":
        server = smtplib.SMTP_SSL(url.hostname, url.port or 465, _domain(sender), timeout=TIMEOUT_SECONDS, context=tls)
    else:
        server = smtplib.SMTP(url.hostname, url.port or 587, _domain(sender), timeout=TIMEOUT_SECONDS)
    with server:
        if url.scheme == "smtp" and not _is_here(url.hostname):
            server.starttls(context=tls)
        if url.username:
            server.login(unquote(url.username), unquote(url.password or ""))
        server.send_message(message, sender, [address])


def _is_here(host: str) -> bool:
    """Whether the host is this machine, to which nobody listens in."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _unavailable(error: Exception) -> Unavailable:
    current_app.logger.warning("mail was not sent: %s", type(error).__name__)
    return Unavailable("The mail server does not take mail now, so nothing was changed. Try again shortly.")
