"""The mutations of `make mutants`: errors in checks, limits and error handling, and the tests that find them."""

from tests.mutation.syntax import Drop, Insert, Mutation, Replace, Unwrap

PARSING = "tests/rest/test_request_parsing.py::"
SESSIONS = "tests/accounts/test_sessions.py::"
TOKENS = "tests/accounts/test_sessions.py::test_invalid_tokens_are_401_without_a_query"
PROVISIONAL = "tests/catalogue/test_provisional_valuations.py::"
KEYS = "tests/accounts/api_keys/test_views.py::"
REGIONS = "tests/rest/test_regions.py::"
INVITATIONS = "tests/accounts/test_invitations.py::"
ACCOUNTS = "tests/accounts/test_views.py::"
LIMITS = "tests/rate_limiting/test_limits.py::"
IDEMPOTENCY = "tests/rest/test_idempotency.py::"
CLOSING = "tests/periods/test_concurrency.py::"
RECORDING_TIME = "tests/usages/test_recording_time.py::"
ROW_SECURITY = "tests/db/test_row_security.py::"
REQUEST_LOG = "tests/rest/test_request_log.py::"
GUESSES = f"{LIMITS}test_10_of_25_concurrent_guesses_are_checked"
VALUES = f"{PARSING}test_invalid_value_is_422_and_names_the_field"
DUPLICATES = "tests/imports/test_duplicates.py::"
SITES = "tests/emissions/test_sites.py::"
SIMULTANEOUS = "tests/imports/test_concurrency.py::test_simultaneous_imports_record_a_reading_once"
SCOPE = "migrations/versions/*policies_by_role.py"
RECORDING = "migrations/versions/*scope_of_transactions.py"
POLICIES = "migrations/versions/*row_level_security.py"
ISOLATION = "tests/test_defense_in_depth.py::test_other_organizations_manager_gets_404"


def mutation(name, module, function, change, *tests):
    changes = change if isinstance(change, tuple) else (change,)
    return Mutation(
        name, module if module.startswith("migrations") else f"carbonapi/{module}", function, changes, tests
    )


