"""Chains that have a name."""

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models

from agents.models import Agent, Version, Versioned

LONGEST = 5  # steps of any chain (CONTRACT, section 6)
CUSTOM = "custom"  # what a run says of a chain whose steps the request named


class ChainPreset(Versioned):
    """Agents in a row, by a name that requests give; its tier is that of its highest agent."""

    VERSIONED_FIELDS = ("name", "description", "position", "enabled", "steps")

    slug = models.SlugField("id", max_length=64, unique=True, help_text="What requests call it.")
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=200, help_text="One sentence for a person browsing the list.")
    enabled = models.BooleanField(default=True, help_text="Whether it is listed and can be run.")
    steps = ArrayField(models.CharField(max_length=64), help_text=f"Agents in order, {LONGEST} at most.")
    position = models.PositiveSmallIntegerField(help_text="Place in the list.")

    class Meta:
        ordering = ("position", "slug")
        constraints = (
            models.CheckConstraint(condition=models.Q(steps__len__range=(1, LONGEST)), name="one_to_five_steps"),
        )

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raises ValidationError where a rule is broken: of the name, the number of steps, or their agents."""
        if self.slug == CUSTOM:
            raise ValidationError({"slug": f"Runs say {CUSTOM!r} of chains without a name; take another."})
        if not 1 <= len(self.steps or []) <= LONGEST:
            raise ValidationError({"steps": f"A chain has 1 to {LONGEST} steps, not {len(self.steps or [])}."})
        enabled = dict(Agent.objects.filter(slug__in=self.steps).values_list("slug", "enabled"))
        faults = [_fault(slug, enabled.get(slug)) for slug in dict.fromkeys(self.steps) if not enabled.get(slug)]
        if faults:
            raise ValidationError({"steps": faults})


class ChainPresetVersion(Version):
    """A preset as it was."""

    of = models.ForeignKey(ChainPreset, on_delete=models.CASCADE, related_name="versions")

    class Meta(Version.Meta):
        constraints = (models.UniqueConstraint(fields=("of", "number"), name="one_preset_version_a_number"),)


def _fault(slug: str, enabled: bool | None) -> str:
    if enabled is None:
        return f"There is no agent {slug!r}: take another, or take the step out."
    return f"The agent {slug!r} is disabled: enable it first, or take another."
