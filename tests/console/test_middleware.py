"""Messages are the console's alone."""

from django.contrib.messages import get_messages


def test_the_console_has_messages_and_a_program_has_none(desk, caller):
    assert hasattr(desk.get("/admin/").wsgi_request, "_messages")
    answer = caller("read").get("/v1/customers")
    assert answer.status_code == 200
    assert not hasattr(answer.wsgi_request, "_messages")
    assert list(get_messages(answer.wsgi_request)) == []
