"""Files that hold secrets: what is indexed goes into prompts, and so to the providers of models."""

import re

NAMES = re.compile(
    r"""
    \.env.{0,512} | .{1,512}\.env | [._]netrc | \.npmrc | \.yarnrc | \.pypirc | \.pgpass | \.my\.cnf | \.htpasswd
    | \.git-credentials | \.dockercfg | id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?(?:\.(?!pub$).{1,512})?
    | .{1,512}\.(?:p12|pfx|jks|keystore|kdbx?|ppk)
    | .{1,512}\.tfstate(?:\.backup)? | .{1,512}\.(?:auto\.)?tfvars(?:\.json)? | kubeconfig
    | client_secrets?(?:_.{1,512})?\.json
    | (?:.{1,512}[-_])?service[-_]account(?:[-_].{1,512})?\.json | (?:aws_?)?credentials(?:\.json)?
    | secrets?(?:\.\w{1,40})?\.(?:ya?ml|json|toml)
    | master\.key | \.vault[-_]pass(?:word)?(?:\.txt)?
    """,
    re.VERBOSE | re.IGNORECASE,
)
FOLDERS = frozenset({".git", ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".gcloud"})
# A key's block, as PEM (RFC 7468) or by OpenSSH and PGP: its first line, then its base64. A program that only names the
# line has no such block. In YAML, JSON, notebooks and string literals the lines are indented, quoted or escaped.
_BREAK = r"""(?:[\s"',+]|\\[rn])"""
PRIVATE_KEY = re.compile(
    rf"-----BEGIN (?:[A-Z0-9]{{1,20}} ){{0,4}}PRIVATE KEY(?: BLOCK)?-----{_BREAK}{{1,200}}"
    rf"(?:[A-Za-z-]{{1,40}}: [^\n\\]{{0,200}}(?:\n|\\n){_BREAK}{{0,200}}){{0,8}}[A-Za-z0-9+/=]{{40}}"
)


def is_secret(path: str, content: str) -> bool:
    """Return whether a file is a credential by its name or its folder, or holds a private key."""
    *folders, name = re.split(r"[/\\]", path.lower())
    return bool(not FOLDERS.isdisjoint(folders) or NAMES.fullmatch(name) or PRIVATE_KEY.search(content))
