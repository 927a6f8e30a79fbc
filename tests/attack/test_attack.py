"""The short `make attack`: all that does not take minutes, and a sample of what does."""

from sqlalchemy.engine import make_url

from tests.attack import malformed, matrix, races, tokens
from tests.attack.document import operations_of
from tests.attack.service import attacked
from tests.support.databases import cloned_database

EVERY = 61  # So many attacks of the corpus, one is made.


# One test, so that it is one worker's, which starts one service.
def test_the_service_holds_out(server_url):
    with cloned_database(server_url, "attack") as database_url:
        superuser_url = make_url(server_url).set(database=make_url(database_url).database)
        with attacked(database_url, superuser_url.render_as_string(hide_password=False)) as service:
            operations = operations_of(service)
            nobody_gets_in = matrix.run(service, operations)
            no_forgery = tokens.run(service, operations)
            one_wins = races.run(service, operations, rounds=2)
            no_fault = malformed.run(service, operations, every=EVERY)

    parts = (nobody_gets_in, no_forgery, one_wins, no_fault)
    assert [failure for part in parts for failure in part.failures] == []
    every = {operation.id for operation in operations}
    assert len(every) >= 70 and nobody_gets_in.reached == no_fault.reached == every
    assert nobody_gets_in.figures["attackers"] == 9
    assert (no_forgery.figures["forgeries"], no_forgery.figures["that asked the database"]) == (216, 0)
    assert (one_wins.figures["guesses looked at"], one_wins.figures["refused"]) == (10, 15)
