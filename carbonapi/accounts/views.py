"""Logging in, organizations and users."""

from typing import Any

from flask.views import MethodView

from ..auth import ADMINS, EVERYONE, MANAGERS, current_actor, get_all_visible, get_visible, token_claims, visible
from ..errors import Forbidden, Unauthenticated
from ..rate_limiting.limits import PASSWORD_CHANGE
from ..rest import (
    Blueprint,
    IdsSchema,
    counted_by,
    lock_for_update,
    not_cached,
    now,
    public,
    raises,
    rate_limited,
    requires,
    shown_once,
)
from . import invitations, schemas, service, sessions
from .models import Organization, Session, User

auth = Blueprint(
    "Auth",
    __name__,
    url_prefix="/api/v1/auth",
    description="Registration, login and logout. Access tokens are short-lived; a refresh token can be used once.",
)
organizations = Blueprint(
    "Organizations",
    __name__,
    description="Customers, which own users and ledgers. The time zone of an organization defines its days.",
)
users = Blueprint(
    "Users",
    __name__,
    description="The people of an organization, each with one role. Usages remain when a user is erased.",
)


@auth.route("/register")
class Register(MethodView):
    @auth.post(schemas.RegistrationSchema, schemas.UserSchema, location="/api/v1/users")
    @public
    @raises(Forbidden)
    def post(self, fields: dict[str, Any]) -> User:
        """Register an organization

        Creates the organization and its first manager, who can add other users. Log in next.
        """
        return service.register(fields["email"], fields["password"], fields["name"], fields.get("organization"), now())


