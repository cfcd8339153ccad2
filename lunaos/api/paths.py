"""The one form of a path that pools, limits, logs and views see."""

WITH_TRAILING_SLASH = ("/admin/", "/static/")  # Django's admin and folders of files


def normalize(path: str) -> str:
    """Return a path without its trailing slash, except below `/admin/` and `/static/`."""
    # One slash is removed: a path that ends with several stays unknown.
    if len(path) > 1 and path.endswith("/") and not path.endswith("//") and not path.startswith(WITH_TRAILING_SLASH):
        return path[:-1]
    return path
