"""The audit trail: numbered and chained by the database, which refuses to change it."""

import django.db.models.deletion
from django.db import migrations, models

# Every row waits here for the one before it, until that has committed; a new snapshot is taken behind the lock.
CHAIN = """
    CREATE FUNCTION accounts_audit_chain() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        last accounts_auditevent;
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('lunaos.accounts.audit'));
        SELECT * INTO last FROM accounts_auditevent ORDER BY id DESC LIMIT 1;
        NEW.id := COALESCE(last.id, 0) + 1;
        NEW.at := clock_timestamp();
        NEW.previous_hash := COALESCE(last.hash, repeat('0', 64));
        NEW.hash := encode(sha256(convert_to(jsonb_build_array(
            NEW.previous_hash, NEW.id, to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), NEW.action,
            NEW.actor_id, NEW.subject_id, NEW.request_id, NEW.details, NEW.origin_digest
        )::text, 'UTF8')), 'hex');
        RETURN NEW;
    END $$;
    CREATE TRIGGER chained BEFORE INSERT ON accounts_auditevent
        FOR EACH ROW EXECUTE FUNCTION accounts_audit_chain();
"""
REFUSE = """
    CREATE FUNCTION accounts_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the audit trail is append-only: % on % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege';
    END $$;
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON accounts_auditevent
        FOR EACH ROW EXECUTE FUNCTION accounts_audit_refuse();
    CREATE TRIGGER never_emptied BEFORE TRUNCATE ON accounts_auditevent
        FOR EACH STATEMENT EXECUTE FUNCTION accounts_audit_refuse();
    CREATE TRIGGER never_changed BEFORE UPDATE ON accounts_auditorigin
        FOR EACH ROW EXECUTE FUNCTION accounts_audit_refuse();
    CREATE TRIGGER never_emptied BEFORE TRUNCATE ON accounts_auditorigin
        FOR EACH STATEMENT EXECUTE FUNCTION accounts_audit_refuse();
"""
DROP = """
    DROP TRIGGER chained ON accounts_auditevent;
    DROP TRIGGER append_only ON accounts_auditevent;
    DROP TRIGGER never_emptied ON accounts_auditevent;
    DROP TRIGGER never_changed ON accounts_auditorigin;
    DROP TRIGGER never_emptied ON accounts_auditorigin;
    DROP FUNCTION accounts_audit_chain;
    DROP FUNCTION accounts_audit_refuse;
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_idempotencykey")]

    operations = [
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                ("id", models.BigIntegerField(help_text="From 1, without gaps.", primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("action", models.CharField(max_length=64)),
                ("actor_id", models.UUIDField(help_text="The user who did it; stays when the account is deleted.", null=True)),
                ("subject_id", models.UUIDField(help_text="The user whose account it concerns.", null=True)),
                ("request_id", models.CharField(max_length=128)),
                ("details", models.JSONField()),
                ("origin_digest", models.CharField(help_text="Of the salt, address and user agent in its origin.", max_length=64)),
                ("previous_hash", models.CharField(max_length=64)),
                ("hash", models.CharField(max_length=64)),
            ],
            options={
                "ordering": ("-id",),
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["subject_id", "-id"], name="audit_of_subject"),
                    models.Index(fields=["actor_id", "-id"], name="audit_of_actor"),
                    models.Index(fields=["action", "-id"], name="audit_by_action"),
                    models.Index(fields=["request_id"], name="audit_by_request"),
                    models.Index(fields=["-at"], name="audit_by_time"),
                ],
            },
        ),
        migrations.CreateModel(
            name="AuditOrigin",
            fields=[
                (
                    "event",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="origin",
                        serialize=False,
                        to="accounts.auditevent",
                    ),
                ),
                ("address", models.CharField(max_length=64)),
                ("user_agent", models.CharField(max_length=256)),
                ("salt", models.CharField(max_length=32)),
            ],
            options={
                "default_permissions": (),
                "indexes": [models.Index(fields=["address"], name="audit_by_address")],
            },
        ),
        migrations.RunSQL([CHAIN, REFUSE], DROP),
    ]
