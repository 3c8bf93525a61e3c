"""Which requests have a session, a user and a CSRF token? Those to the console: programs come with an API key.

Each of Django's own, for a URL that is none of the console's, is one comparison; all of them together would take a
tenth of the time of a usual read of the API.
"""

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.deprecation import MiddlewareMixin

CONSOLE = "/admin/"


class _ForTheConsole(MiddlewareMixin):
    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith(CONSOLE):
            return super().__call__(request)  # type: ignore[return-value]  # a coroutine only where Django is async
        return self.get_response(request)  # type: ignore[return-value]


class ConsoleSession(_ForTheConsole, SessionMiddleware):
    """Sessions."""


class ConsoleCsrf(_ForTheConsole, CsrfViewMiddleware):
    """Tokens in forms; a view outside the console that is not exempt refuses every form."""


class ConsoleUser(_ForTheConsole, AuthenticationMiddleware):
    """Who is signed in."""


class ConsoleMessages(_ForTheConsole, MessageMiddleware):
    """What is told on the next page."""
