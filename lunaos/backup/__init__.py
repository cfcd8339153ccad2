"""Backups of the database and of LUNAOS_HOME; `manage.py backup` and `restore` use this package.

A backup is a folder with `manifest.json`, `database.dump` and `home`. The folder gets its name when it is complete.
"""
