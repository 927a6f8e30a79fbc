"""A short `make attack`: all attacks, with a sample of the malformed requests."""

from sqlalchemy.engine import make_url

from tests.attack import malformed, matrix, races, tokens
from tests.attack.document import operations_of
from tests.attack.service import attacked
from tests.support.databases import cloned_database
from tests.support.scale import THOROUGH, examples

EVERY = examples(151, 61)  # One attack in this number of malformed requests.


# A single test, so that one worker of xdist starts one service.
def test_service_withstands_attacks(server_url):
    with cloned_database(server_url, "attack") as database_url:
        superuser_url = make_url(server_url).set(database=make_url(database_url).database)
        with attacked(database_url, superuser_url.render_as_string(hide_password=False)) as service:
            operations = operations_of(service)
            access = matrix.run(service, operations, compare_each=THOROUGH)
            forgeries = tokens.run(service, operations)
            concurrency = races.run(service, operations, rounds=examples(1, 2))
            malformed_requests = malformed.run(service, operations, every=EVERY)

    parts = (access, forgeries, concurrency, malformed_requests)
    assert [failure for part in parts for failure in part.failures] == []
    every = {operation.id for operation in operations}
    assert len(every) >= 70 and access.reached == malformed_requests.reached == every
    assert access.figures["attackers"] == 9
    assert (forgeries.figures["forgeries"], forgeries.figures["that queried the database"]) == (216, 0)
    assert (concurrency.figures["guesses checked"], concurrency.figures["rejected"]) == (10, 15)
