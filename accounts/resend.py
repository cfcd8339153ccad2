"""Mail through Resend, without following redirects."""

import requests
from anymail.backends.resend import EmailBackend as AnymailBackend


class EmailBackend(AnymailBackend):
    """Anymail's backend, which treats a redirect as a failure."""

    # A redirect would send the API key to another host.

    def create_session(self) -> requests.Session:
        session = super().create_session()
        session.max_redirects = 0
        return session
