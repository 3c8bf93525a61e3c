"""How this installation is set up: everything comes from the environment, with defaults fit for one machine.

Production names DATABASE_URL, CELERY_BROKER_URL, STRIPE_API_KEY, STRIPE_WEBHOOK_SECRET, PARLEY_SECRET_KEY and
PARLEY_ALLOWED_HOSTS. Without DATABASE_URL, manage.py starts the embedded PostgreSQL and names it here.
"""

import os
import secrets
import sys
import zoneinfo
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(os.environ.get("PARLEY_DATA", BASE_DIR / ".parley"))
# parley_client, which replay and the demo use: a package of its own, in use here as it stands in the repository
sys.path.append(str(BASE_DIR / "clients" / "python" / "src"))

DEBUG = False
# `serve` keeps a key beside its data; a process that is given none forgets its sessions when it ends.
SECRET_KEY = os.environ.get("PARLEY_SECRET_KEY") or secrets.token_urlsafe(64)
ALLOWED_HOSTS = os.environ.get("PARLEY_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")

HTTPS = os.environ.get("PARLEY_HTTPS") == "1"
SECURE_SSL_REDIRECT = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_REFERRER_POLICY = "same-origin"  # browsers log in with "Origin: null" under no-referrer
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = 8 * 3600
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "console",
    "refinery",
    "billing",
    "metering",
    "plans",
    "api",
    "config",
    "sandbox",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "api.health.answer_probes",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "console.middleware.ConsoleMessages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

DATABASES = {
    "default": dj_database_url.config(
        default="postgresql://parley@localhost/parley", conn_max_age=None, conn_health_checks=True
    )
}
# Web requests (see config/wsgi.py) do not wait for a statement or a lock until their callers have gone; other work may.
_STATEMENT_TIMEOUT = os.environ.get("PARLEY_STATEMENT_TIMEOUT", "0")
_WAITS = {
    "statement_timeout": _STATEMENT_TIMEOUT,
    "idle_in_transaction_session_timeout": _STATEMENT_TIMEOUT,
    "lock_timeout": os.environ.get("PARLEY_LOCK_TIMEOUT", "0"),
    "jit": "off",  # compiling a query of milliseconds takes longer than running it
}
DATABASES["default"]["OPTIONS"] = {
    "connect_timeout": 5,
    # A server that vanished, with or without something under way to it, is noticed within half a minute.
    "tcp_user_timeout": 15_000,  # milliseconds
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "options": " ".join(f"-c {name}={time}" for name, time in _WAITS.items()),
    **DATABASES["default"].get("OPTIONS", {}),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

zoneinfo.reset_tzpath(())  # the pinned tzdata package, so that two machines bill the same period
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["api.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [],
    "EXCEPTION_HANDLER": "api.problems.answer_exception",
    "UNAUTHENTICATED_USER": None,
}

RATE_LIMIT = os.environ.get("PARLEY_RATE_LIMIT", "")
"""Of API keys that have none of their own, as `events=500,burst=5000,requests=50`; empty: no limit."""
CUSTOMER_RATE_LIMIT = os.environ.get("PARLEY_CUSTOMER_RATE_LIMIT", "")
"""Of all the API keys together that are bound to one customer, spelled likewise."""
WEB_WORKERS = int(os.environ.get("PARLEY_WEB_WORKERS", "1"))
"""Processes of the web server, each of which grants its share of every rate."""
METRICS_PUBLIC = os.environ.get("PARLEY_METRICS_PUBLIC") == "1"
"""Whether /metrics is open to everybody who can reach it; else it needs a key with the scope `read`."""

SELLER: dict[str, Any] = {
    "name": os.environ.get("PARLEY_SELLER_NAME", "Your company"),
    "address": tuple(line.strip() for line in os.environ.get("PARLEY_SELLER_ADDRESS", "").split(";") if line.strip()),
    "country": os.environ.get("PARLEY_SELLER_COUNTRY", ""),
    "tax_id": os.environ.get("PARLEY_SELLER_TAX_ID", ""),
    "email": os.environ.get("PARLEY_SELLER_EMAIL", ""),
}
"""Whose invoices these are, as printed on them."""
INVOICE_NUMBER_PREFIX = os.environ.get("PARLEY_INVOICE_PREFIX", "INV-")
CREDIT_NOTE_NUMBER_PREFIX = os.environ.get("PARLEY_CREDIT_NOTE_PREFIX", "CN-")
HOLD_DRAFTS = os.environ.get("PARLEY_HOLD_DRAFTS") == "1"
"""Whether invoices wait as drafts until somebody finalizes them."""
TAX = os.environ.get("PARLEY_TAX", "none")
"""Who says what tax is due: `none`; `fixed`, the rates of /v1/tax-rates; `stripe`, Stripe Tax."""
if TAX not in ("none", "fixed", "stripe"):
    raise ImproperlyConfigured(f"PARLEY_TAX is none, fixed or stripe, and not {TAX!r}")

STRIPE_API_KEY = os.environ.get("STRIPE_API_KEY", "")
STRIPE_API_BASE = os.environ.get("STRIPE_API_BASE", "")
"""Empty: Stripe itself. `manage.py serve` without a key starts the stand-in and names it here."""
STRIPE_WEBHOOK_SECRET = os.environ.get("STRIPE_WEBHOOK_SECRET", "")
