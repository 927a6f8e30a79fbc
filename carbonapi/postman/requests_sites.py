"""Requests for sites, meters, and the sites of users."""

from .requests import ETAG, IF_MATCH, Request

SITE_FILE = "name,parent\nFirst floor,BER\nSecond floor,BER\n"
METER_FILE = "external_id,name,site,usage_type\n1900000000002,Second meter,BER,electricity\n"
SHARE = {"valid_from": "2026-01-01", "equity_share": 0.83, "financial_control": True, "operational_control": True}
SITES = (
    Request(
        "create_site",
        "Create a site for the country",
        body={"name": "Germany", "region": "DE"},
        saves={"country_id": "answer.id"},
    ),
    Request(
        "create_site",
        body={"name": "Berlin", "parent_id": "{{country_id}}", "external_id": "BER"},
        saves={"site_id": "answer.id"} | ETAG,
        expects={"answer.name": "Berlin"},
    ),
    Request("list_sites", query="sort=name", expects={"answer.map(site => site.name)": ["Berlin", "Germany"]}),
    Request("get_site", expects={"answer.external_id": "BER"}),
    Request("change_site", headers=IF_MATCH, body={"region": "DE"}, expects={"answer.region": "DE"}),
    Request("replace_shares_of_site", body={"shares": [SHARE]}),
    Request("get_shares_of_site", expects={"answer.shares[0].equity_share": 0.83}),
    Request("import_sites", body=SITE_FILE, expects={"answer.added_count": 2}),
    Request(
        "import_sites", "Import the same file: nothing changes", body=SITE_FILE, expects={"answer.unchanged_count": 2}
    ),
    Request("export_sites"),
    Request("replace_sites_of_user", body={"site_ids": ["{{site_id}}"]}),
    Request("get_sites_of_user", expects={"answer.site_ids.length": 1}),
    Request("replace_sites_of_user", "Take the sites of the user away", body={"site_ids": []}),
)
METERS = (
    Request(
        "create_meter",
        body={"site_id": "{{site_id}}", "usage_type_id": 100, "name": "Main meter", "external_id": "1900000000001"},
        saves={"meter_id": "answer.id"} | ETAG,
        expects={"answer.name": "Main meter"},
    ),
    Request("list_meters", query="site_id={{country_id}}", expects={"answer.length": 1}),
    Request("get_meter", expects={"answer.usage_type_id": 100}),
    Request("change_meter", headers=IF_MATCH, body={"valid_from": "2020-01-01T00:00:00Z"}, saves=ETAG),
    Request("import_meters", body=METER_FILE, expects={"answer.added_count": 1}),
    Request("export_meters"),
)
