"""The chapters of the Postman collection, in the order in which one learns the API: that of the document's tags."""

from . import requests_accounts, requests_emissions, requests_ledger
from .requests import Chapter

CHAPTERS = (
    Chapter("Auth", requests_ledger.SIGNING_IN),
    Chapter("Catalogue", requests_ledger.CATALOGUE),
    Chapter("Usages", requests_ledger.USAGES),
    Chapter("Imports", requests_ledger.IMPORTS),
    Chapter("Emissions", requests_emissions.EMISSIONS),
    Chapter("Restatements", requests_emissions.RESTATEMENTS),
    Chapter("Periods", requests_emissions.PERIODS_CLOSED),
    Chapter("Organizations", requests_accounts.ORGANIZATIONS),
    Chapter("Users", requests_accounts.USERS),
    Chapter("API keys", requests_accounts.API_KEYS),
    Chapter("Audit", requests_accounts.AUDIT),
    Chapter("Health", requests_accounts.HEALTH),
    Chapter("Removing", requests_accounts.REMOVING, "What was made is deleted, and you are signed out."),
    Chapter(
        "Administration",
        requests_accounts.ADMINISTRATION,
        "For who runs the service: what all organizations share. Passed over unless `admin_password` is set.",
        bearer="admin_token",
        first=('if (!pm.variables.get("admin_password")) pm.execution.skipRequest();',),
    ),
)
