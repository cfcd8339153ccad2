"""Users, their revoked tokens and idempotency keys, the lockout, and the audit trail."""

import uuid
from collections.abc import Iterator
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import connection, models
from django.utils.crypto import salted_hmac

_REVOKED = "EXISTS (SELECT FROM accounts_revokedtoken WHERE jti = %s)"


# Addresses are stored in lower case, so that each exists once.
class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=email.lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a superuser, whose address needs no confirmation: operators have chosen it."""
        powers = {"is_staff": True, "is_superuser": True, "verification_exempt": True}
        return self.create_user(email, password, **powers, **fields)

    def for_session(self, user_id: str, jti: str) -> "User | None":
        """Read the user of a token that is not revoked, in one query, by the token's id (RFC 7519, 4.1.7)."""
        # Without the ORM: every request with a token runs this query, and building it costs more than running it.
        columns = [field.attname for field in self.model._meta.concrete_fields]
        query = f"SELECT {', '.join(columns)} FROM accounts_user WHERE id = %s AND NOT {_REVOKED}"  # noqa: S608 - the columns are the model's
        with connection.cursor() as cursor:
            cursor.execute(query, [user_id, jti])
            row = cursor.fetchone()
        return self.model.from_db(self.db, columns, row) if row else None

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").lower())


class User(AbstractBaseUser, PermissionsMixin):
    """A person with an account."""

    # `tier` is written by `billing` only; what a tier allows is in `billing.tiers`.

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(max_length=255, unique=True)
    name = models.CharField(max_length=100, blank=True)
    tier = models.CharField(max_length=16, default="free")
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    email_verified_at = models.DateTimeField(null=True, editable=False)
    verification_exempt = models.BooleanField(
        default=False,
        db_default=False,
        editable=False,
        help_text="Older than the rule that runs need a confirmed address where mails are sent.",
    )
    session_epoch = models.PositiveIntegerField(
        db_default=0, editable=False, help_text="Logging out everywhere counts it."
    )
    erasing_since = models.DateTimeField(null=True, editable=False, help_text="Deletion was asked for, and goes on.")

    objects: ClassVar[UserManager] = UserManager()
    EMAIL_FIELD = USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ("-created_at",)
        permissions = (
            ("unlock_user", "Can unlock sign-in"),
            ("disable_user", "Can disable and enable accounts"),
            ("end_sessions_of_user", "Can end a user's sessions"),
            ("send_reset_to_user", "Can send a password reset"),
            ("export_lists", "Can export the lists that they may see"),
        )

    def __str__(self) -> str:
        return self.email

    @property
    def greeting(self) -> str:
        # Without the name until the address is confirmed: the name could carry any text to a stranger's address.
        return f"Hello {self.name}" if self.name and self.email_verified_at else "Hello"

    @property
    def credentials_fingerprint(self) -> str:
        """Digest in tokens and admin sessions, which are invalid once it has changed."""
        # It changes with the password and when all sessions are ended.
        value = f"{self.session_epoch} {self.password}"
        return salted_hmac("accounts.credentials", value, algorithm="sha256").hexdigest()[:32]

    def get_session_auth_hash(self) -> str:
        return self.credentials_fingerprint

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        """Return nothing: a session ends when SECRET_KEY is replaced."""
        yield from ()


class RevokedToken(models.Model):
    # Kept until the token would have expired.

    jti = models.UUIDField(primary_key=True, help_text="The token's id (RFC 7519, 4.1.7).")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="revoked_tokens")
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return str(self.jti)


class IdempotencyKey(models.Model):
    """A client's key with the result of its request."""

    # Kept for a day (`accounts.idempotency`).

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="idempotency_keys")
    key = models.CharField(max_length=255)
    digest = models.CharField(max_length=64, help_text="Of the request's endpoint and content.")
    result = models.TextField()
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("user", "key"), name="one_result_a_key"),)

    def __str__(self) -> str:
        return self.key


class SignInCounter(models.Model):
    email = models.CharField(max_length=255)
    address = models.GenericIPAddressField()
    scope = models.CharField(max_length=16)
    attempts = models.PositiveIntegerField()
    counted_since = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("email", "address", "scope"), name="one_counter_an_address_and_scope"),
        )

    def __str__(self) -> str:
        return f"{self.attempts} of {self.email} at {self.address}"


class KnownAddress(models.Model):
    """An address from which an account signed in, signed up or reset its password."""

    email = models.CharField(max_length=255)
    address = models.GenericIPAddressField()
    last_seen_at = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=("email", "address"), name="one_row_a_known_address"),)

    def __str__(self) -> str:
        return f"{self.email} at {self.address}"


class UserNote(models.Model):
    """What staff wrote down about a user, for the next one who answers; it is never changed."""

    # Staff alone see it in the admin. The user gets it with the export of personal data.

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="notes")
    author = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    text = models.CharField(max_length=2_000)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at",)
        default_permissions = ("view", "add")
        indexes = (models.Index(fields=("user", "-created_at"), name="notes_of_user"),)

    def __str__(self) -> str:
        return self.text


class AuditEvent(models.Model):
    """An audited action (`accounts.auditlog.trail`)."""

    # The database refuses to change or delete the row.

    id = models.BigIntegerField(primary_key=True, help_text="From 1, without gaps.")
    at = models.DateTimeField()
    action = models.CharField(max_length=64)
    actor_id = models.UUIDField(null=True, help_text="The user who did it; stays when the account is deleted.")
    subject_id = models.UUIDField(null=True, help_text="The user whose account it concerns.")
    request_id = models.CharField(max_length=128)
    details = models.JSONField()
    origin_digest = models.CharField(max_length=64, help_text="Of the salt, address and user agent in its origin.")
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ("-id",)
        default_permissions = ("view",)
        indexes = (
            models.Index(fields=("subject_id", "-id"), name="audit_of_subject"),
            models.Index(fields=("actor_id", "-id"), name="audit_of_actor"),
            models.Index(fields=("action", "-id"), name="audit_by_action"),
            models.Index(fields=("request_id",), name="audit_by_request"),
            models.Index(fields=("-at",), name="audit_by_time"),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.action}"


class AuditRepeat(models.Model):
    """An audit row of the last minute, and the number of equal rows since."""

    # Kept until `accounts.auditlog.trail.summarise` writes the number as a row of its own.

    digest = models.CharField(primary_key=True, max_length=64, help_text="Of what makes rows equal.")
    ends_at = models.DateTimeField(db_index=True)
    repeats = models.PositiveIntegerField(default=0)
    row = models.JSONField(help_text="As it was written.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.repeats} x {self.digest}"


class AuditOrigin(models.Model):
    """The personal part of an audit row."""

    # Deleted with the account (`accounts.auditlog.trail.anonymise`).

    event = models.OneToOneField(AuditEvent, on_delete=models.PROTECT, primary_key=True, related_name="origin")
    address = models.CharField(max_length=64)
    user_agent = models.CharField(max_length=256)
    salt = models.CharField(max_length=32)

    class Meta:
        default_permissions = ()
        indexes = (models.Index(fields=("address",), name="audit_by_address"),)

    def __str__(self) -> str:
        return self.address
