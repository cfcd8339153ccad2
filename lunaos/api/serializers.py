"""Answers that many endpoints give."""

from typing import Any

from rest_framework import serializers


class MessageSerializer(serializers.Serializer[Any]):
    """A sentence for a person, where there is nothing else to say."""

    message = serializers.CharField()
