"""What was released is kept anew when it is sent again: the customer whose it became may be gone."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("metering", "0007_confirm_payers")]

    operations = [
        migrations.RemoveConstraint("quarantinedevent", "quarantined_once"),
        migrations.AddConstraint(
            "quarantinedevent",
            models.UniqueConstraint(
                fields=["door", "body_sha256"], name="quarantined_once", condition=models.Q(released_at=None)
            ),
        ),
    ]
