"""The web application as WSGI servers load it."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("PARLEY_STATEMENT_TIMEOUT", "30s")
os.environ.setdefault("PARLEY_LOCK_TIMEOUT", "10s")
application = get_wsgi_application()
