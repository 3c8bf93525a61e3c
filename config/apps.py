from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "config"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Make our Celery app the one that tasks belong to; not sooner, for manage.py has to name the database first."""
        from config import celery  # noqa: F401
