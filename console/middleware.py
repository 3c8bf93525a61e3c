"""Which requests can be told something on the next page? Those to the console: programs see no pages.

To find out where messages are kept takes longer than all else that Django does around a read of the API.
"""

from django.contrib.messages.middleware import MessageMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase

CONSOLE = "/admin/"
"""As config.urls has it."""


class ConsoleMessages(MessageMiddleware):
    """Django's messages, for the console alone."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass on what is not for the console."""
        if request.path_info.startswith(CONSOLE):
            return super().__call__(request)  # type: ignore[return-value]  # a coroutine only where Django is async
        return self.get_response(request)  # type: ignore[return-value]
