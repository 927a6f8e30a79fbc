"""Signing in, organizations and users."""

from typing import Any

from flask.views import MethodView

from ..auth import ADMINS, EVERYONE, MANAGERS, current_actor, get_all_visible, get_visible, token_claims, visible
from ..errors import Forbidden, Unauthenticated
from ..rate_limiting import PASSWORD_CHANGE
from ..rest import Blueprint, IdsSchema, lock_for_update, now
from . import invitations, service, sessions
from .models import Organization, User
from .schemas import (
    CreatedUserSchema,
    CredentialsSchema,
    NewOrganizationSchema,
    NewUserSchema,
    OrganizationChangesSchema,
    OrganizationQuery,
    OrganizationSchema,
    PasswordChangeSchema,
    PasswordTokenAcceptanceSchema,
    PasswordTokenSchema,
    ProfileChangesSchema,
    RegistrationSchema,
    SessionQuery,
    SessionSchema,
    TokensSchema,
    UserChangesSchema,
    UserQuery,
    UserReplacementSchema,
    UserSchema,
)

auth = Blueprint(
    "Auth",
    __name__,
    url_prefix="/api/v1/auth",
    description="Register, sign in and out. The access token is short-lived; the refresh token gets a new pair, once.",
)
organizations = Blueprint(
    "Organizations",
    __name__,
    description="Customers: the owners of users and ledgers. Their time zone says what a day is.",
)
users = Blueprint(
    "Users", __name__, description="The people of an organization, each with one role. Erasing one keeps the numbers."
)


@auth.route("/register")
class Register(MethodView):
    @auth.writing(
        RegistrationSchema,
        UserSchema,
        201,
        roles=None,
        conflicts=True,
        collection="/api/v1/users",
        raises=(Forbidden,),
    )
    def post(self, fields: dict[str, Any]) -> User:
        """Register an organization

        Makes the organization and its first manager, who adds its other users. Log in next.
        """
        return service.register(fields["email"], fields["password"], fields["name"], fields.get("organization"), now())


