"""Backups of the database, and what makes one fit to be restored; `manage.py backup` and `restore` use it.

A backup is a folder: `manifest.json`, `database.dump`, and below `home` what was taken of LUNAOS_HOME. It has its name
when it is complete, and not before.
"""
