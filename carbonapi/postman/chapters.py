"""The chapters of the Postman collection, in the order of the tags of the OpenAPI document."""

from . import requests_accounts, requests_emissions, requests_ledger, requests_sites
from .requests import Chapter

CHAPTERS = (
    Chapter("Auth", requests_ledger.AUTH),
    Chapter("Catalogue", requests_ledger.CATALOGUE),
    Chapter("Factor sets", requests_ledger.FACTOR_SETS),
    Chapter("Sites", requests_sites.SITES),
    Chapter("Meters", requests_sites.METERS),
    Chapter("Usages", requests_ledger.USAGES),
    Chapter("Changes", requests_ledger.CHANGES),
    Chapter("Imports", requests_ledger.IMPORTS),
    Chapter("Exports", requests_ledger.EXPORTS),
    Chapter("Emissions", requests_emissions.EMISSIONS),
    Chapter("Coverage", requests_emissions.COVERAGE),
    Chapter("Restatements", requests_emissions.RESTATEMENTS),
    Chapter("Closed periods", requests_emissions.CLOSED_PERIODS),
    Chapter("Organizations", requests_accounts.ORGANIZATIONS),
    Chapter("Users", requests_accounts.USERS),
    Chapter("API keys", requests_accounts.API_KEYS),
    Chapter("Audit", requests_accounts.AUDIT),
    Chapter("Health", requests_accounts.HEALTH),
    Chapter("Deletion", requests_accounts.DELETION, "These requests delete what the others created, and log out."),
    Chapter(
        "Administration",
        requests_accounts.ADMINISTRATION,
        "For admins: the catalogue and the organizations. Skipped unless `admin_password` is set.",
        bearer="admin_token",
        prerequest=('if (!pm.variables.get("admin_password")) pm.execution.skipRequest();',),
    ),
)
