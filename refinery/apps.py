from django.apps import AppConfig


class RefineryConfig(AppConfig):
    name = "refinery"
    default_auto_field = "django.db.models.BigAutoField"
