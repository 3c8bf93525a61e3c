"""Discounts, tax, wallets, credit notes, and invoices that belong to no subscription."""

import api.ids
import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

# An invoice without tax is one with a tax of nothing; adjustments no longer count the periods on.
INVOICES_AS_BEFORE = """
ALTER TABLE billing_invoice DISABLE TRIGGER finalized_is_frozen;
UPDATE billing_invoice SET subtotal = total, tax = 0;
UPDATE billing_invoice own SET (period_index, ordinal, period_start, period_end) = (
    SELECT last.period_index, own.period_index - last.period_index - 1, last.period_start, last.period_end
    FROM billing_invoice last WHERE last.subscription_id = own.subscription_id AND last.kind = 'cycle'
    ORDER BY last.period_index DESC LIMIT 1)
WHERE kind = 'adjustment';
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE billing_invoice ENABLE TRIGGER finalized_is_frozen;
"""
SCHEDULES_AS_BEFORE = """
UPDATE billing_billingschedule schedule SET changes_to = coalesce(
    (SELECT max(period_end) FROM billing_invoice WHERE subscription_id = schedule.subscription_id AND kind = 'cycle'),
    subscription.starts_at)
FROM plans_subscription subscription
WHERE subscription.id = schedule.subscription_id AND schedule.next_period >= 0
"""
LINES_AS_BEFORE = """
ALTER TABLE billing_invoiceline DISABLE TRIGGER finalized_is_frozen;
UPDATE billing_invoiceline line SET phase_id = (
    SELECT id FROM plans_subscriptionphase phase WHERE phase.subscription_id = line.subscription_id
    ORDER BY starts_at LIMIT 1)
WHERE kind IN ('base_fee', 'usage');
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE billing_invoiceline ENABLE TRIGGER finalized_is_frozen;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0002_frozen_invoices_and_ledger'),
        ('plans', '0005_phases_are_anchored'),
    ]

    operations = [
        migrations.CreateModel(
            name='Coupon',
            fields=[
                ('id', models.UUIDField(default=api.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('code', models.CharField(db_collation='C', max_length=64, unique=True)),
                ('name', models.CharField(max_length=200)),
                ('percent_off', models.DecimalField(decimal_places=4, max_digits=7, null=True)),
                ('amount_off', models.BigIntegerField(help_text='Minor units of `currency`, per period.', null=True)),
                ('currency', models.CharField(blank=True, max_length=3)),
                ('applies_to', models.CharField(choices=[('all', 'everything of a period: base fee and usage'), ('base_fee', 'Base Fee'), ('usage', 'Usage')], default='all', max_length=8)),
                ('tiers', models.JSONField(default=list, help_text='Codes of the tiers it is limited to; none: all.')),
                ('duration', models.CharField(choices=[('once', 'one period'), ('repeating', 'a number of periods'), ('forever', 'Forever')], max_length=9)),
                ('periods', models.PositiveIntegerField(help_text='How many, where the duration is repeating.', null=True)),
                ('max_redemptions', models.PositiveIntegerField(null=True)),
                ('redeemed', models.PositiveIntegerField(default=0)),
                ('redeem_by', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField()),
                ('archived_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='CreditNote',
            fields=[
                ('id', models.UUIDField(default=api.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('number', models.CharField(max_length=40, unique=True)),
                ('reason', models.TextField()),
                ('currency', models.CharField(max_length=3)),
                ('net', models.BigIntegerField()),
                ('tax', models.BigIntegerField()),
                ('total', models.BigIntegerField()),
                ('off_due', models.BigIntegerField(default=0)),
                ('refunded', models.BigIntegerField(default=0)),
                ('credited', models.BigIntegerField(default=0)),
                ('created_at', models.DateTimeField()),
                ('state', models.CharField(choices=[('due', 'something is to be done at Stripe'), ('sent', 'Stripe is refunding'), ('parked', 'Stripe says no; somebody has to look'), ('done', 'Done')], default='done', max_length=6)),
                ('stripe_id', models.CharField(blank=True, max_length=255)),
                ('refund_id', models.CharField(blank=True, max_length=255)),
                ('refund_status', models.CharField(blank=True, max_length=20)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('not_before', models.DateTimeField(null=True)),
                ('last_error', models.TextField(blank=True)),
            ],
        ),
        migrations.CreateModel(
            name='CreditNoteLine',
            fields=[
                ('id', models.UUIDField(default=api.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('amount', models.BigIntegerField()),
                ('tax', models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name='Grant',
            fields=[
                ('id', models.UUIDField(default=api.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('paid', 'the customer has paid for it; taken off after tax'), ('promotional', 'a present; taken off before tax')], max_length=11)),
                ('name', models.CharField(max_length=200)),
                ('currency', models.CharField(max_length=3)),
                ('amount', models.BigIntegerField()),
                ('priority', models.PositiveSmallIntegerField(default=50, help_text='0 to 100; lower is used first.')),
                ('effective_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField(null=True)),
                ('automatic', models.BooleanField(default=False, help_text="Bought by the customer's top-up rule.")),
                ('usable_at', models.DateTimeField(help_text='NULL: its invoice is not paid yet.', null=True)),
                ('expired_at', models.DateTimeField(null=True)),
                ('voided_at', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='Redemption',
            fields=[
                ('id', models.UUIDField(default=api.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('first_period', models.IntegerField()),
                ('end_period', models.IntegerField(help_text='NULL: for ever.', null=True)),
                ('redeemed_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='TaxRate',
            fields=[
                ('id', models.UUIDField(default=api.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('country', models.CharField(blank=True, max_length=2)),
                ('name', models.CharField(help_text='As printed on the invoice, such as VAT.', max_length=50)),
                ('percent', models.DecimalField(decimal_places=4, max_digits=7)),
                ('inclusive', models.BooleanField(default=False, help_text='Prices contain it already.')),
                ('starts_at', models.DateTimeField()),
                ('created_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='TopUpRule',
            fields=[
                ('customer', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='+', serialize=False, to='plans.customer')),
                ('below', models.BigIntegerField()),
                ('up_to', models.BigIntegerField()),
                ('cool_off', models.DurationField(help_text='The least time between two purchases.')),
                ('last_tried_at', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='account',
            name='account_once',
        ),
        migrations.RemoveConstraint(
            model_name='account',
            name='account_credit_never_overdrawn',
        ),
        migrations.RemoveConstraint(
            model_name='invoice',
            name='invoice_once_a_period',
        ),
        migrations.RemoveConstraint(
            model_name='invoice',
            name='invoice_finalized_with_number',
        ),
        migrations.RemoveConstraint(
            model_name='invoice',
            name='invoice_adds_up',
        ),
        migrations.AddField(
            model_name='billingschedule',
            name='changes_to',
            field=models.DateTimeField(help_text='Changes within a period are billed up to this instant; NULL: not begun.', null=True),
        ),
        migrations.AddField(
            model_name='invoice',
            name='ordinal',
            field=models.PositiveIntegerField(default=0, help_text='Counts invoices of one kind for one period.'),
        ),
        migrations.AddField(
            model_name='invoice',
            name='prepaid_applied',
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='invoice',
            name='reissue_of',
            field=models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='reissued_as', to='billing.invoice'),
        ),
        migrations.AddField(
            model_name='invoice',
            name='subtotal',
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='invoice',
            name='tax',
            field=models.BigIntegerField(help_text='NULL: not computed yet.', null=True),
        ),
        migrations.AddField(
            model_name='invoice',
            name='tax_inclusive',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='invoice',
            name='tax_name',
            field=models.CharField(blank=True, max_length=50),
        ),
        migrations.AddField(
            model_name='invoice',
            name='tax_percent',
            field=models.DecimalField(decimal_places=4, max_digits=7, null=True),
        ),
        migrations.AddField(
            model_name='invoice',
            name='tax_reference',
            field=models.CharField(blank=True, help_text="Stripe's calculation, where it taxes.", max_length=255),
        ),
        migrations.AddField(
            model_name='invoice',
            name='finalize_at',
            field=models.DateTimeField(help_text='Of a draft that waits for Stripe to tax it: when to try (again) to finalize it.', null=True),
        ),
        migrations.AddField(
            model_name='stripecall',
            name='not_before',
            field=models.DateTimeField(help_text='NULL: it is made by whoever takes its object on.', null=True),
        ),
        migrations.AddField(
            model_name='invoice',
            name='void_reason',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='invoiceline',
            name='phase',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.subscriptionphase'),
        ),
        migrations.AlterField(
            model_name='account',
            name='kind',
            field=models.CharField(choices=[('receivable', 'what the customer owes us'), ('revenue', 'what we have earned from the customer'), ('tax', 'what we owe the state for the customer'), ('cash', 'what Stripe has collected from the customer'), ('bank', 'what the customer has paid outside of Stripe'), ('credit', 'what we owe the customer'), ('refund', 'what is on its way back to the customer'), ('grant', 'what is left of one grant'), ('pending', 'prepaid credit that is invoiced and not paid yet'), ('promotion', 'promotional credit given and not used up'), ('breakage', 'prepaid credit that expired unused'), ('carried', "what Stripe has carried over to the customer's next invoice there"), ('bad_debt', 'what the customer will never pay')], max_length=10),
        ),
        migrations.AlterField(
            model_name='invoice',
            name='kind',
            field=models.CharField(choices=[('start', 'the first base fee, when a subscription begins'), ('change', 'what a change within a period does to its base fee'), ('cycle', 'the usage of a period that is over, and the base fee of the next'), ('adjustment', 'what changed after the last period of a subscription was invoiced'), ('one_off', 'what an operator bills beside any subscription'), ('top_up', 'prepaid credit that the customer buys')], max_length=10),
        ),
        migrations.AlterField(
            model_name='invoice',
            name='period_index',
            field=models.IntegerField(null=True),
        ),
        migrations.AlterField(
            model_name='invoice',
            name='plan_version',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.planversion'),
        ),
        migrations.AlterField(
            model_name='invoice',
            name='subscription',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.subscription'),
        ),
        migrations.AlterField(
            model_name='invoiceline',
            name='kind',
            field=models.CharField(choices=[('base_fee', 'Base Fee'), ('proration', 'Proration'), ('usage', 'Usage'), ('adjustment', 'Adjustment'), ('one_off', 'One Off'), ('discount', 'Discount'), ('minimum', 'Minimum'), ('maximum', 'Maximum'), ('credit', 'promotional credit')], max_length=10),
        ),
        migrations.AlterField(
            model_name='invoiceline',
            name='period_index',
            field=models.IntegerField(help_text='The period of `subscription` that the amount is for.', null=True),
        ),
        migrations.AlterField(
            model_name='invoiceline',
            name='subscription',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.subscription'),
        ),
        migrations.RunSQL(INVOICES_AS_BEFORE, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.UniqueConstraint(fields=('subscription', 'period_index', 'kind', 'ordinal'), name='invoice_once_a_period'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('status', 'draft'), models.Q(('finalized_at__isnull', False), ('number__isnull', False), ('tax__isnull', False)), _connector='OR'), name='invoice_finalized_with_number_and_tax'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('status', 'draft'), models.Q(('tax_inclusive', True), ('total', models.F('subtotal'))), models.Q(('tax_inclusive', False), ('total', django.db.models.expressions.CombinedExpression(models.F('subtotal'), '+', models.F('tax')))), _connector='OR'), name='invoice_total_is_subtotal_and_tax'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('status', 'draft'), models.Q(('amount_due', 0), ('credit_applied', 0), ('prepaid_applied', 0), ('total__lte', 0)), models.Q(('amount_due__gte', 0), ('credit_applied__gte', 0), ('prepaid_applied__gte', 0), ('total', django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(models.F('prepaid_applied'), '+', models.F('credit_applied')), '+', models.F('amount_due')))), _connector='OR'), name='invoice_adds_up'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind__in', ['one_off', 'top_up']), ('period_index__isnull', True), ('plan_version__isnull', True), ('subscription__isnull', True)), models.Q(models.Q(('kind__in', ['one_off', 'top_up']), _negated=True), ('period_index__isnull', False), ('plan_version__isnull', False), ('subscription__isnull', False)), _connector='OR'), name='invoice_of_a_subscription_or_none'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('amount_off__isnull', True), ('percent_off__gt', 0), ('percent_off__lte', 100)), models.Q(('amount_off__gt', 0), ('percent_off__isnull', True)), _connector='OR'), name='coupon_takes_a_percentage_or_an_amount'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.CheckConstraint(condition=models.Q(('max_redemptions__isnull', True), ('redeemed__lte', models.F('max_redemptions')), _connector='OR'), name='coupon_never_redeemed_too_often'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('duration', 'repeating'), ('periods__gt', 0)), models.Q(models.Q(('duration', 'repeating'), _negated=True), ('periods__isnull', True)), _connector='OR'), name='coupon_repeats_for_some_periods'),
        ),
        migrations.AddField(
            model_name='creditnote',
            name='customer',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.customer'),
        ),
        migrations.AddField(
            model_name='creditnote',
            name='invoice',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='credit_notes', to='billing.invoice'),
        ),
        migrations.AddField(
            model_name='stripecall',
            name='credit_note',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='stripe_calls', to='billing.creditnote'),
        ),
        migrations.AddField(
            model_name='transfer',
            name='credit_note',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='transfers', to='billing.creditnote'),
        ),
        migrations.AddField(
            model_name='creditnoteline',
            name='credit_note',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='lines', to='billing.creditnote'),
        ),
        migrations.AddField(
            model_name='creditnoteline',
            name='invoice_line',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='credit_note_lines', to='billing.invoiceline'),
        ),
        migrations.AddField(
            model_name='grant',
            name='customer',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.customer'),
        ),
        migrations.AddField(
            model_name='grant',
            name='invoice',
            field=models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='grant', to='billing.invoice'),
        ),
        migrations.AddField(
            model_name='account',
            name='grant',
            field=models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='account', to='billing.grant'),
        ),
        migrations.AddConstraint(
            model_name='account',
            constraint=models.UniqueConstraint(condition=models.Q(('grant__isnull', True)), fields=('customer', 'kind', 'currency'), name='account_once'),
        ),
        migrations.AddConstraint(
            model_name='account',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('grant__isnull', False), ('kind', 'grant')), models.Q(models.Q(('kind', 'grant'), _negated=True), ('grant__isnull', True)), _connector='OR'), name='account_of_a_grant_or_none'),
        ),
        migrations.AddConstraint(
            model_name='account',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind__in', ['credit', 'grant', 'refund']), _negated=True), ('credits__gte', models.F('debits')), _connector='OR'), name='account_credit_never_overdrawn'),
        ),
        migrations.AddField(
            model_name='redemption',
            name='coupon',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='redemptions', to='billing.coupon'),
        ),
        migrations.AddField(
            model_name='redemption',
            name='customer',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.customer'),
        ),
        migrations.AddField(
            model_name='redemption',
            name='subscription',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.subscription'),
        ),
        migrations.AddField(
            model_name='invoiceline',
            name='redemption',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.redemption'),
        ),
        migrations.RunSQL(LINES_AS_BEFORE, migrations.RunSQL.noop),
        migrations.RunSQL(SCHEDULES_AS_BEFORE, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name='invoiceline',
            index=models.Index(fields=['subscription', 'period_index'], name='invoice_line_by_period'),
        ),
        migrations.AddConstraint(
            model_name='invoiceline',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('period_index__isnull', True), ('subscription__isnull', True)), models.Q(('period_index__isnull', False), ('subscription__isnull', False)), _connector='OR'), name='invoice_line_of_a_period_or_none'),
        ),
        migrations.AddConstraint(
            model_name='taxrate',
            constraint=models.UniqueConstraint(fields=('country', 'starts_at'), name='tax_rate_once_an_instant'),
        ),
        migrations.AddConstraint(
            model_name='taxrate',
            constraint=models.CheckConstraint(condition=models.Q(('percent__gte', 0), ('percent__lte', 100)), name='tax_rate_is_a_percentage'),
        ),
        migrations.AddConstraint(
            model_name='topuprule',
            constraint=models.CheckConstraint(condition=models.Q(('below__gt', 0), ('up_to__gt', models.F('below'))), name='top_up_reaches_above_below'),
        ),
        migrations.AddIndex(
            model_name='invoice',
            index=models.Index(condition=models.Q(('status', 'draft')), fields=['finalize_at'], name='invoice_to_be_finalized'),
        ),
        migrations.AddIndex(
            model_name='stripecall',
            index=models.Index(condition=models.Q(('state', 'intent')), fields=['not_before'], name='stripe_call_due'),
        ),
        migrations.AddIndex(
            model_name='creditnote',
            index=models.Index(condition=models.Q(('state__in', ['due', 'sent'])), fields=['not_before'], name='credit_note_due'),
        ),
        migrations.AddIndex(
            model_name='creditnote',
            index=models.Index(fields=['customer', 'id'], name='credit_note_by_customer'),
        ),
        migrations.AddConstraint(
            model_name='creditnote',
            constraint=models.CheckConstraint(condition=models.Q(('credited__gte', 0), ('off_due__gte', 0), ('refunded__gte', 0), ('total', django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(models.F('off_due'), '+', models.F('refunded')), '+', models.F('credited'))), ('total__gt', 0)), name='credit_note_goes_somewhere'),
        ),
        migrations.AddConstraint(
            model_name='creditnoteline',
            constraint=models.UniqueConstraint(fields=('credit_note', 'invoice_line'), name='credit_note_line_once'),
        ),
        migrations.AddConstraint(
            model_name='creditnoteline',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gt', 0)), name='credit_note_line_takes_something'),
        ),
        migrations.AddIndex(
            model_name='grant',
            index=models.Index(fields=['customer', 'id'], name='grant_by_customer'),
        ),
        migrations.AddConstraint(
            model_name='grant',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gt', 0)), name='grant_gives_something'),
        ),
        migrations.AddConstraint(
            model_name='grant',
            constraint=models.CheckConstraint(condition=models.Q(('priority__lte', 100)), name='grant_priority_up_to_100'),
        ),
        migrations.AddConstraint(
            model_name='grant',
            constraint=models.CheckConstraint(condition=models.Q(('expires_at__isnull', True), ('expires_at__gt', models.F('effective_at')), _connector='OR'), name='grant_expires_after_it_begins'),
        ),
        migrations.AddConstraint(
            model_name='grant',
            constraint=models.CheckConstraint(condition=models.Q(('kind', 'paid'), ('invoice__isnull', True), _connector='OR'), name='promotional_grant_is_not_sold'),
        ),
        migrations.AddConstraint(
            model_name='redemption',
            constraint=models.UniqueConstraint(fields=('coupon', 'subscription'), name='coupon_once_a_subscription'),
        ),
        migrations.AddConstraint(
            model_name='redemption',
            constraint=models.CheckConstraint(condition=models.Q(('end_period__isnull', True), ('end_period__gte', models.F('first_period')), _connector='OR'), name='redemption_ends_after_start'),
        ),
    ]
