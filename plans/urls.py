"""Which URLs under /v1 answer what was agreed?"""

from django.urls import path

from plans.views import customers, plans, subscriptions, tier_schemes

urlpatterns = [
    path("customers", customers.Customers.as_view()),
    path("customers/<path:key>", customers.OneCustomer.as_view()),
    path("tier-schemes", tier_schemes.TierSchemes.as_view()),
    path("tier-schemes/<slug:code>", tier_schemes.OneTierScheme.as_view()),
    path("tier-schemes/<slug:code>/versions", tier_schemes.TierSchemeVersions.as_view()),
    path("tier-schemes/<slug:code>/versions/<int:version>/publish", tier_schemes.PublishedTierScheme.as_view()),
    path("plans", plans.Plans.as_view()),
    path("plans/<slug:code>", plans.OnePlan.as_view()),
    path("plans/<slug:code>/versions", plans.PlanVersions.as_view()),
    path("plans/<slug:code>/versions/<int:version>", plans.OnePlanVersion.as_view()),
    path("plans/<slug:code>/versions/<int:version>/publish", plans.PublishedPlanVersion.as_view()),
    path("subscriptions", subscriptions.Subscriptions.as_view()),
    path("subscriptions/<uuid:subscription_id>", subscriptions.OneSubscription.as_view()),
]
