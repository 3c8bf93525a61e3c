"""The web application as ASGI servers load it: events come in by a door of their own, everything else is Django."""

import config.wsgi  # sets Django up, which has to come before whatever else of the house is loaded
from api.asgi import Message, Receive, Send
from api.https import PROTO, is_secure
from config.reception import Reception
from config.whole_answers import WholeAnswers
from metering.door import event_door

THREADS = 4
"""Of each worker process, for Django; every one keeps a database connection, so they are few."""

_django = Reception(WholeAnswers(config.wsgi.application, workers=THREADS))


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """Show a request to its door."""
    if scope["type"] != "http":
        return
    if scope["path"] == "/v1/events" and scope["method"] == "POST" and _is_secure(scope):
        await event_door(scope, receive, send)
    else:
        await _django(scope, receive, send)


def _is_secure(scope: Message) -> bool:
    """Whether it came as it should; of several headers the first counts, as for Django, which redirects the rest."""
    return is_secure(next((value for name, value in scope["headers"] if name == PROTO), None))