@auth.route("/login")
class Login(MethodView):
    @auth.writing(CredentialsSchema, TokensSchema, roles=None, tagged=False, raises=(Unauthenticated,))
    def post(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Log in

        Send the access token as `Authorization: Bearer <access token>`. When it expires, refresh.
        """
        return sessions.log_in(fields["email"], fields["password"], now())


@auth.route("/refresh")
class Refresh(MethodView):
    @auth.writing(None, TokensSchema, roles=None, tagged=False)
    @auth.doc(security=[{"refresh_token": []}])
    def post(self) -> dict[str, Any]:
        """Refresh the tokens

        The bearer here is the refresh token. It is good once: use the new one next time. One that is used twice ends
        the session, but for a retry within 30 seconds, which gets the same answer.
        """
        return sessions.refresh(token_claims("refresh"), now())


@auth.route("/logout")
class Logout(MethodView):
    @auth.writing(None, None, 204, roles=EVERYONE, in_person=True)
    def post(self) -> None:
        """Log out

        Ends this session: its refresh token is worthless at once, its access token within 5 seconds.
        """
        sessions.end_current(current_actor(), now())


@auth.route("/sessions")
class Sessions(MethodView):
    @auth.listing(SessionSchema, SessionQuery, in_person=True)
    def get(self, narrow: Any) -> Any:
        """List sessions

        Your own, each of them a log-in that goes on, newest first.
        """
        return narrow(sessions.active(now()))


@auth.route("/sessions/<int:session_id>")
class SessionById(MethodView):
    @auth.removing(roles=EVERYONE, tagged=False, in_person=True)
    def delete(self, session_id: int) -> None:
        """End a session

        One of your own, as logging out there would: its refresh token is worthless at once, its access token within
        5 seconds.
        """
        sessions.end_by_id(session_id, now())


@auth.route("/password")
class Password(MethodView):
    @auth.writing(PasswordChangeSchema, None, 204, roles=EVERYONE, throttle=PASSWORD_CHANGE, in_person=True)
    def post(self, fields: dict[str, Any]) -> None:
        """Change your password

        Your other sessions end. Your API keys go on: delete those that somebody else may have.
        """
        service.change_password(get_visible(User, current_actor().id, lock=True), now(), **fields)


@auth.route("/accept")
class Acceptance(MethodView):
    @auth.writing(PasswordTokenAcceptanceSchema, None, 204, roles=None)
    def post(self, fields: dict[str, Any]) -> None:
        """Accept an invitation

        Sets a password by a token, of an invitation or a reset, which is good once. Sessions that go on end; API keys
        do not. Log in next.
        """
        invitations.set_password(fields["token"], fields["password"], now())


@auth.route("/me")
class Me(MethodView):
    @auth.reading(UserSchema, tagged=True)
    def get(self) -> User:
        """Get yourself

        Who is signed in, and with which role.
        """
        return get_visible(User, current_actor().id)

    @auth.writing(ProfileChangesSchema(partial=True), UserSchema, roles=EVERYONE, conflicts=True, in_person=True)
    def patch(self, fields: dict[str, Any]) -> User:
        """Change yourself

        Your name and e-mail address; a manager sets roles.
        """
        return service.change_user(lock_for_update(User, current_actor().id), now(), **fields)


@organizations.route("/organizations")
class Organizations(MethodView):
    @organizations.listing(OrganizationSchema, OrganizationQuery)
    def get(self, narrow: Any) -> Any:
        """List organizations

        Your own; an admin sees all.
        """
        return narrow(visible(Organization))

    @organizations.writing(NewOrganizationSchema, OrganizationSchema, 201, roles=ADMINS)
    def post(self, fields: dict[str, Any]) -> Organization:
        """Create an organization

        Its users are added with `POST /users`.
        """
        return service.create_organization(**fields)


@organizations.route("/organizations/<int:organization_id>")
class OrganizationById(MethodView):
    @organizations.reading(OrganizationSchema, tagged=True)
    def get(self, organization_id: int) -> Organization:
        """Get an organization

        Its time zone says what a day is in its reports; its region, whose emission factors apply.
        """
        return get_visible(Organization, organization_id)

    @organizations.writing(NewOrganizationSchema, OrganizationSchema, roles=MANAGERS)
    def put(self, fields: dict[str, Any], organization_id: int) -> Organization:
        """Replace an organization

        What is left out gets its default.
        """
        return service.change_organization(lock_for_update(Organization, organization_id), **fields)

    @organizations.writing(OrganizationChangesSchema(partial=True), OrganizationSchema, roles=MANAGERS)
    def patch(self, fields: dict[str, Any], organization_id: int) -> Organization:
        """Change an organization

        What is left out stays. Numbers that are recorded already stay too.
        """
        return service.change_organization(lock_for_update(Organization, organization_id), **fields)

    @organizations.removing(roles=ADMINS, conflicts=True)
    def delete(self, organization_id: int) -> None:
        """Delete an organization

        Only one without users and without a ledger.
        """
        service.delete_organization(lock_for_update(Organization, organization_id))


@users.route("/users")
class Users(MethodView):
    @users.listing(UserSchema, UserQuery)
    def get(self, narrow: Any) -> Any:
        """List users

        A member sees themselves, a manager and an auditor their organization's, an admin all.
        """
        return narrow(visible(User))

    @users.writing(
        NewUserSchema,
        CreatedUserSchema,
        201,
        roles=MANAGERS,
        conflicts=True,
        in_person=True,
        secret="invitation_token",
    )
    def post(self, fields: dict[str, Any]) -> User:
        """Add a user

        To your own organization. The e-mail address must not be in use. Without a password they are invited: they set
        it themselves at `/auth/accept`, by a token that is good once, for 24 hours. It is sent to them if this service
        sends mail; if not, it is in this answer, for you to hand over.
        """
        return service.create_user(now(), **fields)

    @users.removing(IdsSchema, roles=MANAGERS, conflicts=True, in_person=True)
    def delete(self, query: dict[str, Any]) -> None:
        """Delete several users

        All of them, or none. Their personal data is erased; their usages, and so every total, stay.
        """
        service.erase_users(get_all_visible(User, query["id"], lock=True), now())


@users.route("/users/<int:user_id>")
class UserById(MethodView):
    @users.reading(UserSchema, tagged=True)
    def get(self, user_id: int) -> User:
        """Get a user

        One whom you may see: yourself, and as a manager or auditor your organization's.
        """
        return get_visible(User, user_id)

    @users.writing(UserReplacementSchema, UserSchema, roles=MANAGERS, conflicts=True, in_person=True)
    def put(self, fields: dict[str, Any], user_id: int) -> User:
        """Replace a user

        What is left out gets its default. The password stays.
        """
        return service.change_user(lock_for_update(User, user_id), now(), **fields)

    @users.writing(UserChangesSchema(partial=True), UserSchema, roles=MANAGERS, conflicts=True, in_person=True)
    def patch(self, fields: dict[str, Any], user_id: int) -> User:
        """Change a user

        `active: false` signs them out and keeps them out; their API keys do nothing until they are active again.
        """
        return service.change_user(lock_for_update(User, user_id), now(), **fields)

    @users.removing(roles=MANAGERS, conflicts=True, in_person=True)
    def delete(self, user_id: int) -> None:
        """Delete a user

        Their personal data is erased; their usages, and so every total, stay.
        """
        service.erase_users([lock_for_update(User, user_id)], now())


@users.route("/users/<int:user_id>/reset")
class Reset(MethodView):
    @users.writing(
        None, PasswordTokenSchema, roles=MANAGERS, conflicts=True, tagged=False, in_person=True, secret="token"
    )
    def post(self, user_id: int) -> dict[str, Any]:
        """Reset a password

        Makes a token for a user who has lost their password, or whose invitation has expired: good once, at
        `/auth/accept`, for 24 hours. It makes the one before worthless. It is sent to them if this service sends mail;
        if not, it is in this answer, for you to hand over. Until it is accepted, nothing else changes.
        """
        return invitations.create_reset_token(get_visible(User, user_id, lock=True), now())
