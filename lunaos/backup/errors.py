class BackupError(Exception):
    """Raised when a backup cannot be created or restored; nothing has changed then."""


class BackupDamaged(BackupError):
    """Raised when a backup differs from what was written."""
