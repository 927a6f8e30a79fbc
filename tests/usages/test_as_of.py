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
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, rule, run_state_machine_as_test

from carbonapi.rest.fields import format_datetime, format_decimal
from tests.support import factories
from tests.support.scale import examples

SECOND = dt.timedelta(seconds=1)
DAYS = [dt.datetime(2024, month, day, tzinfo=dt.UTC) for month in (1, 2, 3) for day in (1, 15, 28)]
days = st.sampled_from(DAYS)
amounts = st.decimals(0, 1000, places=3)
kinds = st.sampled_from(["shared", "own"])


MONTHS = [dt.datetime(2024, month, 1, tzinfo=dt.UTC) for month in (1, 2, 3, 4)]
NUMBERS = itertools.count()


def used_until(moment, expected):
    """Return the part of a bill up to a moment: exact, except for the twelfth digit, which is rounded half up."""
    day, until = expected["day"], expected["until"]
    passed, whole = (min(max(moment, day), until) - day) // SECOND, (until - day) // SECOND
    return (expected["amount"] * passed / whole).quantize(Decimal("1e-12"), ROUND_HALF_UP)


def parts_of(expected):
    """Return the part of a usage in each month."""
    if expected["until"] is None:
        return [expected["amount"] if start <= expected["day"] < end else Decimal(0) for start, end in pairwise(MONTHS)]
    return [used_until(end, expected) - used_until(start, expected) for start, end in pairwise(MONTHS)]


