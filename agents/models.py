"""Agents, their versions, language models, and users' provider keys."""

from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator
from django.db import models

from billing import tiers

MAX_PROMPT_CHARACTERS = 200_000  # characters


class Versioned(models.Model):
    """A model whose every state is stored as a version, by `agents.versions.save` only."""

    # `VERSIONED_FIELDS` names the fields of a version; `versions` are the rows of its `Version` model.

    VERSIONED_FIELDS: ClassVar[tuple[str, ...]] = ()
    versions: Any

    version = models.PositiveIntegerField(
        default=0, db_default=0, editable=False, help_text="The number of its newest version."
    )

    class Meta:
        abstract = True


class Version(models.Model):
    """An immutable version of a row; the child class adds `of`, the row."""

    of: Any

    number = models.PositiveIntegerField(help_text="From 1.")
    content = models.JSONField(help_text="The fields by name.")
    note = models.CharField(max_length=300, blank=True, help_text="Why, or where it came from.")
    saved_at = models.DateTimeField(auto_now_add=True)
    # As in the audit trail, the id stays after the account's deletion: versions of one person stay connected.
    saved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        help_text="None where the platform did it.",
    )

    class Meta:
        abstract = True
        ordering = ("-number",)
        default_permissions = ()

    def __str__(self) -> str:
        return f"version {self.number}"


class Agent(Versioned):
    """A system prompt with the settings to run it."""

    # Loaded from a file in `agents/experts`; edits of staff are not overwritten (`agents.loader`).

    VERSIONED_FIELDS = (
        *("name", "role", "category", "position", "enabled", "tier"),
        *("default_model", "temperature", "max_tokens", "prompt"),
    )

    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=100)
    role = models.CharField(max_length=200, help_text="One sentence for a person browsing the list.")
    category = models.CharField(max_length=32)
    enabled = models.BooleanField(default=True, db_default=True, help_text="Whether it is listed and can be run.")
    tier = models.CharField(max_length=16, help_text="The lowest tier that may use it.")
    prompt = models.TextField(
        validators=(MaxLengthValidator(MAX_PROMPT_CHARACTERS),),
        help_text="The system prompt: what the model is told before the user's context.",
    )
    default_model = models.CharField(
        max_length=97,
        blank=True,
        db_default="",
        help_text="Answers where a request names neither provider nor model; in chains the platform's default does.",
    )
    temperature = models.FloatField(default=0.2, validators=(MinValueValidator(0), MaxValueValidator(2)))
    max_tokens = models.PositiveIntegerField(
        default=4096, validators=(MinValueValidator(1),), help_text="The longest answer, in the model's tokens."
    )
    position = models.PositiveSmallIntegerField(help_text="Place in the list.")
    loaded_digest = models.CharField(max_length=64, editable=False, help_text="Of the content the file last gave.")

    class Meta:
        ordering = ("position", "slug")

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raise ValidationError if the tier does not exist."""
        if self.tier not in tiers.names():
            raise ValidationError({"tier": f"There is no tier {self.tier!r}."})


class AgentVersion(Version):
    """A version of an agent."""

    of = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="versions")

    class Meta(Version.Meta):
        constraints = (models.UniqueConstraint(fields=("of", "number"), name="one_agent_version_a_number"),)


class LanguageModel(models.Model):
    """A model that a provider serves; staff add models in the admin."""

    provider = models.CharField(max_length=32)
    name = models.CharField(max_length=64, help_text="As the provider's API calls it.")
    is_default = models.BooleanField(default=False, help_text="Taken when a request names the provider only.")
    enabled = models.BooleanField(default=True)
    context_window = models.PositiveIntegerField(
        null=True, blank=True, help_text="Tokens of prompt and answer together; empty takes the price table's figure."
    )
    max_output_tokens = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=(MinValueValidator(1),),
        help_text="The longest output in tokens, reasoning included, in place of the agent's limit. Set it for models "
        "that reason: their reasoning counts as output and must leave room for the answer.",
    )

    class Meta:
        ordering = ("provider", "-is_default", "name")
        constraints = (
            models.UniqueConstraint(fields=("provider", "name"), name="one_row_a_model"),
            models.UniqueConstraint(
                fields=("provider",), condition=models.Q(is_default=True), name="one_default_a_provider"
            ),
        )

    def __str__(self) -> str:
        return f"{self.provider}/{self.name}"


class ProviderKey(models.Model):
    """A user's own key for a provider, encrypted (`agents.provider_keys`)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="provider_keys")
    provider = models.CharField(max_length=32)
    sealed = models.TextField(help_text="Encrypted, and bound to user and provider.")
    last_four = models.CharField(max_length=4, help_text="The key's last characters, for its owner to know it by.")
    set_at = models.DateTimeField()

    class Meta:
        ordering = ("user", "provider")
        constraints = (models.UniqueConstraint(fields=("user", "provider"), name="one_key_a_provider"),)

    def __str__(self) -> str:
        return f"{self.provider} …{self.last_four}"
