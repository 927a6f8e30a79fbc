"""Import a table of sites: add those that are missing, and change those that differ."""

from typing import IO, Any

import sqlalchemy as sa

from .. import audit
from ..auth import current_actor
from ..db import allow, db
from ..errors import ValidationFailed
from .models import Site
from .schemas import SiteCellsSchema, SiteExportSchema
from .table_import import ImportResult, Names, TableRow, read_rows
from .tree import ancestors_below, lock_tree, move


def import_sites(file: IO[bytes]) -> ImportResult:
    """Import a CSV file of sites into the actor's organization.

    Raise ValidationFailed with the errors by line if any line is invalid; then nothing is imported.
    """
    allow(minutes=2)
    result = ImportResult()
    rows = read_rows(file, SiteCellsSchema(), [("name",)], SiteExportSchema().fields, result)
    lock_tree(current_actor().organization_id)
    import_ = _SiteImport(result)
    # A parent can be a line of the same file. Each pass imports the lines whose parents exist.
    while rows:
        ready = [row for row in rows if import_.has_parent(row)]
        if not ready:
            break
        with db.session.no_autoflush:  # audit.flush writes the rows of a pass.
            for row in ready:
                import_.apply(row)
        if result.errors:
            break
        audit.flush()
        import_.add_new()
        rows = [row for row in rows if not import_.is_done(row)]
    else:
        result.raise_errors()
        return result
    if not result.errors:
        for row in rows:
            result.reject(row.line, "parent", f"There is no site {row.values['parent']}, or it is below this one.")
    result.raise_errors()
    return result


class _SiteImport:
    """The sites of the organization during an import."""

    def __init__(self, result: ImportResult) -> None:
        self._organization_id = current_actor().organization_id
        self._result = result
        sites = list(db.session.scalars(sa.select(Site).where(Site.organization_id == self._organization_id)))
        self._names: Names[Site] = Names(sites)
        self._by_place = {(site.parent_id, site.name): site for site in sites}
        self._new: list[Site] = []
        self._done: set[int] = set()

    def has_parent(self, row: TableRow) -> bool:
        reference = row.values.get("parent")
        return reference is None or bool(self._names.find(reference))

    def is_done(self, row: TableRow) -> bool:
        return row.line in self._done

    def add_new(self) -> None:
        """Let other lines refer to the sites that were added. They have ids now."""
        for site in self._new:
            self._names.add(site)
        self._new = []

    def apply(self, row: TableRow) -> None:
        """Add or change the site of a row, or reject the row."""
        self._done.add(row.line)
        values = {name: value for name, value in row.values.items() if name != "parent"}
        reference = row.values.get("parent")
        parents = self._names.find(reference) if reference is not None else []
        if len(parents) > 1:
            message = f"{len(parents)} sites are named {reference}. Give the right one an external_id, and refer to it."
            return self._result.reject(row.line, "parent", message)
        parent = parents[0] if parents else None
        at_place = self._by_place.get((parent.id if parent else None, row.values["name"]))
        site = self._names.match(row.values.get("external_id"), at_place)
        try:
            if site is None:
                self._add(row, parent, values)
            elif not self._result.is_repeated(row.line, site):
                self._change(site, row, parent, values)
        except ValidationFailed as error:
            self._result.reject(row.line, "parent", str(error))
        return None

    def _add(self, row: TableRow, parent: Site | None, values: dict[str, Any]) -> None:
        parent_id = parent.id if parent else None
        place = (parent_id, values["name"])
        if place in self._by_place:
            message = "A site with this name already exists below the same parent."
            return self._result.reject(row.line, "name", message)
        external_id = values.get("external_id")
        if external_id is not None and any(site.external_id == external_id for site in self._new):
            return self._result.reject(row.line, "external_id", "An earlier line has the same external_id.")
        site = Site(
            organization_id=self._organization_id,
            parent_id=parent_id,
            ancestor_ids=ancestors_below(parent),
            **({"archived": False, "region": None, "external_id": None} | values),
        )
        db.session.add(site)
        self._by_place[place] = site
        self._new.append(site)
        self._result.is_repeated(row.line, site)
        self._result.added_count += 1
        return None

    def _change(self, site: Site, row: TableRow, parent: Site | None, values: dict[str, Any]) -> None:
        moves = "parent" in row.values and site.parent_id != (parent.id if parent else None)
        place = (parent.id if parent else None) if moves else site.parent_id, values["name"]
        if self._by_place.setdefault(place, site) is not site:
            message = "A site with this name already exists below the same parent."
            return self._result.reject(row.line, "name", message)
        if moves:
            audit.flush()
            move(site, parent)
        self._result.set_values(site, values, is_changed=moves)
        return None
