"""Who gets in where, with one of the two walls taken out: the other one holds by itself."""

import pytest

from carbonapi import create_app
from carbonapi.db import Base, Global, TenantScoped, db
from tests.conftest import as_owner, cloned_database, execute, settings_for
from tests.db.test_row_security import SHARED


@pytest.fixture(scope="module", params=["the filter alone", "the policies alone"])
def shared_app(server_url, request):
    """The app, in which one wall is down; it takes the place of the one that other tests have."""
    with cloned_database(server_url, "wall") as url, pytest.MonkeyPatch.context() as patch:
        if request.param == "the filter alone":
            tables = set(Base.metadata.tables) - SHARED
            execute(as_owner(url), *(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY" for table in tables))
        else:
            models = {mapper.class_ for mapper in Base.registry.mappers} | {TenantScoped, Global}
            for model in models:
                if "visible_to" in vars(model):
                    patch.setattr(model, "visible_to", classmethod(lambda cls, viewer: ()))
        app = create_app(settings_for(url))
        app.testing = True
        app.config["PROPAGATE_EXCEPTIONS"] = False
        yield app
        with app.app_context():
            db.engine.dispose()
