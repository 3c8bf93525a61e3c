from django.apps import AppConfig
from django.conf import settings


class ApiConfig(AppConfig):
    name = "api"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """A limit that cannot be read is to be noticed at the start, not at the first request."""
        from api.rate_limits import configured

        configured(settings.RATE_LIMIT)
        configured(settings.CUSTOMER_RATE_LIMIT)
