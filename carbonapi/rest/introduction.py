"""What Swagger UI says above all operations: how to begin, the ideas, and the conventions, each in a few sentences."""

INTRODUCTION = """\
carbonapi keeps a ledger of **usages**: so much electricity, water or heating, when, and the kg of CO2e that it
caused. Numbers are exact decimals, from the request to the answer.

### To begin

1. **Register** (`POST /api/v1/auth/register`), which makes an organization and its manager, and **log in**
   (`/login`): press *Execute* at each, for the examples work as they stand.
2. Press *Authorize* and paste the `access_token` of the answer. The browser keeps it when the page is loaded again;
   it is good for 15 minutes. A machine has an **API key** in its place, from `/api/v1/api-keys`.
3. **Record a usage**, **list usages**, **get the trend**, and **explain the usage**: how its number came about.

The tags below are in the order in which one learns them. The same course, ready to be run, is a Postman collection at
[/postman.json](/postman.json).

### The ideas

* A **usage** has a **usage type** (electricity in kwh), an `amount`, in any unit of the type's dimension, and the
  instant it was used at. With `usage_until` it is a bill: it covers a time, and days and months get the part that
  lies in them.
* An **emission factor** says how many kg CO2e one unit causes, of a usage type, from when until when, for a region or
  for any. An organization's own goes before a shared one, a region's before the general one.
* **Frozen CO2e**: `co2e_kg` is `amount` times the factor in force at `usage_at`. The usage keeps that factor, so a
  later one moves no recorded number.
* **Versions**: nothing is overwritten. A correction keeps what was believed before (`/versions`), and with `as_of`
  lists and figures answer as they would have at that moment.
* A **restatement** books usages anew with the factors there are now, in the open: first previewed, then applied.
* A **closed period** stays as it is: what was wrong in it is made up for by an adjustment dated after it.
* **Coverage** tells of each bucket of a trend the share of its time that has data: what is missing is never silently
  nothing.

### The conventions

* **Times** are RFC 3339 with an offset, of the years 1900 to 2200, to the microsecond; answers have them in UTC.
  Ranges are half-open, `[start, end)`; a bare date is midnight in `timezone`.
* **Paging**: `page` and `page_size`; `X-Pagination` and `Link` tell where the page stands. To read a long list whole,
  begin with an empty `cursor` and follow `rel="next"`: every page costs the same, and nothing that stays is missed or
  comes twice. Lists sort (`sort=-usage_at`) and filter; an unknown query argument is refused.
* **Errors** are `application/problem+json` (RFC 9457): they name the field, and the way out. What you may not see
  is 404, as if it were not there.
* **Two at once**: an answer's `ETag` is the version of what you read; with `If-Match` only that one is written over,
  else it is 412.
* **Retries**: a POST may be sent again without harm if it has an `Idempotency-Key`, but for signing in, which takes
  none.
* **Limits**: whatever writes is limited, so often in so many seconds, by account and by address: `RateLimit-Policy`
  tells the limits, `RateLimit` what is left of them, and past one it is 429 with `Retry-After`.
* `X-Request-ID` is in every answer, yours if you sent one of up to 64 letters, digits, dots, hyphens and underscores.
"""
