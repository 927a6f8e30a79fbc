"""Create, read, change and delete sites and meters, export and import them, and set the sites of users."""

from typing import IO, Any

from flask.views import MethodView

from ..accounts.models import User
from ..auth import MANAGERS, get_visible, visible
from ..rest import Blueprint, lock_for_update, requires
from . import schemas, service
from .meter_import import import_meters
from .models import Meter, Site
from .site_import import import_sites

sites = Blueprint(
    "Sites",
    __name__,
    description="Where something is used: the tree of an organization, its ownership, and the members who work there.",
)
meters = Blueprint("Meters", __name__, description="What measures the usages of one type at a site.")

SITE_FILE = {"csv": "external_id,name,parent,region\nEU,Europe,,\nBER,Berlin,EU,DE\n"}
METER_FILE = {"csv": "external_id,name,site,usage_type\n1900000000001,Main meter,BER,electricity\n"}


@sites.route("/sites")
class Sites(MethodView):
    @sites.list(schemas.SiteSchema, schemas.SiteQuery)
    def get(self, narrow: Any) -> Any:
        """List sites

        Members with sites of their own see these and all sites below them, other users all sites of the organization.
        """
        return narrow(visible(Site))

    @sites.post(schemas.NewSiteSchema, schemas.SiteSchema)
    @requires(MANAGERS)
    def post(self, fields: dict[str, Any]) -> Site:
        """Create a site

        Creates a site of your organization, at the top or below `parent_id`. A tree has at most 10 levels. Names must
        be unique below one parent.
        """
        return service.create_site(**fields)


@sites.route("/sites/<int:site_id>")
class SiteById(MethodView):
    @sites.get(schemas.SiteSchema)
    def get(self, site_id: int) -> Site:
        """Get a site

        Returns its place in the tree, and its region.
        """
        return get_visible(Site, site_id)

    @sites.patch(schemas.SiteChangesSchema(partial=True), schemas.SiteSchema)
    @requires(MANAGERS)
    def patch(self, fields: dict[str, Any], site_id: int) -> Site:
        """Change a site

        With another `parent_id`, all sites below it move too. Recorded usages keep their factors, also if the region
        changes. `archived: true` hides the site, and it accepts no new usages.
        """
        return service.change_site(service.lock_site(site_id), **fields)

    @sites.delete(Site)
    @requires(MANAGERS)
    def delete(self, site_id: int) -> None:
        """Delete a site

        Deletes a site and its shares. One with sites below it, meters, usages, restatements or members cannot be
        deleted (409): archive it instead.
        """
        service.delete_site(service.lock_site(site_id))


@sites.route("/sites/<int:site_id>/shares")
class Shares(MethodView):
    @sites.get(schemas.ShownOwnershipSchema)
    def get(self, site_id: int) -> dict[str, Any]:
        """Get the shares of a site

        Returns which part of the site its parent owns and controls, from each day on.
        """
        return {"shares": service.shares_of(get_visible(Site, site_id))}

    @sites.put(schemas.OwnershipSchema, schemas.ShownOwnershipSchema)
    @requires(MANAGERS)
    def put(self, fields: dict[str, Any], site_id: int) -> dict[str, Any]:
        """Replace the shares of a site

        Sets all days at which the ownership changes. Before the first one, the parent neither owns nor controls the
        site. Without shares, it owns and controls the whole site.
        """
        return {"shares": service.set_shares(get_visible(Site, site_id, lock=True), fields["shares"])}


@sites.route("/sites/export")
class SiteExport(MethodView):
    @sites.export(schemas.SiteExportSchema, schemas.SiteExportQuery, "sites")
    def get(self, narrow: Any) -> Any:
        """Export sites

        Returns the sites that `GET /sites` lists as a file, which `POST /sites/import` accepts.
        """
        return narrow(service.sites_to_export())


@sites.route("/sites/import")
class SiteImport(MethodView):
    @sites.upload(schemas.ImportCountsSchema, None, SITE_FILE, 200)
    @requires(MANAGERS)
    def post(self, file: IO[bytes]) -> Any:
        """Import sites

        Send CSV with a header as the body, or as `file` of a form. Columns: `name`, and optionally `external_id`,
        `parent` (by `external_id` or name; it can be a line of the same file), `region` and `archived`. A line is about
        the site with its `external_id`, or else the one with its name and parent. Values of columns that the file does
        not have stay as they are. All lines are imported or none; 422 returns the errors by line. The same file again
        changes nothing.
        """
        return import_sites(file)


