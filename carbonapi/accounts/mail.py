"""Send password tokens by mail, through the operator's mail server.

Callers choose the address but no text, so the service cannot be used to send spam. Mail is sent before the commit: if
sending fails, the request fails, because a token that was neither sent nor returned would be lost.
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
# The longest lines that RFC 5322 (section 2.1.1) allows, so that a long address or token is not folded.
POLICY = SMTP.clone(max_line_length=998)
TEXT = """\
You can set a password for your account with this:

{link_or_token}

It can be used once, until {expires_at}. If you did not expect this message, ignore it: nothing will change.
"""


def is_configured() -> bool:
    """Return whether a mail server is configured, so that tokens are sent instead of returned."""
    return current_app.config["SMTP_URL"] is not None


def send_token(address: str, token: str, expires_at: dt.datetime, now: dt.datetime) -> None:
    """Send the token to the address.

    Raise ValidationFailed if the mail server rejects the address permanently, Unavailable if sending fails otherwise.
    """
    page = current_app.config["PASSWORD_PAGE_URL"]
    # A browser does not send the fragment, so the token appears in no server's log.
    link_or_token = f"{page}#token={token}" if page else token
    sender = current_app.config["MAIL_FROM"]
    domain = sender.rpartition("@")[2]
    message = EmailMessage(POLICY)
    message["From"], message["To"] = Address(addr_spec=sender), Address(addr_spec=address)
    message["Subject"] = "Set your password"
    message["Date"] = utils.format_datetime(now)
    message["Message-ID"] = utils.make_msgid(domain=domain)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: do not send out-of-office replies.
    message.set_content(TEXT.format(link_or_token=link_or_token, expires_at=format_datetime(expires_at)))
    try:
        _send(urlsplit(current_app.config["SMTP_URL"]), message, sender, address, domain)
    except OSError as error:  # The base class of the errors of smtplib and ssl.
        rejections = error.recipients if isinstance(error, smtplib.SMTPRecipientsRefused) else {}
        if rejections and all(code >= 500 for code, _ in rejections.values()):
            raise ValidationFailed(f"The mail server rejects {address}. Nothing was changed.") from None
        current_app.logger.warning("mail was not sent: %s", type(error).__name__)
        raise Unavailable("The mail server does not accept mail now. Nothing was changed. Try again shortly.") from None


def _send(url: SplitResult, message: EmailMessage, sender: str, address: str, domain: str) -> None:
    assert url.hostname is not None
    tls = ssl.create_default_context()
    server: smtplib.SMTP
    if url.scheme == "smtps":
        server = smtplib.SMTP_SSL(url.hostname, url.port or 465, domain, timeout=TIMEOUT_SECONDS, context=tls)
    else:
        server = smtplib.SMTP(url.hostname, url.port or 587, domain, timeout=TIMEOUT_SECONDS)
    with server:
        if url.scheme == "smtp" and not _is_local(url.hostname):
            server.starttls(context=tls)
        if url.username:
            server.login(unquote(url.username), unquote(url.password or ""))
        server.send_message(message, sender, [address])


def _is_local(host: str) -> bool:
    """Return whether the host is this machine, so that the connection needs no encryption."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
