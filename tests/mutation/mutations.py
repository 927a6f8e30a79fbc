"""The holes that `make mutants` plants: what stands in a file, what takes its place, and which tests must find it."""

from dataclasses import dataclass

BODIES = "tests/rest/test_bodies.py::"
SESSIONS = "tests/accounts/test_sessions.py::"
TOKENS = f"{SESSIONS}test_tokens_that_are_not_wholly_right_are_refused_without_asking_the_database"
VALUES = f"{BODIES}test_a_value_that_is_not_right_is_422_and_names_the_field"
KEYS = "tests/accounts/test_api_keys.py::"
LIMITS = "tests/throttling/test_limits.py::"
ONCE = "tests/rest/test_idempotency.py::"
TENANCY = "tests/test_tenancy.py::"
ROUTES = "tests/test_every_route.py::"


@dataclass(frozen=True)
class Hole:
    """One fault: `new` instead of `old`, which stands in the file once."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


HOLES = (
    # The walls between organizations.
    Hole(
        "walls: the policies let everything through",
        "migrations/versions/row_level_security.py",
        "USING ({column} = {TOLD} OR {EVERYWHERE})",
        "USING (true)",
        (f"{TENANCY}test_an_organization_is_shown_its_own_rows_and_nobody_any",),
    ),
    Hole(
        "walls: the policies do not bind the owner",
        "migrations/versions/row_level_security.py",
        'op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")',
        "pass",
        (f"{TENANCY}test_every_tenants_table_has_a_policy_that_binds_its_owner_too",),
    ),
    Hole(
        "walls: the statement does not name the organization",
        "carbonapi/db.py",
        "(organization_id == viewer.organization_id,)",
        "()",
        ("tests/test_walls.py::test_another_organizations_manager_finds_nothing",),
    ),
    Hole(
        "walls: a member sees everybody's",
        "carbonapi/db.py",
        'if viewer.role != "member" or',
        "if True or",
        ("tests/imports/test_exporting.py::test_everybody_exports_what_they_see",),
    ),
    Hole(
        "walls: the scope is not told",
        "carbonapi/tenancy.py",
        "if connection.info.get(SETTING) != scope and",
        "if connection.info.get(SETTING) == scope and",
        (f"{TENANCY}test_it_travels_with_the_statement_and_only_when_it_changed",),
    ),
    Hole(
        "walls: a scope that was rolled back is not told again",
        "carbonapi/tenancy.py",
        'for undoing in ("rollback", "rollback_savepoint"):',
        'for undoing in ("rollback_savepoint",):',
        (f"{TENANCY}test_what_was_told_is_told_again_when_it_was_undone",),
    ),
    Hole(
        "walls: a superuser may serve",
        "carbonapi/rest/pages.py",
        "if tenancy.is_above(db.session.connection()):",
        "if False:",
        (f"{TENANCY}test_a_role_above_the_policies_is_refused_and_never_ready",),
    ),
    Hole(
        "walls: the audit log can be altered",
        "carbonapi/tenancy.py",
        '("audit_entries", "UPDATE, DELETE")',
        '("audit_entries", "TRUNCATE")',
        ("tests/audit/test_views.py::test_the_services_own_role_cannot_alter_the_log",),
    ),
    # Tokens and sessions.
    Hole(
        "tokens: claims are not required",
        "carbonapi/access.py",
        'options={"require": REQUIRED_CLAIMS},',
        "options={},",
        (TOKENS,),
    ),
    Hole(
        "tokens: the caller chooses the algorithm",
        "carbonapi/access.py",
        '[config["JWT_ALGORITHM"]],',
        '["HS256", "HS384", "HS512"],',
        (TOKENS,),
    ),
    Hole(
        "tokens: an expired one is good",
        "carbonapi/access.py",
        'options={"require": REQUIRED_CLAIMS},',
        'options={"require": REQUIRED_CLAIMS, "verify_exp": False},',
        (TOKENS,),
    ),
    Hole(
        "tokens: one that was good stays good",
        "carbonapi/access.py",
        ' and time.time() < kept["exp"]:',
        ":",
        (f"{SESSIONS}test_a_token_that_was_good_is_refused_once_it_has_expired",),
    ),
    Hole(
        "tokens: a refresh token opens everything",
        "carbonapi/access.py",
        'if claims["type"] != kind or not _names_a_session(claims):',
        "if not _names_a_session(claims):",
        (TOKENS,),
    ),
    Hole(
        "sessions: one is remembered by its id alone",
        "carbonapi/access.py",
        'session = (claims["org"], claims["sid"], claims["sub"])',
        'session = (0, claims["sid"], "")',
        ("tests/accounts/test_sessions.py::test_a_session_is_remembered_with_its_user_and_its_organization",),
    ),
    Hole(
        "sessions: one whose token was used twice goes on",
        "carbonapi/accounts/sessions.py",
        'session.ended_at, session.end_reason = now, "a refresh token was used twice"',
        "pass",
        (f"{SESSIONS}test_a_retry_within_seconds_gets_the_same_successor_and_a_late_one_ends_the_session",),
    ),
    Hole(
        "sessions: two refresh at once",
        "carbonapi/accounts/sessions.py",
        "        .with_for_update()\n    )\n    if session is None or",
        '    )\n    __import__("time").sleep(0.2)\n    if session is None or',
        (f"{SESSIONS}test_simultaneous_refreshes_have_one_successor",),
    ),
    Hole(
        "sessions: the others outlast a new password",
        "carbonapi/accounts/people.py",
        '    sessions.end_all_of(user, now, "password changed", but=current_actor().session_id)\n',
        "",
        (f"{SESSIONS}test_a_new_password_ends_the_other_sessions",),
    ),
    Hole(
        "passwords: a new one is not hashed anew",
        "carbonapi/accounts/people.py",
        "    user.password_hash = hash_password(new_password)\n",
        "",
        (f"{SESSIONS}test_a_new_password_ends_the_other_sessions",),
    ),
    Hole(
        "passwords: an unknown address is refused faster",
        "carbonapi/accounts/passwords.py",
        "HASHER.verify(password_hash or _NOBODYS_HASH, password) and password_hash is not None",
        "password_hash is not None and HASHER.verify(password_hash, password)",
        (f"{SESSIONS}test_an_unknown_address_costs_a_hash_too",),
    ),
    Hole(
        "passwords: any number is hashed at once",
        "carbonapi/accounts/passwords.py",
        'max(1, cores() // (app.config["WORKERS"] or 1))',
        "1000",
        ("tests/accounts/test_passwords.py::test_no_more_are_hashed_at_once_than_there_are_cores_for_a_worker",),
    ),
    Hole(
        "roles: a manager makes an admin",
        "carbonapi/accounts/people.py",
        'if role == "admin" and not actor.is_admin:',
        "if False:",
        ("tests/accounts/test_views.py::test_a_manager_adds_users_of_every_role_but_admin",),
    ),
    # API keys and invitations.
    Hole(
        "keys: they are kept as they are",
        "carbonapi/accounts/named_secrets.py",
        "hashlib.sha256(secret.encode()).digest()",
        "secret.encode()",
        (f"{KEYS}test_what_is_kept_of_a_key_opens_nothing",),
    ),
    Hole(
        "keys: one that reads writes",
        "carbonapi/access.py",
        'if actor.scope == "read" and not reads:',
        "if False:",
        (f"{KEYS}test_a_key_that_reads_changes_nothing",),
    ),
    Hole(
        "keys: one does what takes a password",
        "carbonapi/access.py",
        "if actor.api_key_id is not None and in_person:",
        "if False:",
        (f"{ROUTES}test_an_admins_key_does_not_do_what_takes_a_password_and_one_that_reads_writes_nothing",),
    ),
    Hole(
        "invitations: a token is good twice",
        "carbonapi/accounts/invitations.py",
        '    withdraw(user)\n    sessions.end_all_of(user, now, "password set by token")',
        '    sessions.end_all_of(user, now, "password set by token")',
        ("tests/accounts/test_invitations.py::test_a_token_is_good_once_and_the_newest_alone",),
    ),
    Hole(
        "invitations: the link leads where the caller says",
        "carbonapi/accounts/mail.py",
        'page = current_app.config["PUBLIC_URL"]',
        'page = __import__("flask").request.host_url',
        ("tests/accounts/test_mail.py::test_a_reset_leads_to_the_page_that_is_configured_whatever_host_is_asked",),
    ),
    # Throttles.
    Hole(
        "throttles: a count is looked at before it is added to",
        "carbonapi/throttling/counts.py",
        "            return int(connection.execute(_ADDING, values).scalar_one())",
        "            mine = (COUNTS.c.bucket == bucket, COUNTS.c.ends_at == ends_at)\n"
        "            seen = connection.execute(sa.select(COUNTS.c.number).where(*mine)).scalar() or 0\n"
        "            time.sleep(0.2)\n"
        "            connection.execute(_ADDING, values)\n"
        "            return int(seen) + number",
        (f"{LIMITS}test_of_25_guesses_at_the_same_time_ten_are_looked_at",),
    ),
    Hole(
        "throttles: a guess is counted once it was wrong",
        "carbonapi/accounts/sessions.py",
        """    spend(SIGN_IN, email.lower(), now)
    with tenancy.everywhere():
        user = db.session.scalar(sa.select(User).where(User.email_key == email.lower()))
    db.session.commit()  # Hashing takes long, and may have to wait: it keeps no connection meanwhile.
    matches = password_matches(password, user.password_hash if user else None)
