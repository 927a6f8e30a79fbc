"""Views of usages: record, read, correct and delete them, and read their history."""

from typing import Any

from flask.views import MethodView

from ..accounts.models import User
from ..auth import get_all_visible, get_visible, visible
from ..rest import Blueprint, lock_for_update, single_statement
from . import service
from .daily_totals_query import count_from_daily_totals
from .explanation import explain
from .explanation_schemas import ExplanationSchema
from .history import versions
from .models import Usage
from .schemas import (
    AsOfQuery,
    IdsAndReasonSchema,
    NewUsageSchema,
    ReasonSchema,
    RecordedUsagesSchema,
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
    description="The ledger: amounts that were used, and the kg CO2e that they caused by a frozen emission factor.",
)


@usages.route("/usages")
class Usages(MethodView):
    @usages.list(UsageSchema, UsageQuery, count_rows=count_from_daily_totals)
    def get(self, narrow: Any) -> Any:
        """List usages

        Newest first by default. Members see their own usages and those of their sites, other roles those of their
        organization. `site_id` includes the usages of all sites below it.
        """
        return narrow(visible(Usage))

    @usages.post(NewUsageSchema, UsageSchema, array=RecordedUsagesSchema)
    @single_statement
    def post(self, fields: dict[str, Any] | list[dict[str, Any]]) -> Usage | dict[str, list[int]]:
        """Record a usage

        The emission factor that is valid at `usage_at` is frozen into the usage, so later factors do not change it. If
        no factor is valid at that time, the response is 422.

        An array of up to 1000 usages records all of them or none. The response has their ids in the same order. Errors
        are by index.
        """
        return {"ids": service.record_many(fields)} if isinstance(fields, list) else service.record(**fields)

    @usages.delete(Usage, IdsAndReasonSchema)
    def delete(self, query: dict[str, Any]) -> None:
        """Delete several usages

        Deletes all of them or none. Their versions stay readable, also with `as_of`. A JSON body may have the `reason`
        instead of the query.
        """
        service.delete(get_all_visible(Usage, query["id"], lock=True), query.get("reason"))


@usages.route("/usages/<int:usage_id>")
class UsageById(MethodView):
    @usages.get(UsageSchema, AsOfQuery)
    def get(self, narrow: Any, usage_id: int) -> Usage:
        """Get a usage

        Returns the usage with its frozen factor and its kg CO2e. With `as_of`, returns the version of that time.
        """
        return get_visible(Usage, usage_id, narrow)

    @usages.put(UsageReplacementSchema, UsageSchema)
    def put(self, fields: dict[str, Any], usage_id: int) -> Usage:
        """Replace a usage

        Omitted fields get their defaults, except `user_id`, which does not change. The frozen factors change only if
        type, time or region change: then the usage gets those of that time.
        """
        return service.correct(lock_for_update(Usage, usage_id), **fields)

    @usages.patch(UsageChangesSchema(partial=True), UsageSchema)
    def patch(self, fields: dict[str, Any], usage_id: int) -> Usage:
        """Correct a usage

        Omitted fields do not change. The frozen factors change only if type, time or region change: then the usage
        gets those of that time.
        """
        return service.correct(lock_for_update(Usage, usage_id), **fields)

    @usages.delete(Usage, ReasonSchema)
    def delete(self, query: dict[str, Any], usage_id: int) -> None:
        """Delete a usage

        Removes the usage from lists and totals. Its versions stay readable, also with `as_of`. A JSON body may have the
        `reason` instead of the query.
        """
        service.delete([lock_for_update(Usage, usage_id)], query.get("reason"))


@usages.route("/usages/<int:usage_id>/explain")
class Explanation(MethodView):
    @usages.get(ExplanationSchema, AsOfQuery)
    def get(self, narrow: Any, usage_id: int) -> Any:
        """Explain a usage

        Returns every step from the amount to the kg CO2e: the input, the unit conversion, the chosen factor with its
        source and the reason, the calculation of each line, and a hash of everything that the numbers depend on.
        """
        return explain(get_visible(Usage, usage_id, narrow))


@usages.route("/usages/<int:usage_id>/versions")
class Versions(MethodView):
    @usages.list(UsageVersionSchema, UsageVersionQuery)
    def get(self, narrow: Any, usage_id: int) -> Any:
        """List the versions of a usage

        Returns all versions of the usage, each with the time in which it was current: [recorded_at, superseded_at). The
        last version of a deleted usage says who deleted it and why.
        """
        return narrow(versions(usage_id))


@usages.route("/users/<int:user_id>/usages")
class UsagesOfUser(MethodView):
    @usages.list(UsageSchema, UsageQuery)
    def get(self, narrow: Any, user_id: int) -> Any:
        """List the usages of a user

        Like `/usages`, for one user that you may see.
        """
        return narrow(visible(Usage).where(Usage.user_id == get_visible(User, user_id).id))
