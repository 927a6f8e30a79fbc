"""Headers that keep a browser from doing more with an answer than was meant."""

from flask import Response, request

# Strict: no inline script, and nothing from elsewhere. Swagger UI needs data: for its arrows.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
ALWAYS_TLS = "max-age=31536000"  # A year.


def set_headers(response: Response) -> Response:
    """Give an answer its protective headers, and keep what a signed-in person reads with them."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    # A proxy that is trusted tells that it was asked by TLS.
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", ALWAYS_TLS)
    if request.path.startswith("/api/"):
        # An ETag asks again each time.
        response.headers.setdefault("Cache-Control", "private, no-cache")
        response.headers.setdefault("Vary", "Authorization")
    return response
