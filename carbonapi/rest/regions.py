"""Codes of regions: countries, their subdivisions, and zones of electricity grids."""

import re

# ISO 3166-1 alpha-2.
_COUNTRY_CODES = """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC
    CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD
    GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH
    KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW
    MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC
    SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY
    UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""
# The subregions of EPA's eGRID, whose factors the catalogue can import.
_EGRID_CODES = """
    AKGD AKMS AZNM CAMX ERCT FRCC HIMS HIOA MROE MROW NEWE NWPP NYCW NYLI NYUP PRMS RFCE RFCM RFCW RMPA SPNO SPSO SRMV
    SRMW SRSO SRTV SRVC
"""
COUNTRIES, EGRID_SUBREGIONS = frozenset(_COUNTRY_CODES.split()), frozenset(_EGRID_CODES.split())
# Codes that are in use elsewhere, and those of ISO 3166.
REPLACEMENTS = {"UK": "GB", "EL": "GR", "GBR": "GB", "USA": "US", "DEU": "DE", "FRA": "FR", "IRL": "IE"}
PATTERN = "[A-Z]{2}(-[A-Z0-9]{1,4})?"
_SUBDIVISION = re.compile("[A-Z0-9]{1,3}")  # ISO 3166-2 has thousands of codes, which change each year.


def region_error(code: str) -> str | None:
    """Return why the code is not a region, with the way out; None for a valid one."""
    country, dash, part = code.upper().partition("-")
    replaced = REPLACEMENTS.get(country)
    if replaced:
        return f"{country} is not an ISO 3166 code. Use {replaced}{dash}{part}."
    if not re.fullmatch(PATTERN, code.upper()) or country not in COUNTRIES:
        return "Must be an ISO 3166 code of a country such as GB, or of a part of one such as GB-LND."
    if part and not _SUBDIVISION.fullmatch(part) and not (country == "US" and part in EGRID_SUBREGIONS):
        return f"{part} is no subdivision in ISO 3166-2 and no eGRID subregion. Use {country} for the whole country."
    if code != code.upper():
        return f"Must be in capitals: {code.upper()}."
    return None
