"""Errors of backups. After each of them nothing has changed."""


class BackupError(Exception):
    """Raised when a backup cannot be created or restored; the message is for the operator."""


class BackupDamaged(BackupError):
    """Raised when a backup differs from what was written."""
