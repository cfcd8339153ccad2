"""Serializers of several apps."""

from typing import Any

from rest_framework import serializers


class MessageSerializer(serializers.Serializer[Any]):
    """A sentence for people, without further data."""

    message = serializers.CharField()
