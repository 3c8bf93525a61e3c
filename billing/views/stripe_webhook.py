"""`POST /stripe/webhook`: Stripe tells that something happened."""

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing.stripe_inbox import BadWebhook, receive
from billing.tasks import read_stripe_inbox

MAX_BODY = 512 * 1024


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """200 once the event is stored (or was before); 400 for whatever Stripe did not sign for us."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal():
        return HttpResponse("the length is not a number", status=400, content_type="text/plain")
    if int(length) > MAX_BODY:
        return HttpResponse(status=413)
    try:
        new = receive(
            request.body,
            request.META.get("HTTP_STRIPE_SIGNATURE", ""),
            secret=settings.STRIPE_WEBHOOK_SECRET,
            now=timezone.now(),
        )
    except BadWebhook as error:
        return HttpResponse(str(error), status=400, content_type="text/plain")
    if new:
        transaction.on_commit(read_stripe_inbox.delay, robust=True)  # without a broker the sweep finds it
    return HttpResponse(status=200)
