from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "config"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Make our Celery app the one of all tasks; not sooner, for manage.py has to name the database first."""
        from config import celery  # noqa: F401