""",
        """    with tenancy.everywhere():
        user = db.session.scalar(sa.select(User).where(User.email_key == email.lower()))
    db.session.commit()
    matches = password_matches(password, user.password_hash if user else None)
    if not matches:
        spend(SIGN_IN, email.lower(), now)
""",
        (f"{LIMITS}test_of_25_guesses_at_the_same_time_ten_are_looked_at",),
    ),
    Hole(
        "throttles: nobody is told when to come again",
        "carbonapi/rest/errors.py",
        '{"Retry-After": str(error.retry_after)} if isinstance(error, errors.TooMany) else None',
        "None",
        (f"{LIMITS}test_of_25_guesses_at_the_same_time_ten_are_looked_at",),
    ),
    Hole(
        "throttles: callers choose their address",
        "carbonapi/rest/bodies.py",
        'proxies = app.config["TRUSTED_PROXIES"]',
        'proxies = app.config["TRUSTED_PROXIES"] + 1',
        (f"{LIMITS}test_a_forwarded_address_is_believed_through_so_many_proxies",),
    ),
    # Sending again, and changing at the same time.
    Hole(
        "idempotency: the key is claimed after the effect",
        "carbonapi/rest/idempotency.py",
        "        fingerprint = _fingerprint(file)\n        if not _claim(",
        "        fingerprint = _fingerprint(file)\n        view(*args, **kwargs)\n        if not _claim(",
        (f"{ONCE}test_a_usage_that_is_sent_twice_with_its_key_is_recorded_and_told_once",),
    ),
    Hole(
        "idempotency: another request has the answer",
        "carbonapi/rest/idempotency.py",
        "if not hmac.compare_digest(kept.fingerprint, fingerprint):",
        "if False:",
        (f"{ONCE}test_a_key_of_another_request_is_refused",),
    ),
    Hole(
        "tags: If-Match is not looked at",
        "carbonapi/rest/etag.py",
        'if wanted is not None and wanted.strip() != "*" and',
        "if False and",
        ("tests/usages/test_ledger.py::test_concurrent_writes_with_one_etag_have_one_winner",),
    ),
    Hole(
        "tags: what is to be changed is not locked",
        "carbonapi/rest/etag.py",
        "fetch(model, id_, lock=True)",
        "fetch(model, id_)",
        ("tests/usages/test_ledger.py::test_concurrent_writes_without_etag_all_succeed",),
    ),
    # Bodies, arguments, files.
    Hole(
        "arguments: an unknown one is passed over",
        "carbonapi/rest/bodies.py",
        "= dict.fromkeys(FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION)",
        "= dict(FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION)",
        ("tests/rest/test_telling.py::test_a_request_is_a_line_that_says_who_asked_for_what_and_not_how",),
    ),
    Hole(
        "bodies: an unknown field is passed over",
        "carbonapi/rest/query.py",
        "unknown = ma.RAISE",
        "unknown = ma.EXCLUDE",
        (f"{BODIES}test_half_a_surrogate_pair_in_a_name_is_told_as_well_as_it_can_be",),
    ),
    Hole(
        "bodies: a name may stand twice",
        "carbonapi/rest/bodies.py",
        "if len(fields) != len(pairs):",
        "if False:",
        (f"{BODIES}test_what_is_no_json_is_400",),
    ),
    Hole(
        "bodies: numbers are floats",
        "carbonapi/rest/bodies.py",
        "parse_float=number_of,",
        "parse_float=float,",
        (VALUES,),
    ),
    Hole(
        "bodies: years have no bounds",
        "carbonapi/rest/fields.py",
        '            raise self.make_error("years")\n        moment = moment.astimezone(dt.UTC)\n',
        "            pass\n        moment = moment.astimezone(dt.UTC)\n",
        (VALUES,),
    ),
    Hole(
        "bodies: a NUL is text",
        "carbonapi/rest/fields.py",
        r'_CONTROL = r"\x00-\x08',
        r'_CONTROL = r"\x01-\x08',
        (VALUES,),
    ),
    Hole(
        "bodies: they may come in chunks",
        "carbonapi/rest/bodies.py",
        'if "Transfer-Encoding" in request.headers:',
        "if False:",
        (f"{BODIES}test_compressed_bodies_are_415_and_chunked_ones_411",),
    ),
    Hole(
        "bodies: half of one is taken for whole",
        "carbonapi/rest/bodies.py",
        'environ.pop("wsgi.input_terminated", None)',
        'environ.get("wsgi.input_terminated", None)',
        (f"{BODIES}test_a_body_that_was_cut_off_is_400_and_stores_nothing",),
    ),
    Hole(
        "bodies: any media type is JSON",
        "carbonapi/rest/bodies.py",
        'if req.mimetype != "application/json":',
        "if False:",
        (f"{BODIES}test_another_media_type_is_415",),
    ),
    Hole(
        "exports: a spreadsheet runs a cell",
        "carbonapi/rest/exports.py",
        'guarded = sa.case((is_risky, sa.literal("\'").concat(column)), else_=column)',
        "guarded = column",
        ("tests/imports/test_exporting.py::test_a_text_that_a_spreadsheet_would_run_has_an_apostrophe_before_it",),
    ),
    # What is told, and to whom.
    Hole(
        "log: an exception tells what it quotes",
        "carbonapi/logs.py",
        'return f": {error}" if isinstance(error, AttributeError | ImportError | NameError) else ""',
        'return f": {error}"',
        ("tests/test_logs.py::test_an_exception_is_told_by_kind_and_place_and_not_by_what_it_says",),
    ),
    Hole(
        "log: the query is told",
        "carbonapi/logs.py",
        '"path": request.path,',
        '"path": request.full_path,',
        ("tests/rest/test_telling.py::test_a_request_is_a_line_that_says_who_asked_for_what_and_not_how",),
    ),
    Hole(
        "log: callers write what they like as the request's id",
        "carbonapi/rest/errors.py",
        "return asked if _REQUEST_ID.fullmatch(asked) else",
        "return asked if asked else",
        (f"{BODIES}test_a_sane_request_id_is_echoed_and_another_is_made",),
    ),
    Hole(
        "metrics: any token will do",
        "carbonapi/rest/telling.py",
        "is_right = hmac.compare_digest(",
        "is_right = bool(token) or hmac.compare_digest(",
        ("tests/rest/test_telling.py::test_metrics_are_for_who_has_the_token",),
    ),
    Hole(
        "audit: an entry is there before its change is",
        "carbonapi/audit/recording.py",
        "    db.session.connection().execute(sa.insert(AuditEntry), entries)\n",
        "    db.session.connection().execute(sa.insert(AuditEntry), entries)\n    db.session.connection().commit()\n",
        ("tests/audit/test_recording.py::test_an_entry_goes_with_the_change_that_it_tells_of",),
    ),
    Hole(
        "cors: every origin is told that it may read",
        "carbonapi/rest/cors.py",
        "if origins is None or origin not in origins:",
        "if origins is None:",
        ("tests/rest/test_cors.py::test_an_origin_that_is_not_named_to_the_letter_is_told_nothing",),
    ),
    Hole(
        "csp: a script may stand in the page",
        "carbonapi/rest/protection.py",
        "script-src 'self';",
        "script-src 'self' 'unsafe-inline';",
        ("tests/rest/test_protection.py::test_every_answer_protects_who_reads_it",),
    ),
    Hole(
        "settings: a key of an example will do",
        "carbonapi/settings.py",
        "if is_repeated or is_example or",
        "if is_repeated or",
        ("tests/test_settings.py::test_a_setting_at_fault_is_named_and_its_value_is_not",),
    ),
    # Faults and floods.
    Hole(
        "overload: nobody waits for a place",
        "carbonapi/web.py",
        "                async with place:\n",
        "                if place:\n",
        ("tests/test_overload.py::test_of_a_flood_some_is_refused_and_who_asks_little_is_answered",),
    ),
    Hole(
        "faults: a 503 does not say when to come again",
        "carbonapi/rest/errors.py",
        'response.headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))',
        "pass",
        ("tests/test_faults.py::test_what_the_database_cannot_do_now_is_503",),
    ),
    Hole(
        "overload: a refusal does not say when to come again",
        "carbonapi/rest/errors.py",
        '*([("Retry-After", str(RETRY_AFTER_SECONDS))] if status == 503 else []),',
        "",
        ("tests/rest/test_cors.py::test_a_refusal_before_the_application_is_asked_is_shared_alike",),
    ),
    Hole(
        "backup: what was restored is not compared",
        "carbonapi/backup.py",
        "if differences:",
        "if False:",
        ("tests/test_backup.py::test_a_table_that_differs_from_the_manifest_is_told_and_nothing_is_kept",),
    ),
)
