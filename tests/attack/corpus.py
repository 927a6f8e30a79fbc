"""Malformed values."""

import json

INSTANTS = [
    "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "2024-01-31T12:00:00", "2024-01-31",
    "2024-02-30T00:00:00Z",
    "2024-01-31T24:00:00Z", "2024-01-31T12:00:60Z", "2024-01-31T12:00:00+24:00", "1899-12-31T23:59:59Z",
    "2201-01-01T00:00:00Z", "2200-12-31T23:59:59-00:01", "٢٠٢٤-01-31T12:00:00Z", "now", "infinity", "-infinity",
    "epoch",
    "2024-01-31T12:00:00.123456789Z", "2024-01-31T12:00:00Z[Europe/London]", "1706702400",
]  # fmt: skip
TEXTS = [
    "", " ", "\x00", "a\x00b", "\x1b[2J", "\x7f", "\x85", "a\r\nb", "a\tb", "\ufeffa", "\u202etxt.exe", "\u200b",
    "\ud800",
    "a\udfffb", "👩‍👩‍👧‍👦 مرحبا", "ﷺ" * 50, "Z̸̡̛a̵l̷g̴o̶" * 10, "İıſK", "ﬀ", "１２", "٣", "1_000", "1,5", "1e3", " 1",
    "0x10", "+1",
    "'; DROP TABLE usages; --", "1 OR 1=1", "\\", "\"'`", "%", "_%", "{0.__class__}", "${7*7}{{7*7}}", "%s%n", "$1",
    "<script>alert(1)</script>", "=1+1", "@SUM(A1)", "+1-1", "-1+1", "../../../../etc/passwd", "null", "undefined",
    "NaN",
    "Infinity", "-Infinity", "true", "False", "C:\\nul", "http://127.0.0.1:1/", "x" * 201, "x" * 2001,
    *INSTANTS,
]  # fmt: skip
NUMBERS = [
    "0", "-0", "-1", "1", "1.5", "1e-30", "0.0000001", "1E+400", "-1E+400", "1E-400", "1E+1000000000",
    "1e99999999999999999999",
    "9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551616", "999999999999.999999",
    "1000000000000", "1e21", "0.1", "3", "7" * 4_000, "0." + "1" * 4_000,
]  # fmt: skip
NOT_JSON = [
    "NaN",
    "Infinity",
    "-Infinity",
    "01",
    ".5",
    "1.",
    "+1",
    "0x10",
    "1_000",
    "'a'",
    "undefined",
    "1" * 5_000,
    '"\\u00"',
    '"\t"',
    "",
]
OTHERS = [
    "null",
    "true",
    "false",
    "[]",
    "[1]",
    '["a"]',
    "{}",
    '{"a": 1}',
    "[[[[[[1]]]]]]",
    '{"$ref": "#"}',
    '{"__class__": "x"}',
]
LONG = json.dumps("x" * 1_000_000)
DEEP = ["[" * 100_000, '{"a":' * 100_000, "[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900]

# Values in a JSON body, as source text.
IN_JSON = [json.dumps(text) for text in TEXTS] + NUMBERS + NOT_JSON + OTHERS + DEEP + [LONG]
# Values of query parameters: text, or raw bytes.
IN_QUERY = [text.encode("utf-8", "surrogatepass") for text in TEXTS + NUMBERS + OTHERS[:6]] + [
    b"1000000000000000000000", b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"x" * 20_000, b"-usage_at,-usage_at",
    b",", b",,,",
    b"usage_at,", b"-", b"--id", b"id;DROP", b"1,2", b"UTC", b"Europe/London", b"../UTC", b"/etc/localtime", b"GB",
    b"csv",
]  # fmt: skip
IDS = [
    "0", "-1", "1.0", "1.5", "1e3", "9" * 30, "9223372036854775808", "%D9%A3", "1_0", "abc", "%00", "1%0a", "+1",
    "%201", "1%20",
    "null", "NaN", "1%20OR%201=1", "..%2F..%2Fetc", "%ff", "%ED%A0%80", "x" * 5_000, "%2e%2e", ";", "1;2", "1,2",
    "0x1", "01",
]  # fmt: skip
IN_HEADERS = {
    "If-Match": ['"', '""', "7", "*, *", 'W/"1"', '"1", "x', "x" * 5_000, '"é"', '"9223372036854775808"'],
    "If-None-Match": ['"', "*", "x" * 5_000, 'W/"1"', '"é"', ",,,"],
    "Idempotency-Key": ["", " ", "x" * 256, "é", "a b", "x" * 5_000],
    "Prefer": ["", "respond-async, respond-async", "wait=-1", "é", "x" * 5_000, "respond-async=0"],
}
# JSON bodies, and the status of their response.
BODIES = [
    (b"", 400), (b" ", 400), (b"{", 400), (b"}", 400), (b"{'a': 1}", 400), (b'{"a": 1,}', 400), (b'{"a": 1} x', 400),
    (b'{"a": 1}{"a": 1}', 400), (b'{"a": 1, "a": 2}', 400), (b"\xff\xfe", 400), (b'{"a": "\xed\xa0\x80"}', 400),
    ('{"a": 1}'.encode("utf-16"), 400), (b"[" * 100_000, 400), (b'{"a":' * 100_000, 400),
    (b'{"a": ' + b"1" * 5_000 + b"}", 400),
    (b"[]", 422), (b"[{}]", 422), (b'"text"', 422), (b"1", 422), (b"null", 422), (b"true", 422), (b'{"a": 1}', 422),
    (b'{"": 1}', 422), (b'{"\\ud800": 1}', 422), (b'{"a\\u0000": 1}', 422), (b'{"__proto__": {}}', 422),
    (b'{"id": 1}', 422),
    (b'{"version": 1}', 422),
    (b"[[]]", 422), (b"[null]", 422), (b"[{}, 1]", 422), (b"[" + b"{}, " * 1_000 + b"{}]", 422),
    (b'[{"a": 1, "a": 2}]', 400), (b"[{}", 400), (b"[{},]", 400),
]  # fmt: skip
MEDIA = [
    None,
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "text/json",
    "application",
    "x",
    "*/*",
]
