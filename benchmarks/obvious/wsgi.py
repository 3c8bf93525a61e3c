"""The obvious way as WSGI servers load it."""

import os

from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.obvious.settings"
application = get_wsgi_application()
