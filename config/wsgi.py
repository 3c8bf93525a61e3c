"""The web application as WSGI servers load it."""

import gc
import os
from importlib import import_module

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("PARLEY_STATEMENT_TIMEOUT", "30s")
os.environ.setdefault("PARLEY_LOCK_TIMEOUT", "10s")
application = get_wsgi_application()
import_module("config.urls")  # all there is, which the first request would have to wait for
# What is loaded stays. Looking through it for garbage now and then would make whoever asks just then wait for a while.
gc.collect()
gc.freeze()