@auth.route("/login")
class Login(MethodView):
    @auth.post(schemas.CredentialsSchema, schemas.TokensSchema, 200)
    @public
    @not_cached
    @raises(Unauthenticated)
    def post(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Log in

        Send the access token as `Authorization: Bearer <access token>`. When it expires, refresh the tokens.
        """
        return sessions.log_in(fields["email"], fields["password"], now())


@auth.route("/refresh")
class Refresh(MethodView):
    @auth.post(None, schemas.TokensSchema, 200)
    @public
    @not_cached
    @auth.doc(security=[{"refresh_token": []}])
    def post(self) -> dict[str, Any]:
        """Refresh the tokens

        Send the refresh token as the bearer token. It can be used once: use the new one next time. Using it twice ends
        the session, except for a retry within 30 seconds, which gets the same response.
        """
        return sessions.refresh(token_claims("refresh"), now())


@auth.route("/logout")
class Logout(MethodView):
    @auth.post(None, None)
    @requires(EVERYONE, api_key=False)
    def post(self) -> None:
        """Log out

        Ends this session. Its refresh token stops working at once. Its access token stops working at once in the worker
        process that handles this request, and within 5 seconds in the others.
        """
        sessions.end_current(current_actor(), now())


@auth.route("/sessions")
class Sessions(MethodView):
    @auth.list(schemas.SessionSchema, schemas.SessionQuery)
    @requires(EVERYONE, api_key=False)
    def get(self, narrow: Any) -> Any:
        """List sessions

        Returns your active sessions, newest first.
        """
        return narrow(sessions.active(now()))


@auth.route("/sessions/<int:session_id>")
class SessionById(MethodView):
    @auth.delete(Session)
    @requires(EVERYONE, api_key=False)
    def delete(self, session_id: int) -> None:
        """End a session

        Ends one of your own sessions. Its refresh token stops working at once. Its access token stops working at once
        in the worker process that handles this request, and within 5 seconds in the others.
        """
        sessions.end_by_id(session_id, now())


@auth.route("/password")
class Password(MethodView):
    @auth.post(schemas.PasswordChangeSchema, None)
    @requires(EVERYONE, api_key=False)
    @rate_limited(PASSWORD_CHANGE)
    def post(self, fields: dict[str, Any]) -> None:
        """Change your password

        Ends your other sessions. Your API keys remain valid: delete those that may be known to others.
        """
        service.change_password(get_visible(User, current_actor().id, lock=True), now(), **fields)


@auth.route("/accept")
class Acceptance(MethodView):
    @auth.post(schemas.PasswordTokenAcceptanceSchema, None)
    @public
    def post(self, fields: dict[str, Any]) -> None:
        """Accept an invitation

        Sets a password with the single-use token of an invitation or a password reset. This ends active sessions, but
        API keys remain valid. Log in next.
        """
        invitations.set_password(fields["token"], fields["password"], now())


@auth.route("/me")
class Me(MethodView):
    @auth.get(schemas.UserSchema)
    def get(self) -> User:
        """Get yourself

        Returns your own user, with its role.
        """
        return get_visible(User, current_actor().id)

    @auth.patch(schemas.ProfileChangesSchema(partial=True), schemas.UserSchema)
    @requires(EVERYONE, api_key=False)
    @counted_by(service.count_own_address)
    def patch(self, fields: dict[str, Any]) -> User:
        """Change yourself

        Changes your name or e-mail address. A new e-mail address requires `current_password`; these requests are
        limited like logins. Managers set roles.
        """
        return service.change_profile(lock_for_update(User, current_actor().id), now(), **fields)


@organizations.route("/organizations")
class Organizations(MethodView):
    @organizations.list(schemas.OrganizationSchema, schemas.OrganizationQuery)
    def get(self, narrow: Any) -> Any:
        """List organizations

        Returns your own organization. Admins see all.
        """
        return narrow(visible(Organization))

    @organizations.post(schemas.NewOrganizationSchema, schemas.OrganizationSchema)
    @requires(ADMINS)
    def post(self, fields: dict[str, Any]) -> Organization:
        """Create an organization

        Add its users with `POST /users`.
        """
        return service.create_organization(**fields)


@organizations.route("/organizations/<int:organization_id>")
class OrganizationById(MethodView):
    @organizations.get(schemas.OrganizationSchema)
    def get(self, organization_id: int) -> Organization:
        """Get an organization

        Its time zone defines the days of reports. The emission factors of its region apply to usages without a region.
        """
        return get_visible(Organization, organization_id)

    @organizations.put(schemas.NewOrganizationSchema, schemas.OrganizationSchema)
    @requires(MANAGERS)
    def put(self, fields: dict[str, Any], organization_id: int) -> Organization:
        """Replace an organization

        Omitted fields get their defaults.
        """
        return service.change_organization(lock_for_update(Organization, organization_id), **fields)

    @organizations.patch(schemas.OrganizationChangesSchema(partial=True), schemas.OrganizationSchema)
    @requires(MANAGERS)
    def patch(self, fields: dict[str, Any], organization_id: int) -> Organization:
        """Change an organization

        Omitted fields stay as they are, and so do recorded usages. A new time zone rebuilds the daily totals.
        """
        return service.change_organization(lock_for_update(Organization, organization_id), **fields)

    @organizations.delete(Organization)
    @requires(ADMINS)
    def delete(self, organization_id: int) -> None:
        """Delete an organization

        Deletes an organization without users and usages.
        """
        service.delete_organization(lock_for_update(Organization, organization_id))


@users.route("/users")
class Users(MethodView):
    @users.list(schemas.UserSchema, schemas.UserQuery)
    def get(self, narrow: Any) -> Any:
        """List users

        Members see themselves, managers and auditors the users of their organization, admins all users.
        """
        return narrow(visible(User))

    @users.post(schemas.NewUserSchema, schemas.CreatedUserSchema)
    @requires(MANAGERS, api_key=False)
    @counted_by(service.count_new_address)
    @shown_once("invitation_token")
    def post(self, fields: dict[str, Any]) -> User:
        """Add a user

        Adds a user to your organization. The e-mail address must not be in use. Without a password, the user is
        invited: they set one at `/auth/accept` with a single-use token that is valid for 24 hours. If the service sends
        mail, it sends them the token. Otherwise the response contains it, for you to pass on. Requests of managers are
        also limited like registrations, because the response shows whether an address has an account.
        """
        return service.create_user(now(), **fields)

    @users.delete(User, IdsSchema)
    @requires(MANAGERS, api_key=False)
    def delete(self, query: dict[str, Any]) -> None:
        """Delete several users

        Deletes all of them or none. Erases their personal data; their usages remain, and so does every total.
        """
        service.erase_users(get_all_visible(User, query["id"], lock=True), now())


@users.route("/users/<int:user_id>")
class UserById(MethodView):
    @users.get(schemas.UserSchema)
    def get(self, user_id: int) -> User:
        """Get a user

        Returns yourself or, for managers and auditors, a user of your organization.
        """
        return get_visible(User, user_id)

    @users.put(schemas.UserReplacementSchema, schemas.UserSchema)
    @requires(MANAGERS, api_key=False)
    @counted_by(service.count_new_address)
    def put(self, fields: dict[str, Any], user_id: int) -> User:
        """Replace a user

        Omitted fields get their defaults. The password stays. Change your own e-mail address with `PATCH /auth/me`.
        """
        return service.change_user(lock_for_update(User, user_id), now(), **fields)

    @users.patch(schemas.UserChangesSchema(partial=True), schemas.UserSchema)
    @requires(MANAGERS, api_key=False)
    @counted_by(service.count_new_address)
    def patch(self, fields: dict[str, Any], user_id: int) -> User:
        """Change a user

        `active: false` ends their sessions and prevents logins. Their API keys stop working until they are active
        again. Change your own e-mail address with `PATCH /auth/me`.
        """
        return service.change_user(lock_for_update(User, user_id), now(), **fields)

    @users.delete(User)
    @requires(MANAGERS, api_key=False)
    def delete(self, user_id: int) -> None:
        """Delete a user

        Erases their personal data; their usages remain, and so does every total.
        """
        service.erase_users([lock_for_update(User, user_id)], now())


@users.route("/users/<int:user_id>/reset")
class Reset(MethodView):
    @users.post(None, schemas.PasswordTokenSchema, 200)
    @requires(MANAGERS, api_key=False)
    @shown_once("token")
    def post(self, user_id: int) -> dict[str, Any]:
        """Reset a password

        Creates a single-use token for `/auth/accept` for a user who has lost their password or whose invitation has
        expired, and ends their sessions. The token is valid for 24 hours and replaces the previous one. If the service
        sends mail, it sends them the token. Otherwise the response contains it, for you to pass on. The current
        password works until the token is used. You cannot reset your own password: use `/auth/password`.
        """
        return invitations.create_reset_token(get_visible(User, user_id, lock=True), now())
