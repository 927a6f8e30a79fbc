"""The chapters of the Postman collection, in the order in which one learns the API: that of the document's tags."""

from . import figures, people, recording
from .steps import Chapter

COURSE = (
    Chapter("Auth", recording.SIGNING_IN),
    Chapter("Catalogue", recording.CATALOGUE),
    Chapter("Usages", recording.USAGES),
    Chapter("Imports", recording.IMPORTS),
    Chapter("Emissions", figures.EMISSIONS),
    Chapter("Restatements", figures.RESTATEMENTS),
    Chapter("Periods", figures.PERIODS_CLOSED),
    Chapter("Organizations", people.ORGANIZATIONS),
    Chapter("Users", people.USERS),
    Chapter("API keys", people.API_KEYS),
    Chapter("Audit", people.AUDIT),
    Chapter("Health", people.HEALTH),
    Chapter("Removing", people.REMOVING, "What was made is deleted, and you are signed out."),
    Chapter(
        "Administration",
        people.ADMINISTRATION,
        "For who runs the service: what all organizations share. Passed over unless `admin_password` is set.",
        bearer="admin_token",
        first=('if (!pm.variables.get("admin_password")) pm.execution.skipRequest();',),
    ),
)
