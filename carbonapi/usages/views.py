"""Recording, reading, correcting and deleting usages."""

from typing import Any

from flask.views import MethodView

from ..accounts.models import User
from ..auth import get_all_visible, get_visible, visible
from ..rest import Blueprint, lock_for_update, now
from . import service
from .daily_totals_query import count_from_daily_totals
from .explanation import explain
from .history import versions
from .models import Usage
from .schemas import (
    AsOfQuery,
    ExplanationSchema,
    IdsAndReasonSchema,
    NewUsageSchema,
    ReasonSchema,
    UsageChangesSchema,
    UsageQuery,
    UsageReplacementSchema,
    UsageSchema,
    UsageVersionQuery,
    UsageVersionSchema,
)

usages = Blueprint(
    "Usages",
    __name__,
    description="The ledger: what was used, when, and the kg CO2e that it caused, by a factor that is frozen.",
)


@usages.route("/usages")
class Usages(MethodView):
    @usages.listing(UsageSchema, UsageQuery, tally=count_from_daily_totals)
    def get(self, narrow: Any) -> Any:
        """List usages

        Newest first unless `sort` says otherwise. A member sees their own, everyone else their organization's.
        """
        return narrow(visible(Usage))

    @usages.writing(NewUsageSchema, UsageSchema, 201, conflicts=True, is_one_statement=True)
    def post(self, fields: dict[str, Any]) -> Usage:
        """Record a usage

        The emission factor in force at `usage_at` is frozen into it; no later factor changes the number. Without a
        factor at that time it is 422.
        """
        return service.record(now(), **fields)

    @usages.removing(IdsAndReasonSchema, conflicts=True)
    def delete(self, query: dict[str, Any]) -> None:
        """Delete several usages

        All of them, or none. What was believed of them stays readable, `as_of` a time before and in their versions.
        """
        service.delete(get_all_visible(Usage, query["id"], lock=True), now(), query.get("reason"))


@usages.route("/usages/<int:usage_id>")
class UsageById(MethodView):
    @usages.reading(UsageSchema, AsOfQuery, tagged=True)
    def get(self, narrow: Any, usage_id: int) -> Usage:
        """Get a usage

        With the factor that is frozen into it, and the kg CO2e. With `as_of`, as the ledger had it then.
        """
        return get_visible(Usage, usage_id, narrow)

    @usages.writing(UsageReplacementSchema, UsageSchema, conflicts=True)
    def put(self, fields: dict[str, Any], usage_id: int) -> Usage:
        """Replace a usage

        What is left out gets its default, but for `user_id`, which stays. The frozen factor stays too, unless type,
        time, region or method differ: then it is the one in force at that time.
        """
        return service.correct(lock_for_update(Usage, usage_id), now(), **fields)

    @usages.writing(UsageChangesSchema(partial=True), UsageSchema, conflicts=True)
    def patch(self, fields: dict[str, Any], usage_id: int) -> Usage:
        """Correct a usage

        What is left out stays. Correcting amount or note keeps the frozen factor; correcting type, time, region or
        method takes the factor of that time.
        """
        return service.correct(lock_for_update(Usage, usage_id), now(), **fields)

    @usages.removing(ReasonSchema, conflicts=True)
    def delete(self, query: dict[str, Any], usage_id: int) -> None:
        """Delete a usage

        It is gone from lists and totals. What was believed of it stays readable, `as_of` a time before and in its
        versions.
        """
        service.delete([lock_for_update(Usage, usage_id)], now(), query.get("reason"))


@usages.route("/usages/<int:usage_id>/explain")
class Explanation(MethodView):
    @usages.reading(ExplanationSchema, AsOfQuery)
    def get(self, narrow: Any, usage_id: int) -> Any:
        """Explain a usage

        The input, the conversion with its exact ratio, the factor that won and why, its source, the multiplication, and
        a hash over all that the number depends on. Anybody can do the sum again.
        """
        return explain(get_visible(Usage, usage_id, narrow))


@usages.route("/usages/<int:usage_id>/versions")
class Versions(MethodView):
    @usages.listing(UsageVersionSchema, UsageVersionQuery)
    def get(self, narrow: Any, usage_id: int) -> Any:
        """List the versions of a usage

        Everything that was ever believed of it, with the span in which it was: [recorded_at, superseded_at). A usage
        that was deleted still has its versions; the last tells by whom and why.
        """
        return narrow(versions(usage_id))


@usages.route("/users/<int:user_id>/usages")
class UsagesOfUser(MethodView):
    @usages.listing(UsageSchema, UsageQuery)
    def get(self, narrow: Any, user_id: int) -> Any:
        """List the usages of a user

        As `/usages`, of one user whom you may see.
        """
        return narrow(visible(Usage).where(Usage.user_id == get_visible(User, user_id).id))
