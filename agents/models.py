"""The catalogue: agents, and the language models they may run on."""

from django.conf import settings
from django.db import models


class Agent(models.Model):
    """An expert: a system prompt and how to run it.

    Comes from a file in `agents/experts`; what staff edited here is not overwritten (`agents.loader`).
    """

    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=100)
    role = models.CharField(max_length=200, help_text="One sentence for a person browsing the list.")
    category = models.CharField(max_length=32)
    tier = models.CharField(max_length=16, help_text="The lowest that may use it (`billing.tiers`).")
    prompt = models.TextField()
    temperature = models.FloatField(default=0.2)
    max_tokens = models.PositiveIntegerField(default=4096, help_text="The longest answer, in the model's tokens.")
    position = models.PositiveSmallIntegerField(help_text="Place in the list.")
    loaded_digest = models.CharField(max_length=64, editable=False, help_text="Of the content the file last gave.")

    class Meta:
        ordering = ("position", "slug")

    def __str__(self) -> str:
        return self.name


class LanguageModel(models.Model):
    """A model that a provider serves; staff add more here."""

    provider = models.CharField(max_length=32)
    name = models.CharField(max_length=64, help_text="As the provider's API calls it.")
    is_default = models.BooleanField(default=False, help_text="Taken when a request names the provider only.")
    enabled = models.BooleanField(default=True)
    context_window = models.PositiveIntegerField(
        null=True, blank=True, help_text="Tokens of prompt and answer together; empty takes the price table's figure."
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
