#!/usr/bin/env python3
"""The options of curl that the documentation uses, so that its tests do not need curl."""

import argparse
import sys
import urllib.error
import urllib.request
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("-s", action="store_true")
parser.add_argument("-i", action="store_true")
parser.add_argument("-X", dest="method")
parser.add_argument("-H", dest="headers", action="append", default=[])
parser.add_argument("-d", "--data-binary", dest="body")
parser.add_argument("-F", dest="form")
parser.add_argument("-o", dest="output")
parser.add_argument("-w", dest="format", default="")
options = parser.parse_args()

body = options.body.encode() if options.body else None
if options.body == "@-":
    body = sys.stdin.buffer.read()
elif options.body and options.body.startswith("@"):
    body = Path(options.body[1:]).read_bytes()
headers = dict(header.split(": ", 1) for header in options.headers)
if options.form:  # One file: name=@path.
    name, path = options.form.split("=@")
    part = f'--boundary\r\nContent-Disposition: form-data; name="{name}"; filename="{path}"\r\n\r\n'.encode()
    body = part + Path(path).read_bytes() + b"\r\n--boundary--\r\n"
    headers["Content-Type"] = "multipart/form-data; boundary=boundary"
request = urllib.request.Request(options.url, body, headers, method=options.method)
try:
    answer = urllib.request.urlopen(request)
except urllib.error.HTTPError as error:
    answer = error
with answer:
    if options.i:
        print("".join(f"{name.lower()}: {value}\n" for name, value in answer.headers.items()))
    if options.output is None:
        sys.stdout.write(answer.read().decode())
    else:
        Path(options.output).write_bytes(answer.read())
    sys.stdout.write(options.format.replace("%{http_code}", str(answer.status)).replace("\\n", "\n"))