def history_of(sign_in):
    """A machine that writes an organization's ledger through HTTP, and a dictionary of the expected ledger."""

    class History(RuleBasedStateMachine):
        usages = Bundle("usages")

        @initialize()
        def begin(self):
            self.organization = factories.organization()
            self.manager = sign_in(factories.user(self.organization, "manager"))
            self.admin = sign_in(factories.user(factories.organization(), "admin"))
            self.members = [factories.user(self.organization) for _ in range(2)]
            self.types = [factories.usage_type(factor="1").id, factories.usage_type(factor="2").id]
            # The factors of each type by owner, in the order of their entry: (valid from, factor).
            begin = dt.datetime(1900, 1, 1, tzinfo=dt.UTC)
            self.factors = {
                id_: {"shared": [(begin, Decimal(place))], "own": []} for place, id_ in enumerate(self.types, 1)
            }
            self.ledger, self.past = {}, []

        def teardown(self):
            for moment, ledger in getattr(self, "past", []):
                self.check(quote(format_datetime(moment)), ledger)

        def factor_at(self, usage_type_id, moment):
            owners = self.factors[usage_type_id]
            for owner in ("own", "shared"):
                in_force = [factor for valid_from, factor in owners[owner] if valid_from <= moment]
                if in_force:
                    return in_force[-1]
            raise AssertionError("There is always a shared one.")

        def remember(self):
            self.past.append((factories.now(), copy.deepcopy(self.ledger)))

        def expect(self, usage, **fields):
            """Write the expected fields of a usage into the dictionary."""
            self.ledger[usage] = {**self.ledger.get(usage, {}), **fields}

        @rule(target=usages, place=st.integers(0, 1), day=days, amount=amounts)
        def record(self, place, day, amount):
            body = {
                "usage_type_id": self.types[place],
                "usage_at": format_datetime(day),
                "amount": format_decimal(amount),
            }
            answer = self.manager.post("/usages", json=body)
            assert answer.status_code == 201
            factor = self.factor_at(self.types[place], day)
            self.expect(answer.json["id"], type=self.types[place], day=day, until=None, amount=amount, factor=factor)
            self.remember()
            return answer.json["id"]

        @rule(target=usages, place=st.integers(0, 1), day=days, length=st.integers(1, 10**7), amount=amounts)
        def record_a_bill(self, place, day, length, amount):
            until = day + length * SECOND
            span = {"usage_at": format_datetime(day), "usage_until": format_datetime(until)}
            body = {"usage_type_id": self.types[place], "amount": format_decimal(amount)} | span
            answer = self.manager.post("/usages", json=body)
            assert answer.status_code == 201
            factor = self.factor_at(self.types[place], day)
            self.expect(answer.json["id"], type=self.types[place], day=day, until=until, amount=amount, factor=factor)
            self.remember()
            return answer.json["id"]

        @rule(usage=usages, amount=amounts)
        def correct_the_amount(self, usage, amount):
            assert self.manager.patch(f"/usages/{usage}", json={"amount": format_decimal(amount)}).status_code == 200
            self.expect(usage, amount=amount)
            self.remember()

        @rule(usage=usages, day=days)
        def correct_the_time(self, usage, day):
            answer = self.manager.patch(f"/usages/{usage}", json={"usage_at": format_datetime(day)})
            until = self.ledger[usage]["until"]
            assert answer.status_code == (200 if until is None or day < until else 422)
            if answer.status_code == 200 and day != self.ledger[usage]["day"]:
                self.expect(usage, day=day, factor=self.factor_at(self.ledger[usage]["type"], day))
            self.remember()

        @rule(usage=consumes(usages))
        def delete(self, usage):
            assert self.manager.delete(f"/usages/{usage}").status_code == 204
            del self.ledger[usage]
            self.remember()

        @rule(place=st.integers(0, 1), lines=st.lists(st.tuples(days, amounts), min_size=1, max_size=4))
        def import_a_file(self, place, lines):
            file = "usage_at,amount,external_id\n" + "".join(
                f"{format_datetime(day)},{format_decimal(amount)},{next(NUMBERS)}\n" for day, amount in lines
            )
            path = f"/imports?usage_type_id={self.types[place]}"
            imported = self.manager.post(path, data=file, content_type="text/csv").json["id"]
            usages = self.manager.get(f"/usages?import_id={imported}&sort=id").json
            for usage, (day, amount) in zip(usages, lines, strict=True):
                factor = self.factor_at(self.types[place], day)
                self.expect(usage["id"], type=self.types[place], day=day, until=None, amount=amount, factor=factor)
            self.remember()

        @rule(place=st.integers(0, 1), owner=kinds, day=days, factor=st.decimals(0, 10, places=2))
        def enter_a_factor(self, place, owner, day, factor):
            known = self.factors[self.types[place]][owner]
            body = {"factor": format_decimal(factor), "valid_from": format_datetime(day), "source": "a test"}
            client = self.manager if owner == "own" else self.admin
            answer = client.post(f"/usage-types/{self.types[place]}/factors", json=body)
            overlaps = bool(known) and day <= known[-1][0]
            assert answer.status_code == (409 if overlaps else 201)
            if not overlaps:
                known.append((day, factor))
            self.remember()

        @rule(place=st.integers(0, 1))
        def restate(self, place):
            body = {"usage_type_ids": [self.types[place]], "reason": "a test", "mode": "apply"}
            assert self.manager.post("/restatements", json=body).status_code in (200, 201)
            for usage, expected in self.ledger.items():
                if expected["type"] == self.types[place]:
                    self.expect(usage, factor=self.factor_at(expected["type"], expected["day"]))
            self.remember()

        @rule()
        def erase_a_member(self):
            if self.members:
                assert self.manager.delete(f"/users/{self.members.pop().id}").status_code == 204
                self.remember()

        def check(self, as_of, ledger):
            """Compare every response with the dictionary."""
            listed = self.manager.get(f"/usages?page_size=1000&as_of={as_of}").json
            answered = {
                usage["id"]: (usage["usage_type_id"], usage["usage_at"], usage["amount"], usage["factor"])
                for usage in listed
            }
            assert answered == {
                usage: (b["type"], format_datetime(b["day"]), float(b["amount"]), float(b["factor"]))
                for usage, b in ledger.items()
            }
            months, total = defaultdict(Decimal), Decimal(0)
            for expected in ledger.values():
                for month, part in enumerate(parts_of(expected), 1):
                    months[month] += part * expected["factor"]
                total += expected["amount"] * expected["factor"]
            query = f"start=2024-01-01&end=2024-04-01&as_of={as_of}"
            trend = self.manager.get(f"/emissions/trend?{query}").json
            assert [bucket["co2e_kg"] for bucket in trend] == [float(months[month]) for month in (1, 2, 3)]
            assert f'"co2e_kg":{format_decimal(total)},' in self.manager.get(f"/emissions/summary?as_of={as_of}").text

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
