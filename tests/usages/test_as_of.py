"""Whatever happens to the ledger, every past answer stays: random histories against a dictionary of the past."""

import copy
import datetime as dt
import itertools
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from urllib.parse import quote

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from carbonapi.rest.fields import format_datetime, format_decimal
from tests.support import factories
from tests.support.scale import examples

SECOND = dt.timedelta(seconds=1)
DAYS = [dt.datetime(2024, month, day, tzinfo=dt.UTC) for month in (1, 2, 3) for day in (1, 15, 28)]
days = st.sampled_from(DAYS)
# In seconds. Most of the others are short, so these end after a change of the factors.
lengths = st.integers(1, 10**7) | st.sampled_from([31 * 86400, 60 * 86400 + 12345, 90 * 86400])
amounts = st.decimals(0, 1000, places=3)
# At the meter of the type, nowhere, or at one of the sites.
places = st.sampled_from(["meter", "meter", None, 0, 1, 2])
kinds = st.sampled_from(["shared", "own", "market"])  # Of factors. A market-based one is the organization's own.


MONTHS = [dt.datetime(2024, month, 1, tzinfo=dt.UTC) for month in (1, 2, 3, 4)]
BEGIN, END = dt.datetime(1900, 1, 1, tzinfo=dt.UTC), dt.datetime(2200, 1, 1, tzinfo=dt.UTC)
NUMBERS = itertools.count()


def used_until(moment, expected):
    """Return the part of a bill up to a moment: exact, except for the twelfth digit, which is rounded half up."""
    day, until = expected["day"], expected["until"]
    passed, whole = (min(max(moment, day), until) - day) // SECOND, (until - day) // SECOND
    return (expected["amount"] * passed / whole).quantize(Decimal("1e-12"), ROUND_HALF_UP)


def amount_within(expected, start, end):
    """Return the amount of a usage within [start, end)."""
    if expected["until"] is None:
        return expected["amount"] if start <= expected["day"] < end else Decimal(0)
    return used_until(end, expected) - used_until(start, expected) if start < end else Decimal(0)


def co2e_within(expected, start, end, factor="factor"):
    """Return the kg CO2e of a usage within [start, end), by the factors of its parts."""
    starts = [part["start"] for part in expected["parts"]]
    spans = zip(expected["parts"], starts, [*starts[1:], END], strict=True)
    return sum(amount_within(expected, max(start, first), min(end, last)) * part[factor] for part, first, last in spans)