MUTATIONS = (
    # Isolation of organizations.
    mutation(
        "isolation: the policies let all rows through",
        SCOPE,
        "upgrade",
        Replace(r"f'CREATE POLICY tenant ON \{table\} USING .*'", "f'CREATE POLICY tenant ON {table} USING (true)'"),
        f"{ROW_SECURITY}test_scope_limits_visible_rows",
    ),
    mutation(
        "isolation: the policies do not bind the owner",
        POLICIES,
        "upgrade",
        Drop(r"op\.execute\(f'ALTER TABLE \{table\} FORCE ROW LEVEL SECURITY'\)"),
        f"{ROW_SECURITY}test_every_tenant_table_has_a_forced_policy",
    ),
    mutation(
        "isolation: the filter does not name the organization",
        "db/mixins.py",
        "TenantScoped.visible_to",
        Replace(r"\(organization_id == viewer\.organization_id,\)", "()"),
        ISOLATION,
    ),
    mutation(
        "isolation: a member sees the rows of all users",
        "db/mixins.py",
        "TenantScoped.visible_to",
        Replace(r"viewer\.role != 'member'", "True"),
        "tests/exports/test_service.py::test_export_has_visible_usages_only",
    ),
    mutation(
        "isolation: the scope is not sent",
        "db/row_security.py",
        "",
        Replace(r"connection\.info\.get\(SETTING\) != scope", "connection.info.get(SETTING) == scope"),
        f"{ROW_SECURITY}test_scope_is_set_in_each_transaction",
    ),
    mutation(
        "isolation: the scope outlives the transaction",
        SCOPE,
        "upgrade",
        Replace(
            r"f'[^']*CREATE OR REPLACE FUNCTION carbonapi_use_organization.*|f\"[^\"]*CREATE OR REPLACE FUNCTION.*",
            '"CREATE OR REPLACE FUNCTION carbonapi_use_organization(scope text) RETURNS void LANGUAGE plpgsql AS '
            "$$ BEGIN PERFORM set_config('carbonapi.organization_id', scope, false); END $$\"",
        ),
        f"{ROW_SECURITY}test_setting_ends_with_the_transaction",
    ),
    mutation(
        "isolation: the scope is not sent again after a commit",
        "db/row_security.py",
        "install",
        Replace(r"\('commit', 'rollback', 'rollback_savepoint'\)", "('rollback', 'rollback_savepoint')"),
        f"{ROW_SECURITY}test_scope_is_set_in_each_transaction",
    ),
    mutation(
        "isolation: the scope is not sent again after a rollback",
        "db/row_security.py",
        "install",
        Replace(r"\('commit', 'rollback', 'rollback_savepoint'\)", "('commit', 'rollback_savepoint')"),
        f"{ROW_SECURITY}test_scope_is_sent_again_after_a_rollback",
    ),
    mutation(
        "isolation: the service is ready as a superuser",
        "rest/health.py",
        "",
        Replace(r"roles\.bypasses_policies\(.*\)", "False"),
        f"{ROW_SECURITY}test_superuser_role_is_rejected_and_never_ready",
    ),
    mutation(
        "isolation: audit entries can be changed",
        "db/roles.py",
        "",
        Replace(r"'UPDATE, DELETE'", "'TRUNCATE'"),
        "tests/audit/test_views.py::test_service_role_cannot_alter_the_log",
    ),
    # Answers as of a time are final, and the feed of changes is complete.
    mutation(
        "time of recording: readers do not look at writers",
        "usages/recording_time.py",
        "wait_until_settled",
        Replace(r"instant > settled\.get\(organization_id, NEVER\)", "False"),
        f"{RECORDING_TIME}test_answers_as_of_now_are_final",
    ),
    mutation(
        "time of recording: a reader does not give up",
        "usages/recording_time.py",
        "wait_until_settled",
        Replace(r"time\.monotonic\(\) > deadline", "False"),
        f"{RECORDING_TIME}test_unsettled_time_is_unavailable",
    ),
    mutation(
        "time of recording: readers wait for the writers of all organizations",
        "usages/recording_time.py",
        "settled_until",
        Replace(
            r"\{'lock_class': LOCK_CLASS, 'organization_id': organization_id\}",
            "{'lock_class': LOCK_CLASS, 'organization_id': None}",
        ),
        f"{RECORDING_TIME}test_writer_of_another_organization_delays_no_reader",
    ),
    # Closing a period and writing usages exclude each other.
    mutation(
        "periods: closing does not wait for writers",
        "periods/service.py",
        "close",
        Replace(
            r"sa\.func\.pg_advisory_xact_lock\(LOCK_CLASS, key\)",
            "sa.func.pg_advisory_xact_lock_shared(LOCK_CLASS, key)",
        ),
        f"{CLOSING}test_closing_waits_for_a_write",
    ),
    mutation(
        "periods: a usage is recorded without a look at closed periods",
        "usages/ledger/sql.py",
        "insert_usages",
        Replace(
            r"sa\.func\.recording_time_if_open\(User\.organization_id, candidates\.c\.usage_at\)",
            "sa.func.recording_time(User.organization_id)",
        ),
        f"{CLOSING}test_write_that_waits_for_a_closing_is_409",
    ),
    mutation(
        "periods: they can be closed after the checks of an import",
        "imports/checks/missing_references.py",
        "_lock_references",
        Drop(r"keep_open\(organization_id\)"),
        f"{CLOSING}test_import_that_waits_for_a_closing_is_rejected",
    ),
    mutation(
        "imports: a repeated time is always the first one",
        "imports/formats/rows.py",
        "RepeatedTimes.is_second",
        Replace(r"not self\._found\[series, local\]", "False"),
        "tests/imports/formats/test_text_files.py::test_fold_order_follows_ascending_and_descending_times",
    ),
    mutation(
        "changes: unsettled ones are shown",
        "changes/service.py",
        "_read",
        Replace(r"moment <= until", "sa.true()"),
        "tests/changes/test_views.py::test_no_change_is_missed_or_repeated_under_writes",
    ),
    mutation(
        "changes: deletions are missing",
        "changes/service.py",
        "_read",
        Replace(r"UsageVersion\.deleted \| _is_lost_to\(actor\) if .*", "sa.false()"),
        "tests/changes/test_views.py::test_feed_has_every_version_and_deletion_in_order",
    ),
    mutation(
        "changes: usages that leave the sites of a member stay",
        "changes/service.py",
        "_is_lost_to",
        Replace(r"sa\.func\.coalesce\(~is_any_of\(.*\), True\)", "sa.false()"),
        "tests/sites/test_members.py::test_usage_that_leaves_the_sites_of_a_member_is_deleted",
    ),
    mutation(
        "sites: members see usages of all sites",
        "usages/models.py",
        "UsageColumns.visible_to",
        Replace(r"own \| is_any_of\(.*\)", "sa.true()"),
        "tests/sites/test_members.py::test_member_sees_usages_of_their_sites",
    ),
    mutation(
        "meters: usages of any time are recorded",
        "usages/places.py",
        "_check_validity",
        Replace(r"usage_at >= meter\.valid_until", "False"),
        "tests/usages/test_places.py::test_contradictory_place_is_rejected",
    ),
    mutation(
        "sites: the shares of the sites above do not count",
        "sites/ownership.py",
        "ownership_by",
        Replace(
            r"\[shares\[key\] for key in keys if key in shares\]", "[shares[key] for key in keys[-1:] if key in shares]"
        ),
        f"{SITES}test_holdings_multiply_the_shares_of_the_path",
    ),
    mutation(
        "sites: one is owned before its first share",
        "sites/ownership.py",
        "_products",
        Replace(r"level\[max\(begun\)\] if begun else 0", "level[max(begun)] if begun else 1"),
        f"{SITES}test_ownership_counts_from_its_day",
    ),
    mutation(
        "coverage: meters without readings are complete",
        "emissions/series.py",
        "Expectation.complete",
        Drop(r"series \+= \[self\.meters\[id_\].*"),
        f"{SITES}test_meter_without_readings_is_a_gap",
    ),
    mutation(
        "coverage: meters are expected before their validity",
        "emissions/coverage.py",
        "Series.expected_within",
        Replace(r"max\(begin, self\.valid_from or begin\)", "begin"),
        f"{SITES}test_meter_is_expected_within_its_validity",
    ),
    # Imports record nothing twice.
    mutation(
        "imports: simultaneous imports do not wait for each other",
        "imports/service.py",
        "run_import",
        Drop(r"if imp\.mode != 'dry-run':\n    wait_for_other_imports\(imp\)"),
        SIMULTANEOUS,
    ),
    mutation(
        "imports: the ledger is read before the wait",
        "imports/service.py",
        "run_import",
        (
            Replace(r"LEDGER_CHECKS", "()"),
            Replace(
                r"validate\(imp, parser\.used_columns\)",
                "[check(imp, parser.used_columns) for check in (validate, *LEDGER_CHECKS)]",
            ),
        ),
        SIMULTANEOUS,
    ),
    mutation(
        "imports: a repeated file is not noticed after the wait",
        "imports/service.py",
        "run_import",
        Drop(r"if not again:\n    reject_repeated_file\(imp\)"),
        SIMULTANEOUS,
    ),
    mutation(
        "imports: a repeated file is only noticed after it is read",
        "imports/service.py",
        "create_import",
        Drop(r"if not options\.get\('again'\):\n    reject_repeated_file\(imp\)"),
        f"{DUPLICATES}test_repeated_file_is_rejected_before_it_is_staged",
    ),
    mutation(
        "imports: a reverted import still blocks its file",
        "imports/checks/earlier_imports.py",
        "reject_repeated_file",
        Replace(r"Import\.reverted_at\.is_\(None\)", "sa.true()"),
        f"{DUPLICATES}test_reverted_or_foreign_file_can_be_imported",
    ),
    mutation(
        "imports: reject accepts readings of the ledger",
        "imports/checks/conflicts.py",
        "match_existing",
        Replace(r"_reject_readings\(.*\)", "None"),
        f"{DUPLICATES}test_reading_in_ledger_is_rejected_and_named",
    ),
    mutation(
        "imports: identical lines are recorded",
        "imports/checks/values.py",
        "validate",
        Drop(r"reject_duplicates\('usage_at', .*, READING_KEY, .*\)"),
        f"{DUPLICATES}test_identical_lines_are_one_row_error",
    ),
    mutation(
        "imports: the end of an interval does not identify it",
        "imports/staging.py",
        "",
        Replace(r"\(Row\.user_id, .*, Row\.usage_until, .*\)", "(Row.user_id, Row.usage_type_id, Row.usage_at)"),
        f"{DUPLICATES}test_interval_and_reading_at_its_start_differ",
    ),
    # Tokens and sessions.
    mutation(
        "tokens: claims are optional",
        "auth/tokens.py",
        "",
        Replace(r"\{'require': REQUIRED_CLAIMS\}", "{}"),
        TOKENS,
    ),
    mutation(
        "tokens: the client chooses the algorithm",
        "auth/tokens.py",
        "",
        Replace(r"\[config\['JWT_ALGORITHM'\]\]", "['HS256', 'HS384', 'HS512']"),
        TOKENS,
    ),
    mutation(
        "tokens: an expired token is valid",
        "auth/tokens.py",
        "",
        Replace(r"\{'require': REQUIRED_CLAIMS\}", "{'require': REQUIRED_CLAIMS, 'verify_exp': False}"),
        TOKENS,
    ),
    mutation(
        "tokens: a cached token never expires",
        "auth/tokens.py",
        "",
        Replace(r"time\.time\(\) < \w+\['exp'\] \+ LEEWAY_SECONDS", "True"),
        f"{SESSIONS}test_cached_token_expires",
    ),
    mutation(
        "tokens: a refresh token is an access token",
        "auth/tokens.py",
        "",
        Replace(r"claims\['type'\] != kind", "False"),
        TOKENS,
    ),
    mutation(
        "tokens: clocks may not differ",
        "auth/tokens.py",
        "",
        Replace("30", "0"),
        f"{SESSIONS}test_clocks_may_differ_by_30_seconds",
    ),
    mutation(
        "tokens: a cache may store them",
        "rest/blueprint.py",
        "Blueprint.post",
        Replace(r"\{\} if rules\.is_cacheable else .*", "{}"),
        f"{SESSIONS}test_tokens_are_not_stored_by_caches",
    ),
    mutation(
        "sessions: the worker remembers an ended session",
        "auth/tokens.py",
        "_forget",
        Drop(r"cache\.pop\(key, None\)"),
        f"{SESSIONS}test_worker_forgets_an_ended_session_at_once",
    ),
    mutation(
        "sessions: a reset does not end them",
        "accounts/invitations.py",
        "create_reset_token",
        Drop(r"sessions\.end_all\(.*\)"),
        f"{INVITATIONS}test_reset_ends_all_sessions_of_the_user",
    ),
    mutation(
        "passwords: the own one can be reset",
        "accounts/invitations.py",
        "create_reset_token",
        Replace(r"user\.id == current_actor\(\)\.id", "False"),
        f"{INVITATIONS}test_own_password_cannot_be_reset",
    ),
    mutation(
        "passwords: the current one is not needed for a new address",
        "accounts/service.py",
        "change_profile",
        Drop(r"_check_current_password\(user, current_password\)"),
        f"{ACCOUNTS}test_own_new_email_requires_the_current_password",
    ),
    mutation(
        "passwords: a manager changes the own address without it",
        "accounts/service.py",
        "change_user",
        Replace(r"user\.id == actor\.id and .*", "False"),
        f"{ACCOUNTS}test_own_email_cannot_be_changed_as_a_manager",
    ),
    mutation(
        "passwords: they are not normalized",
        "accounts/passwords.py",
        "_normalize",
        Replace(r"unicodedata\.normalize\(.*\)", "password"),
        "tests/accounts/test_passwords.py::test_password_is_the_same_in_every_unicode_form",
    ),
    mutation(
        "passwords: hashes of other forms are invalid",
        "accounts/passwords.py",
        "password_matches",
        Replace(r"\(_normalize\(password\), password\)", "(_normalize(password),)"),
        "tests/accounts/test_passwords.py::test_hash_of_a_password_as_typed_is_still_valid",
    ),
    mutation(
        "accounts: probes of addresses are unlimited",
        "accounts/service.py",
        "count_new_address",
        Drop(r"consume\(REGISTRATION, .*\)"),
        f"{LIMITS}test_email_addresses_of_others_cannot_be_probed",
    ),
    mutation(
        "accounts: guesses of the current password are unlimited",
        "accounts/service.py",
        "count_own_address",
        Drop(r"consume\(PASSWORD_CHANGE, .*\)"),
        f"{LIMITS}test_change_of_own_email_is_limited_like_logins",
    ),
    mutation(
        "sessions: a session is cached by its ID alone",
        "auth/tokens.py",
        "authenticate",
        Replace(r"\(claims\['org'\], claims\['sid'\], claims\['sub'\]\)", "(0, claims['sid'], '')"),
        f"{SESSIONS}test_cached_session_is_bound_to_user_and_organization",
    ),
    mutation(
        "sessions: a reused refresh token does not end its session",
        "accounts/sessions.py",
        "",
        Drop(r"session\.ended_at, session\.end_reason = \(now, .*\)|\(?session\.ended_at, session\.end_reason\)? = .*"),
        f"{SESSIONS}test_late_refresh_retry_ends_session",
    ),
    mutation(
        "sessions: concurrent refreshes are not serialized",
        "accounts/sessions.py",
        "",
        (
            Replace(
                r"(sa\.select\(Session\)\.where\(Session\.organization_id == claims\['org'\].*\))\.with_for_update\(\)",
                "sa.select(Session).where(Session.organization_id == claims['org'], Session.id == claims['sid'])",
            ),
            Insert(r"if session is None or session\.ended_at .*", "__import__('time').sleep(0.2)"),
        ),
        f"{SESSIONS}test_concurrent_refreshes_return_the_same_token",
    ),
    mutation(
        "sessions: other sessions survive a new password",
        "accounts/service.py",
        "change_password",
        Drop(r"sessions\.end_all\(.*\)"),
        f"{SESSIONS}test_password_change_ends_other_sessions",
    ),
    mutation(
        "passwords: a new password is not stored",
        "accounts/service.py",
        "change_password",
        Drop(r"user\.password_hash = hash_password\(new_password\)"),
        f"{SESSIONS}test_password_change_ends_other_sessions",
    ),
    mutation(
        "passwords: an unknown address is rejected faster",
        "accounts/passwords.py",
        "password_matches",
        Replace(
            r"any\(.*\) and password_hash is not None",
            "password_hash is not None and any(_verifies(form, password_hash) for form in forms)",
        ),
        f"{SESSIONS}test_login_with_unknown_address_verifies_a_hash",
    ),
    mutation(
        "passwords: the number of concurrent hashes is unlimited",
        "accounts/passwords.py",
        "",
        Replace(r"max\(1, available_cores\(\) // .*\)", "1000"),
        "tests/accounts/test_passwords.py::test_concurrent_hashes_are_limited_to_the_cores",
    ),
    mutation(
        "roles: a manager makes an admin",
        "accounts/service.py",
        "",
        Replace(r"role == 'admin' and \(?not actor\.is_admin\)?", "False"),
        "tests/accounts/test_views.py::test_manager_adds_users_of_every_role_except_admin",
    ),
    # API keys and invitations.
    mutation(
        "keys: secrets are stored as plain text",
        "accounts/opaque_tokens.py",
        "",
        Replace(r"hashlib\.sha256\(secret\.encode\(\)\)\.digest\(\)", "secret.encode()"),
        f"{KEYS}test_stored_key_cannot_authenticate",
    ),
    mutation(
        "keys: a key with the scope read writes",
        "auth/decorators.py",
        "require_login",
        Replace(r"actor\.scope == 'read' and \(?not reads\)?", "False"),
        f"{KEYS}test_read_key_cannot_write",
    ),
    mutation(
        "keys: a key changes users and credentials",
        "auth/decorators.py",
        "require_login",
        Replace(r"actor\.api_key_id is not None and \w+", "False"),
        "tests/test_every_operation.py::test_api_keys_are_limited_to_their_scope",
    ),
    mutation(
        "invitations: a token can be used twice",
        "accounts/invitations.py",
        "",
        Drop(r"revoke\(user\)"),
        "tests/accounts/test_invitations.py::test_only_the_newest_token_works_and_only_once",
    ),
    mutation(
        "invitations: the client chooses the host of the link",
        "accounts/mail.py",
        "",
        Replace(r"current_app\.config\['PASSWORD_PAGE_URL'\]", "__import__('flask').request.host_url"),
        "tests/accounts/test_mail.py::test_reset_link_ignores_the_host_header",
    ),
    # Rate limits.
    mutation(
        "rate limits: a counter is read before it is incremented",
        "rate_limiting/counters.py",
        "PostgresCounters.add",
        Insert(
            r"return int\(connection\.execute\(.*\)\.scalar_one\(\)\)",
            "criteria = (RateLimitCounter.bucket == bucket, RateLimitCounter.ends_at == ends_at)\n"
            "seen = connection.execute(sa.select(RateLimitCounter.number).where(*criteria)).scalar() or 0\n"
            "__import__('time').sleep(0.2)\n"
            "connection.execute(_INCREMENT, values)\n"
            "return int(seen) + number",
        ),
        GUESSES,
    ),
    mutation(
        "rate limits: a login is counted after it failed",
        "accounts/sessions.py",
        "log_in",
        (
            Drop(r"consume\(LOGIN, .*\)"),
            Insert(
                r"matches = password_matches\(.*\)",
                "if not matches:\n    consume(LOGIN, email.lower(), now)",
                after=True,
            ),
        ),
        GUESSES,
    ),
    mutation(
        "rate limits: a 429 has no Retry-After",
        "rest/errors.py",
        "",
        Replace(r"\{'Retry-After': str\(error\.retry_after\)\} if .* else None", "None"),
        GUESSES,
    ),
    mutation(
        "rate limits: clients choose their IP address",
        "rest/request_parsing.py",
        "init_app",
        Replace(r"app\.config\['TRUSTED_PROXIES'\]", "app.config['TRUSTED_PROXIES'] + 1"),
        f"{LIMITS}test_forwarded_address_is_trusted_from_proxies_only",
    ),
    # Idempotency and concurrency.
    mutation(
        "idempotency: the key is claimed after the write",
        "rest/idempotency.py",
        "idempotent",
        Insert(r"fingerprint = .*", "view(*args, **kwargs)", after=True),
        f"{IDEMPOTENCY}test_repeated_usage_with_key_is_recorded_once",
    ),
    mutation(
        "idempotency: another request gets the stored response",
        "rest/idempotency.py",
        "",
        Replace(r"not hmac\.compare_digest\(.*\)", "False"),
        f"{IDEMPOTENCY}test_key_of_another_request_is_422",
    ),
    mutation(
        "etags: If-Match is ignored",
        "rest/etag.py",
        "check_if_match",
        Replace(r"not _matches\(.*\)", "False"),
        "tests/usages/test_ledger.py::test_concurrent_writes_with_one_etag_have_one_winner",
    ),
    mutation(
        "etags: the row is not locked",
        "rest/etag.py",
        "lock_for_update",
        Replace(r"get_visible\(model, id_, lock=True\)", "get_visible(model, id_)"),
        "tests/usages/test_ledger.py::test_concurrent_writes_without_etag_all_succeed",
    ),
    # Requests.
    mutation(
        "queries: an unknown parameter is ignored",
        "rest/request_parsing.py",
        "StrictParser",
        Replace(
            r"dict\.fromkeys\(FlaskParser\.DEFAULT_UNKNOWN_BY_LOCATION\)",
            "dict(FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION)",
        ),
        f"{REQUEST_LOG}test_log_line_has_actor_and_route_but_no_query",
    ),
    mutation(
        "bodies: an unknown field is ignored",
        "rest/query.py",
        "Schema.Meta",
        Replace(r"ma\.RAISE", "ma.EXCLUDE"),
        f"{PARSING}test_unpaired_surrogate_in_a_name_becomes_a_question_mark",
    ),
    mutation(
        "bodies: duplicate keys are accepted",
        "rest/request_parsing.py",
        "",
        Replace(r"len\(fields\) != len\(pairs\)", "False"),
        f"{PARSING}test_invalid_json_is_400",
    ),
    mutation(
        "bodies: numbers are floats",
        "rest/request_parsing.py",
        "StrictParser.load_json",
        Replace(r"parse_decimal", "float"),
        VALUES,
    ),
    mutation(
        "bodies: years are unlimited",
        "rest/fields.py",
        "UtcDateTime",
        Replace(r"1900 <= \w+\.year <= 2200", "True", is_repeated=True),
        VALUES,
    ),
    mutation(
        "bodies: a NUL character is accepted",
        "rest/fields.py",
        "",
        Replace(r"'\\\\x00-\\\\x08.*'", r"'\\x01-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f'"),
        VALUES,
    ),
    mutation(
        "bodies: the fields of a form are ignored",
        "rest/blueprint.py",
        "Blueprint._guard",
        Drop(r"arguments\.reads_form = reads_form"),
        "tests/imports/test_views.py::test_form_fields_are_read_like_query_arguments",
    ),
    mutation(
        "bodies: a second file is ignored",
        "rest/request_parsing.py",
        "uploaded_file",
        Replace(r"len\(request\.files\) > 1 or .*", "False"),
        "tests/imports/test_views.py::test_invalid_form_is_422",
    ),
    mutation(
        "bodies: the body of a DELETE is ignored",
        "rest/request_parsing.py",
        "StrictParser.load_querystring",
        Replace(r"req\.method == 'DELETE' and req\.get_data\(\)", "False"),
        "tests/usages/test_history.py::test_reason_of_a_deletion_can_be_in_the_body",
    ),
    mutation(
        "bodies: the body of a DELETE may have any field",
        "rest/request_parsing.py",
        "StrictParser._load_reason",
        Replace(r"\{'reason'\} & schema\.fields\.keys\(\)", "fields.keys()"),
        "tests/usages/test_history.py::test_other_deletions_take_no_body",
    ),
    mutation(
        "bodies: form fields are missing from the fingerprint",
        "rest/idempotency.py",
        "_fingerprint",
        Replace(r"file is not None and request\.form", "False"),
        f"{IDEMPOTENCY}test_upload_fingerprint_covers_form_fields",
    ),
    mutation(
        "regions: any two letters are a country",
        "rest/regions.py",
        "region_error",
        Replace(r"country not in COUNTRIES", "False"),
        f"{REGIONS}test_hint_names_the_right_region",
    ),
    mutation(
        "regions: a subdivision does not fall back to its country",
        "catalogue/factor_selection.py",
        "FactorLookup.at_any_time",
        Replace(r"\[self\.region, country_of\(self\.region\)\]", "[self.region]"),
        "tests/catalogue/test_factor_selection.py::test_subdivision_falls_back_to_its_country",
    ),
    mutation(
        "regions: the country takes precedence over its subdivision",
        "catalogue/factor_selection.py",
        "",
        Replace(r"EmissionFactor\.region\.desc\(\)", "EmissionFactor.region"),
        "tests/catalogue/test_factor_selection.py::test_factor_with_highest_precedence_is_selected",
    ),
    mutation(
        "time zones: PostgreSQL is not asked",
        "rest/fields.py",
        "timezone_names",
        Replace(r"frozenset\(available_timezones\(\)\)\.intersection\(known_to_postgres\)", "available_timezones()"),
        f"{REGIONS}test_time_zone_that_postgresql_lacks_is_422",
    ),
    mutation(
        "bodies: servers that do not detect truncated chunks may pass them",
        "rest/request_parsing.py",
        "reject_unreadable_bodies",
        Replace(r"not request\.environ\.get\(.*\)\.startswith\(.*\)", "False"),
        f"{PARSING}test_chunks_need_a_server_that_detects_truncation",
    ),
    mutation(
        "bodies: a length beside chunks is accepted",
        "rest/request_parsing.py",
        "reject_unreadable_bodies",
        Replace(r"'Content-Length' in request\.headers", "False"),
        f"{PARSING}test_other_coding_or_a_length_with_chunks_is_400",
    ),
    mutation(
        "bodies: truncated chunks are accepted",
        "serving/request_body.py",
        "IncomingBody",
        Replace(r"not self\._has_last_chunk\(\)", "False"),
        "tests/serving/test_rsgi.py::test_truncated_chunks_record_nothing",
    ),
    mutation(
        "bodies: the rest of a rejected upload is not read",
        "serving/rsgi.py",
        "RsgiApplication.__rsgi__",
        Drop(r"await body\.discard\(\)"),
        "tests/serving/test_rsgi.py::test_rejected_upload_is_read_on",
    ),
    mutation(
        "base path: a forwarded prefix needs no trusted proxy",
        "rest/base_path.py",
        "set_base_path",
        Replace(r"config\['TRUSTED_PROXIES'\]", "True"),
        "tests/rest/test_base_path.py::test_prefix_without_trusted_proxies_is_ignored",
    ),
    mutation(
        "base path: a forwarded prefix may be any text",
        "rest/base_path.py",
        "set_base_path",
        Replace(r"re\.fullmatch\(BASE_PATH_PATTERN, forwarded\)", "True"),
        "tests/rest/test_base_path.py::test_prefix_of_a_trusted_proxy_must_be_a_path",
    ),
    mutation(
        "base path: redirects name the host of the request",
        "rest/base_path.py",
        "make_location_relative",
        Replace(r"urlsplit\(response\.location\)\._replace\(.*\)\.geturl\(\)", "response.location"),
        "tests/rest/test_base_path.py::test_redirect_to_a_path_without_double_slashes_is_relative",
    ),
    mutation(
        "compression: the ETag stays strong",
        "rest/compression.py",
        "compress",
        Replace(r"response\.set_etag\(tag, weak=True\)", "response.set_etag(tag)"),
        "tests/rest/test_compression.py::test_compressed_resource_has_a_weak_etag",
    ),
    mutation(
        "compression: caches do not separate the codings",
        "rest/compression.py",
        "compress",
        Drop(r"response\.vary\.add\('Accept-Encoding'\)"),
        "tests/rest/test_compression.py::test_long_response_is_compressed_when_asked",
    ),
    mutation(
        "lists: a long Link has no next",
        "rest/paging.py",
        "_links",
        Replace(r"max\(count, 'next' in links\)", "count"),
        "tests/rest/test_paging.py::test_link_repeats_at_most_2_kb_of_query",
    ),
    mutation(
        "etags: a weak tag never matches",
        "rest/etag.py",
        "",
        Replace(r"""'\(\?:W/\)\?"\(\[\^"\]\*\)"'""", r"""'(?<!W/)"([^"]*)"'"""),
        "tests/usages/test_views.py::test_weak_etag_names_the_current_version",
    ),
    mutation(
        "bodies: a truncated body is accepted",
        "rest/request_parsing.py",
        "DetectTruncatedBodies",
        Replace(r"environ\.pop\('wsgi\.input_terminated', None\)", "environ.get('wsgi.input_terminated')"),
        f"{PARSING}test_truncated_body_is_400_and_stores_nothing",
    ),
    mutation(
        "bodies: every media type is JSON",
        "rest/request_parsing.py",
        "StrictParser.load_json",
        Replace(r"req\.mimetype != 'application/json'", "False"),
        f"{PARSING}test_unsupported_media_type_is_415",
    ),
    mutation(
        "exports: a spreadsheet evaluates a cell",
        "rest/copy_stream.py",
        "_cell",
        Replace(r"sa\.case\(\(is_formula, .*\), else_=column\)", "column"),
        "tests/exports/test_service.py::test_formulas_are_escaped_by_apostrophe",
    ),
    # Logs, metrics, audit and headers.
    mutation(
        "log: the message of every exception is logged",
        "observability/logging.py",
        "",
        Replace(r"f': \{error\}' if isinstance\(error, .*\) else ''", "f': {error}'"),
        "tests/observability/test_logging.py::test_exception_is_logged_with_stack_without_its_values",
    ),
    mutation(
        "log: the query string is logged",
        "observability/logging.py",
        "request_fields",
        Replace(r"request\.path", "request.full_path"),
        f"{REQUEST_LOG}test_log_line_has_actor_and_route_but_no_query",
    ),
    mutation(
        "log: every request ID of a client is accepted",
        "rest/errors.py",
        "request_id",
        Replace(r"_REQUEST_ID\.fullmatch\((\w+)\)", "True"),
        f"{PARSING}test_valid_request_id_is_echoed_and_others_are_replaced",
    ),
    mutation(
        "metrics: every token is accepted",
        "rest/request_log.py",
        "",
        Replace(r"hmac\.compare_digest\(.*\)", "True"),
        f"{REQUEST_LOG}test_metrics_require_the_token",
    ),
    mutation(
        "audit: an entry is committed before its change",
        "audit/service.py",
        "",
        Insert(
            r"db\.session\.connection\(\)\.execute\(sa\.insert\(AuditEntry\), entries\)",
            "db.session.connection().commit()",
            after=True,
        ),
        "tests/audit/test_service.py::test_entry_is_rolled_back_with_its_change",
    ),
    mutation(
        "cors: every origin may read",
        "rest/cors.py",
        "cors_headers",
        Replace(r"origins is None or origin not in origins", "origins is None"),
        "tests/rest/test_cors.py::test_other_origins_get_no_cors_headers",
    ),
    mutation(
        "csp: inline scripts are allowed",
        "rest/security_headers.py",
        "",
        Replace(
            r"\"default-src 'none'; script-src 'self';.*\"", "\"default-src 'none'; script-src 'self' 'unsafe-inline'\""
        ),
        "tests/rest/test_security_headers.py::test_every_response_has_security_headers",
    ),
    mutation(
        "settings: an example secret is accepted",
        "settings.py",
        "",
        Replace(r"is_repeated or is_example or .*", "is_repeated"),
        "tests/test_settings.py::test_invalid_setting_is_reported_without_its_value",
    ),
    # Overload, outages and backups.
    mutation(
        "overload: the number of concurrent requests is unlimited",
        "serving/rsgi.py",
        "",
        Unwrap(r"async with \w+:.*"),
        "tests/serving/test_overload.py::test_flood_does_not_affect_a_modest_client",
    ),
    mutation(
        "outages: a 503 has no Retry-After",
        "rest/errors.py",
        "_problem",
        Drop(r"response\.headers\.setdefault\('Retry-After', .*\)"),
        "tests/db/test_outages.py::test_transient_database_error_is_503",
    ),
    mutation(
        "overload: a rejection has no Retry-After",
        "rest/errors.py",
        "early_problem",
        Replace(r"\[\('Retry-After', .*\)\] if status == 503 else \[\]", "[]"),
        "tests/rest/test_cors.py::test_early_problem_has_cors_headers",
    ),
    mutation(
        "backup: a restored database is not compared",
        "postgres/backup.py",
        "",
        Replace(r"list\(_differences\(.*\)\)|_differences\(.*\)", "[]"),
        "tests/postgres/test_backup.py::test_difference_from_the_manifest_restores_nothing",
    ),
    # Valuations.
    mutation(
        "valuations: a provisional one is chosen without the setting",
        "catalogue/usage_valuations.py",
        "is_allowed",
        Replace(r"Organization\.missing_factor == LATEST", "sa.true()"),
        f"{PROVISIONAL}test_changing_the_setting_back_keeps_usages",
    ),
    mutation(
        "valuations: the key does not say that a part is provisional",
        "catalogue/valuation_choice.py",
        "_add",
        Replace(r"\['provisional'\] \* provisional", "[]"),
        f"{PROVISIONAL}test_only_the_later_part_of_a_bill_is_provisional",
    ),
    mutation(
        "valuations: missing lines stay missing in a provisional one",
        "catalogue/valuation_choice.py",
        "_latest",
        Replace(r"\{LOCATION: latest\} \| .*", "{LOCATION: latest}"),
        f"{PROVISIONAL}test_all_lines_are_of_the_edition_that_ended",
    ),
    mutation(
        "valuations: the first part of a split bill is provisional too",
        "emissions/aggregation.py",
        "evaluate",
        Replace(r"sa\.case\(\(valuation\.c\.provisional, (.*)\), else_=0\)", "amounts[f'{basis.method}_co2e_kg']"),
        f"{PROVISIONAL}test_only_the_later_part_of_a_bill_is_provisional",
    ),
    mutation(
        "valuations: a change of a factor does not choose again",
        "catalogue/valuation_choice.py",
        "choosing_again",
        Drop(r"ensure_valuations\(.*\)"),
        f"{PROVISIONAL}test_restatement_makes_provisional_usages_final",
    ),
    mutation(
        "valuations: a market-based line is never a fallback",
        "catalogue/valuation_choice.py",
        "_lines",
        Replace(r"line == MARKET and is_fallback", "False"),
        f"{PROVISIONAL}test_all_lines_are_of_the_edition_that_ended",
    ),
    mutation(
        "valuations: a new time zone keeps split ones",
        "usages/ledger/daily_totals.py",
        "rebuilding_daily_totals",
        Drop(r"forget_splits\(organization_id\)"),
        "tests/catalogue/test_factor_splits.py::test_new_time_zone_keeps_split_bills_exact",
    ),
    mutation(
        "verification: the provisional flag is not compared",
        "exports/service.py",
        "_miscalculations",
        Replace(r"version\.frozen_provisional != version\.provisional", "False"),
        "tests/exports/test_verify.py::test_changed_value_in_database_is_found",
    ),
)
