"""Named chains."""

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models

from agents.models import Agent, Version, Versioned

MAX_STEPS = 5  # steps of any chain (CONTRACT, section 6)
CUSTOM_SLUG = "custom"  # `chain` of runs whose request named the steps


class ChainPreset(Versioned):
    """A named sequence of agents; its tier is the highest tier of its agents."""

    VERSIONED_FIELDS = ("name", "description", "position", "enabled", "steps")

    slug = models.SlugField("id", max_length=64, unique=True, help_text="What requests call it.")
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=200, help_text="One sentence for a person browsing the list.")
    enabled = models.BooleanField(default=True, help_text="Whether it is listed and can be run.")
    steps = ArrayField(models.CharField(max_length=64), help_text=f"Agents in order, {MAX_STEPS} at most.")
    position = models.PositiveSmallIntegerField(help_text="Place in the list.")

    class Meta:
        ordering = ("position", "slug")
        constraints = (
            models.CheckConstraint(condition=models.Q(steps__len__range=(1, MAX_STEPS)), name="one_to_five_steps"),
        )

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Check the id, the number of steps and their agents; may raise ValidationError."""
        if self.slug == CUSTOM_SLUG:
            raise ValidationError(
                {"slug": f"The id {CUSTOM_SLUG!r} is reserved for chains without a preset. Choose another id."}
            )
        if not 1 <= len(self.steps or []) <= MAX_STEPS:
            raise ValidationError({"steps": f"A chain has 1 to {MAX_STEPS} steps, not {len(self.steps or [])}."})
        enabled = dict(Agent.objects.filter(slug__in=self.steps).values_list("slug", "enabled"))
        faults = [_fault(slug, enabled.get(slug)) for slug in dict.fromkeys(self.steps) if not enabled.get(slug)]
        if faults:
            raise ValidationError({"steps": faults})


class ChainPresetVersion(Version):
    """An earlier state of a preset."""

    of = models.ForeignKey(ChainPreset, on_delete=models.CASCADE, related_name="versions")

    class Meta(Version.Meta):
        constraints = (models.UniqueConstraint(fields=("of", "number"), name="one_preset_version_a_number"),)


def _fault(slug: str, enabled: bool | None) -> str:
    if enabled is None:
        return f"There is no agent {slug!r}. Choose another agent, or remove the step."
    return f"The agent {slug!r} is disabled. Enable it first, or choose another agent."
