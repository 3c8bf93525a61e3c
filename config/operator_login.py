"""Who may open the console on a fresh installation? One operator, whose password is kept beside the data."""

import os
import secrets
from pathlib import Path

from django.contrib.auth import get_user_model

NAME = "operator"
FILE = "console-login"


def ensure_operator(data_dir: Path) -> Path | None:
    """Make the first operator where nobody can log in yet; returns the file with its password, if there is one."""
    file = data_dir / FILE
    users = get_user_model().objects
    if not users.filter(is_superuser=True).exists():
        password = secrets.token_urlsafe(16)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as written:
            written.write(f"user: {NAME}\npassword: {password}\n")
        users.create_superuser(NAME, password=password)
    return file if file.exists() else None
