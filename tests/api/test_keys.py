"""Keys: made once, kept as a digest, ended within a second."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection
from django.utils import timezone

from api.keys import CACHED_FOR, InvalidKey, UnknownScope, create_key, find_key, revoke_key
from api.models import ApiKey
from tests.rest import LONG_AGO as NOW

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


def test_a_key_is_found_by_its_plain_text():
    key, plain = create_key("Acme's backend", ["ingest", "read"], now=NOW)
    assert find_key(plain, now=NOW) == key
    assert find_key(plain, now=NOW).scopes == ["ingest", "read"]


def test_the_database_holds_nothing_that_works_as_a_key():
    _, plain = create_key("Acme's backend", ["read"], now=NOW)
    secret = plain.rsplit("_", 1)[1]
    assert len(bytes.fromhex(secret)) * 8 >= 256
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_apikey::text FROM api_apikey")
        [(row,)] = cursor.fetchall()
    assert secret not in row
    assert secret.encode().hex() not in row


def test_two_keys_never_share_a_secret():
    assert create_key("a", ["read"], now=NOW)[1] != create_key("a", ["read"], now=NOW)[1]


SPOILT = [
    lambda key: key[:-1] + ("0" if key[-1] != "0" else "1"),
    lambda key: "pk_" + "0" * 16 + key[19:],
    lambda key: key.upper(),
    lambda key: key + "\n",
    lambda key: key[:-1] + "\0",
    lambda key: key[:-1] + "\u0663",
    lambda key: key[3:],
    lambda key: "",
]


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_key_that_is_not_exactly_right_is_invalid(spoil):
    _, plain = create_key("Acme's backend", ["read"], now=NOW)
    with pytest.raises(InvalidKey):
        find_key(spoil(plain), now=NOW)


def test_an_expired_key_is_invalid_from_that_instant_on():
    _, plain = create_key("Bolt's trial", ["read"], expires_at=NOW + SECOND, now=NOW)
    assert find_key(plain, now=NOW)
    with pytest.raises(InvalidKey):
        find_key(plain, now=NOW + SECOND)


def test_a_revoked_key_is_invalid_at_once_where_it_was_revoked():
    key, plain = create_key("Acme's backend", ["read"], now=NOW)
    find_key(plain, now=NOW)
    revoke_key(key, now=NOW)
    with pytest.raises(InvalidKey):
        find_key(plain, now=NOW)


def test_a_key_revoked_elsewhere_is_invalid_here_within_a_second():
    key, plain = create_key("Acme's backend", ["read"], now=NOW)
    find_key(plain, now=NOW)
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=NOW)
    assert CACHED_FOR <= SECOND
    with pytest.raises(InvalidKey):
        find_key(plain, now=NOW + CACHED_FOR)


def test_a_key_is_looked_up_once_a_second(django_assert_num_queries):
    _, plain = create_key("Acme's backend", ["read"], now=NOW)
    with django_assert_num_queries(1):
        for _ in range(5):
            find_key(plain, now=NOW)


def test_an_unknown_scope_is_refused_by_the_function_and_by_the_database():
    with pytest.raises(UnknownScope, match="root"):
        create_key("Cleo's curiosity", ["read", "root"], now=NOW)
    with pytest.raises(IntegrityError, match="api_key_scopes_known"):
        ApiKey.objects.create(name="x", lookup_id="x", secret_sha256=b"", scopes=["root"], created_at=NOW)


def test_the_command_prints_the_key_and_nothing_else():
    out = StringIO()
    call_command("create_api_key", "demo", "--scopes", " ingest ", "--customer", "acme", stdout=out)
    key = find_key(out.getvalue().removesuffix("\n"), now=ApiKey.objects.get().created_at)
    assert (key.name, key.scopes, key.customer_key) == ("demo", ["ingest"], "acme")


def test_the_command_names_an_unknown_scope():
    with pytest.raises(CommandError, match="unknown scopes: admin"):
        call_command("create_api_key", "demo", "--scopes", "admin")


def test_a_key_is_revoked_by_its_id():
    key, plain = create_key("backend", ["read"], now=NOW)
    call_command("revoke_api_key", key.lookup_id, stdout=StringIO())
    with pytest.raises(InvalidKey):
        find_key(plain, now=timezone.now())
    with pytest.raises(CommandError):
        call_command("revoke_api_key", "nobody")
