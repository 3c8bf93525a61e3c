"""The obvious way as ASGI servers load it: Django in threads."""

import os

from a2wsgi import WSGIMiddleware
from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.obvious.settings"
application = WSGIMiddleware(get_wsgi_application(), workers=4)
