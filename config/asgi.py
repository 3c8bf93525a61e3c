"""The web application as ASGI servers load it."""

from a2wsgi import WSGIMiddleware

from config.wsgi import application as django

THREADS = 4
"""Of each worker process; every thread keeps a database connection, so they are few."""

application = WSGIMiddleware(django, workers=THREADS)
