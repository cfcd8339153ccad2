"""Backups of database and LUNAOS_HOME, for `manage.py backup` and `restore`."""

# A backup is a folder with `manifest.json`, `database.dump` and `home`.
