"""Mail through Resend: anymail's backend, which is not led to another host with our key."""

import requests
from anymail.backends.resend import EmailBackend as AnymailBackend


class EmailBackend(AnymailBackend):
    """Takes a redirect for a failure of the API."""

    def create_session(self) -> requests.Session:
        session = super().create_session()
        session.max_redirects = 0
        return session