def history_of(sign_in):
    """A machine that writes an organization's ledger through HTTP, and a dictionary of the expected ledger."""

    class History(RuleBasedStateMachine):
        usages = Bundle("usages")

        @initialize(splits=st.booleans())
        def begin(self, splits):
            self.organization = factories.organization()
            self.manager = sign_in(factories.user(self.organization, "manager"))
            self.admin = sign_in(factories.user(factories.organization(), "admin"))
            self.members = [factories.user(self.organization) for _ in range(2)]
            # The scope of each type, and its factors by kind, in the order of their entry: [valid from, factor, id].
            self.scopes, self.factors = {}, {}
            for value in (1, 2):
                usage_type = factories.usage_type(factor=None, scope=2)
                first = factories.emission_factor(usage_type, value, valid_until="2024-02-01")
                second = factories.emission_factor(usage_type, value + 2, "2024-02-01")
                self.scopes[usage_type.id] = 2
                self.factors[usage_type.id] = {
                    "shared": [[BEGIN, Decimal(value), first.id], [MONTHS[1], Decimal(value + 2), second.id]],
                    "own": [],
                    "market": [],
                }
            self.types = list(self.scopes)
            group = factories.site(self.organization)
            self.sites = [group.id, *(factories.site(self.organization, parent=group).id for _ in range(2))]
            self.meters = {}  # Of each type: its id, and where it is now.
            for usage_type_id in self.types:
                meter = factories.meter(group, usage_type_id=usage_type_id, external_id=f"meter-{usage_type_id}")
                self.meters[usage_type_id] = {"meter": meter.id, "site": group.id}
            self.split_bills(splits)
            self.ledger, self.past = {}, []

        def teardown(self):
            for moment, ledger in getattr(self, "past", []):
                self.check(quote(format_datetime(moment)), ledger)

        def factor_at(self, usage_type_id, moment, *kinds):
            """The factor of the first kind that has one. A factor is [its valid_from, its value, its id]."""
            for kind in kinds:
                in_force = [factor for since, factor, _ in self.factors[usage_type_id][kind] if since <= moment]
                if in_force:
                    return in_force[-1]
            raise AssertionError("There is always a shared one.")

        def valuation_of(self, usage_type_id, day, until):
            """Return the scope of a usage, and both factors of each part. All factors change at midnight."""
            scope = self.scopes[usage_type_id]
            starts = [BEGIN]
            if self.splits and until is not None and until - day >= dt.timedelta(hours=23):
                changes = {since for factors in self.factors[usage_type_id].values() for since, *_ in factors}
                starts += sorted(change for change in changes if day < change < until)
            parts = []
            for start in starts:
                factor = self.factor_at(usage_type_id, max(start, day), "own", "shared")
                market = factor
                if scope == 2:
                    market = self.factor_at(usage_type_id, max(start, day), "market", "own", "shared")
                parts.append({"start": start, "factor": factor, "market": market})
            return {"scope": scope, "parts": parts}

        def remember(self):
            self.past.append((factories.now(), copy.deepcopy(self.ledger)))

        def expect(self, usage, **fields):
            """Write the expected fields of a usage into the dictionary."""
            self.ledger[usage] = {**self.ledger.get(usage, {}), **fields}

        def usage_of_meter(self, meter, day):
            """Return the id of the usage that a meter has at this time, if it has one."""
            measured = (usage for usage, b in self.ledger.items() if meter and (b["meter"], b["day"]) == (meter, day))
            return next(measured, None)

        def body_of(self, usage_type_id, place, day, until, amount):
            """Return the body that records a usage, and the expected fields."""
            body = {"usage_type_id": usage_type_id, "usage_at": format_datetime(day), "amount": format_decimal(amount)}
            if until is not None:
                body["usage_until"] = format_datetime(until)
            located = {"meter": None, "site": None}
            if place == "meter":
                located = dict(self.meters[usage_type_id])
                body["meter_id"] = located["meter"]
            elif place is not None:
                located["site"] = body["site_id"] = self.sites[place]
            expected = {"type": usage_type_id, "day": day, "until": until, "amount": amount}
            return body, expected | located | self.valuation_of(usage_type_id, day, until)

        def post(self, usage_type_id, place, day, until, amount):
            """Record a usage, expect it, and return its id. A meter has one usage at a time."""
            body, expected = self.body_of(usage_type_id, place, day, until, amount)
            is_taken = self.usage_of_meter(expected["meter"], day) is not None
            answer = self.manager.post("/usages", json=body)
            assert answer.status_code == (409 if is_taken else 201), answer.json
            if is_taken:
                return multiple()
            self.expect(answer.json["id"], **expected)
            self.remember()
            return answer.json["id"]

        @rule(target=usages, type_=st.integers(0, 1), place=places, day=days, amount=amounts)
        def record(self, type_, place, day, amount):
            return self.post(self.types[type_], place, day, None, amount)

        @rule(target=usages, type_=st.integers(0, 1), place=places, day=days, length=lengths, amount=amounts)
        def record_a_bill(self, type_, place, day, length, amount):
            return self.post(self.types[type_], place, day, day + length * SECOND, amount)

        @rule(target=usages, type_=st.integers(0, 1), places=st.lists(places, min_size=1, max_size=3), day=days)
        def record_an_array(self, type_, places, day):
            """Record usages on days one after the other by one request: all, or none if a meter has one of them."""
            bodies, expected = [], []
            for number, place in enumerate(places):
                body, fields = self.body_of(
                    self.types[type_], place, day + number * 24 * 3600 * SECOND, None, Decimal(2)
                )
                bodies.append(body)
                expected.append(fields)
            taken = [
                index for index, fields in enumerate(expected) if self.usage_of_meter(fields["meter"], fields["day"])
            ]
            answer = self.manager.post("/usages", json=bodies)
            assert answer.status_code == (409 if taken else 201), answer.json
            if taken:
                assert list(answer.json["errors"]["json"]) == [str(index) for index in taken]
                return multiple()
            for usage, fields in zip(answer.json["ids"], expected, strict=True):
                self.expect(usage, **fields)
            self.remember()
            return multiple(*answer.json["ids"])

        @rule(type_=st.integers(0, 1), site=st.integers(0, 2))
        def move_a_meter(self, type_, site):
            """Move a meter to another site. Its recorded usages stay."""
            moved = self.meters[self.types[type_]]
            body = {"site_id": self.sites[site]}
            path = f"/meters/{moved['meter']}"
            assert self.manager.patch(path, json=body, headers={"If-Match": "*"}).status_code == 200
            moved["site"] = body["site_id"]
            self.remember()

        @rule(usage=usages, site=st.integers(0, 2))
        def correct_the_site(self, usage, site):
            corrected = self.manager.patch(f"/usages/{usage}", json={"site_id": self.sites[site]})
            keeps_meter = self.ledger[usage]["meter"] and self.ledger[usage]["site"] != self.sites[site]
            assert corrected.status_code == (422 if keeps_meter else 200), corrected.json
            if not keeps_meter:
                self.expect(usage, site=self.sites[site])
            self.remember()

        @rule(usage=usages, amount=amounts)
        def correct_the_amount(self, usage, amount):
            assert self.manager.patch(f"/usages/{usage}", json={"amount": format_decimal(amount)}).status_code == 200
            self.expect(usage, amount=amount)
            self.remember()

        @rule(usage=usages, day=days)
        def correct_the_time(self, usage, day):
            answer = self.manager.patch(f"/usages/{usage}", json={"usage_at": format_datetime(day)})
            until = self.ledger[usage]["until"]
            is_taken = self.usage_of_meter(self.ledger[usage]["meter"], day) not in (None, usage)
            status = 422 if until is not None and day >= until else 409 if is_taken else 200
            assert answer.status_code == status, answer.json
            if answer.status_code == 200 and day != self.ledger[usage]["day"]:
                self.expect(usage, day=day, **self.valuation_of(self.ledger[usage]["type"], day, until))
            self.remember()

        @rule(usage=consumes(usages))
        def delete(self, usage):
            assert self.manager.delete(f"/usages/{usage}").status_code == 204
            del self.ledger[usage]
            self.remember()

        @rule(type_=st.integers(0, 1), lines=st.lists(st.tuples(days, amounts), min_size=1, max_size=4))
        def import_a_file(self, type_, lines):
            usage_type_id = self.types[type_]
            file = "usage_at,amount,external_id\n" + "".join(
                f"{format_datetime(day)},{format_decimal(amount)},{next(NUMBERS)}\n" for day, amount in lines
            )
            path = f"/imports?usage_type_id={usage_type_id}"
            imported = self.manager.post(path, data=file, content_type="text/csv").json["id"]
            usages = self.manager.get(f"/usages?import_id={imported}&sort=id").json
            for usage, (day, amount) in zip(usages, lines, strict=True):
                expected = {"type": usage_type_id, "day": day, "until": None, "amount": amount}
                valuation = self.valuation_of(usage_type_id, day, None)
                self.expect(usage["id"], meter=None, site=None, **expected, **valuation)
            self.remember()

        @rule(
            type_=st.integers(0, 1),
            lines=st.dictionaries(days, amounts, min_size=1, max_size=4),
            on_conflict=st.sampled_from(["skip", "replace"]),
        )
        def import_readings(self, type_, lines, on_conflict):
            """Import readings of a meter. A replaced usage keeps its site and, unless it was a bill, its factors."""
            usage_type_id = self.types[type_]
            meter = self.meters[usage_type_id]
            file = "usage_at,amount,meter\n" + "".join(
                f"{format_datetime(day)},{format_decimal(amount)},meter-{usage_type_id}\n"
                for day, amount in lines.items()
            )
            imported = self.manager.post(
                f"/imports?on_conflict={on_conflict}&again=true", data=file, content_type="text/csv"
            )
            assert imported.status_code == 201, imported.json
            measured = {day: self.usage_of_meter(meter["meter"], day) for day in lines}
            new = self.manager.get(f"/usages?import_id={imported.json['id']}&sort=id").json
            for day, amount in lines.items():
                valuation = self.valuation_of(usage_type_id, day, None)
                if measured[day] is None:
                    usage = next(usage["id"] for usage in new if usage["usage_at"] == format_datetime(day))
                    expected = {"type": usage_type_id, "day": day, "until": None, "amount": amount}
                    self.expect(usage, **expected, **meter, **valuation)
                elif on_conflict == "replace":
                    is_bill = self.ledger[measured[day]]["until"] is not None
                    self.expect(measured[day], until=None, amount=amount, **(valuation if is_bill else {}))
            self.remember()

        @rule(type_=st.integers(0, 1), owner=kinds, day=days, factor=st.decimals(0, 10, places=2))
        def enter_a_factor(self, type_, owner, day, factor):
            known = self.factors[self.types[type_]][owner]
            body = {"factor": format_decimal(factor), "valid_from": format_datetime(day), "source": "a test"}
            if owner == "market":
                body["method"] = "market"
            client = self.admin if owner == "shared" else self.manager
            answer = client.post(f"/usage-types/{self.types[type_]}/factors", json=body)
            overlaps = bool(known) and day <= known[-1][0]
            assert answer.status_code == (409 if overlaps else 201)
            if not overlaps:
                known.append([day, factor, answer.json["id"]])
            self.remember()

        @rule(type_=st.integers(0, 1), owner=kinds, which=st.integers(0, 9), factor=st.decimals(0, 10, places=2))
        def supersede_a_factor(self, type_, owner, which, factor):
            known = self.factors[self.types[type_]][owner]
            if known:
                superseded = known[which % len(known)]
                body = {"factor": format_decimal(factor), "source": "a test", "reason": "Misread"}
                path = f"/usage-types/{self.types[type_]}/factors/{superseded[2]}/supersede"
                answer = (self.admin if owner == "shared" else self.manager).post(path, json=body)
                assert answer.status_code == 201, answer.json
                superseded[1:] = [factor, answer.json["id"]]
                self.remember()

        @rule(type_=st.integers(0, 1), scope=st.integers(1, 3))
        def change_the_scope(self, type_, scope):
            changed = self.admin.patch(
                f"/usage-types/{self.types[type_]}", json={"scope": scope}, headers={"If-Match": "*"}
            )
            assert changed.status_code == 200, changed.json
            self.scopes[self.types[type_]] = scope
            self.remember()

        @rule(type_=st.integers(0, 1))
        def restate(self, type_):
            body = {"usage_type_ids": [self.types[type_]], "reason": "a test", "mode": "apply"}
            assert self.manager.post("/restatements", json=body).status_code in (200, 201)
            for usage, expected in self.ledger.items():
                if expected["type"] == self.types[type_]:
                    valuation = self.valuation_of(expected["type"], expected["day"], expected["until"])
                    self.expect(usage, **valuation)
            self.remember()

        @rule(splits=st.booleans())
        def split_bills(self, splits):
            """Let later bills over a change of factor be split, or not."""
            fields = {"factor_split": "days" if splits else "start"}
            path = f"/organizations/{self.organization.id}"
            assert self.manager.patch(path, json=fields, headers={"If-Match": "*"}).status_code == 200
            self.splits = splits

        @rule()
        def erase_a_member(self):
            if self.members:
                assert self.manager.delete(f"/users/{self.members.pop().id}").status_code == 204
                self.remember()

        def check(self, as_of, ledger):
            """Compare every response with the dictionary."""
            listed = self.manager.get(f"/usages?page_size=1000&as_of={as_of}").json
            answered = {
                usage["id"]: [
                    usage[name]
                    for name in (
                        "usage_type_id",
                        "usage_at",
                        "site_id",
                        "meter_id",
                        "amount",
                        "factor",
                        "market_factor",
                    )
                ]
                for usage in listed
            }
            assert answered == {
                usage: [
                    b["type"],
                    format_datetime(b["day"]),
                    b["site"],
                    b["meter"],
                    *map(float, (b["amount"], b["parts"][0]["factor"], b["parts"][0]["market"])),
                ]
                for usage, b in ledger.items()
            }
            months, total, market = defaultdict(Decimal), Decimal(0), Decimal(0)
            scopes, sites = defaultdict(Decimal), defaultdict(Decimal)
            for expected in ledger.values():
                for month, (start, end) in enumerate(pairwise(MONTHS), 1):
                    months[month] += co2e_within(expected, start, end)
                total += co2e_within(expected, BEGIN, END)
                market_based = co2e_within(expected, BEGIN, END, "market")
                market += market_based
                scopes[expected["scope"]] += market_based
                sites[expected["site"]] += market_based
            query = f"start=2024-01-01&end=2024-04-01&as_of={as_of}"
            trend = self.manager.get(f"/emissions/trend?{query}").json
            assert [bucket["co2e_kg"] for bucket in trend] == [float(months[month]) for month in (1, 2, 3)]
            summary = self.manager.get(f"/emissions/summary?method=market&by=scope&by=site&as_of={as_of}")
            for name, sum_ in (("location_co2e_kg", total), ("market_co2e_kg", market)):
                assert f'"{name}":{format_decimal(sum_)},' in summary.text
            assert {group["id"]: group["co2e_kg"] for group in summary.json["by_scope"]} == {
                scope: float(sum_) for scope, sum_ in scopes.items()
            }
            assert {group["id"]: group["co2e_kg"] for group in summary.json["by_site"]} == {
                site: float(sum_) for site, sum_ in sites.items()
            }
            within = self.manager.get(f"/emissions/summary?method=market&site_id={self.sites[0]}&as_of={as_of}")
            at_sites = sum(sum_ for site, sum_ in sites.items() if site is not None)
            assert f'"market_co2e_kg":{format_decimal(Decimal(at_sites))},' in within.text

    return History


def test_as_of_reproduces_every_past_answer(sign_in):
    run_state_machine_as_test(
        history_of(sign_in),
        settings=settings(
            max_examples=examples(5, 20),
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