@sites.route("/users/<int:user_id>/sites")
class SitesOfUser(MethodView):
    @sites.get(schemas.SitesOfUserSchema)
    def get(self, user_id: int) -> dict[str, Any]:
        """Get the sites of a user

        Returns the sites where a member works, without those below them.
        """
        return {"site_ids": service.sites_of(get_visible(User, user_id))}

    @sites.put(schemas.SitesOfUserSchema, schemas.SitesOfUserSchema)
    @requires(MANAGERS, api_key=False)
    def put(self, fields: dict[str, Any], user_id: int) -> dict[str, Any]:
        """Replace the sites of a user

        A member with sites sees all usages of these and of the sites below them, beside their own, and records,
        corrects and deletes usages there. They see no other sites and meters, and record nothing there. Without sites,
        a member sees their own usages only, and may record at each site. Other roles see the whole organization.
        """
        return {"site_ids": service.set_sites(get_visible(User, user_id, lock=True), fields["site_ids"])}


@meters.route("/meters")
class Meters(MethodView):
    @meters.list(schemas.MeterSchema, schemas.MeterQuery)
    def get(self, narrow: Any) -> Any:
        """List meters

        Members with sites see the meters of these and of the sites below them, other users all of the organization.
        `site_id` includes the meters of all sites below it.
        """
        return narrow(visible(Meter))

    @meters.post(schemas.NewMeterSchema, schemas.MeterSchema)
    @requires(MANAGERS)
    def post(self, fields: dict[str, Any]) -> Meter:
        """Create a meter

        Usages that name the meter get its site, its usage type and the region of its site. A meter has one usage at a
        time. Names must be unique at one site.
        """
        return service.create_meter(**fields)


@meters.route("/meters/<int:meter_id>")
class MeterById(MethodView):
    @meters.get(schemas.MeterSchema)
    def get(self, meter_id: int) -> Meter:
        """Get a meter

        Returns its site, its usage type, and when it was installed and removed.
        """
        return get_visible(Meter, meter_id)

    @meters.patch(schemas.MeterChangesSchema(partial=True), schemas.MeterSchema)
    @requires(MANAGERS)
    def patch(self, fields: dict[str, Any], meter_id: int) -> Meter:
        """Change a meter

        `site_id` moves the meter: its later usages are of the new site, and recorded ones keep theirs. The usage type
        cannot change once the meter has usages (409).
        """
        return service.change_meter(lock_for_update(Meter, meter_id), **fields)

    @meters.delete(Meter)
    @requires(MANAGERS)
    def delete(self, meter_id: int) -> None:
        """Delete a meter

        A meter with usages, also deleted ones, or one that replaces another cannot be deleted (409): archive it
        instead.
        """
        service.delete_meter(lock_for_update(Meter, meter_id))


@meters.route("/meters/export")
class MeterExport(MethodView):
    @meters.export(schemas.MeterExportSchema, schemas.MeterExportQuery, "meters")
    def get(self, narrow: Any) -> Any:
        """Export meters

        Returns the meters that `GET /meters` lists as a file, which `POST /meters/import` accepts.
        """
        return narrow(service.meters_to_export())


@meters.route("/meters/import")
class MeterImport(MethodView):
    @meters.upload(schemas.ImportCountsSchema, None, METER_FILE, 200)
    @requires(MANAGERS)
    def post(self, file: IO[bytes]) -> Any:
        """Import meters

        Send CSV with a header as the body, or as `file` of a form. Columns: `name`, `site` (by `external_id` or name),
        `usage_type_id` or `usage_type` (its name), and optionally `external_id`, `valid_from`, `valid_until`,
        `replaced_by` (another meter, by `external_id` or name) and `archived`. A line is about the meter with its
        `external_id`, or else the one with its name at the site. Values of columns that the file does not have stay as
        they are. All lines are imported or none; 422 returns the errors by line. The same file again changes nothing.
        """
        return import_meters(file)
