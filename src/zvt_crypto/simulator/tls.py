"""https and wss for the simulator: a certificate of its own, made at the start.

A small authority is made and signs one certificate for the local names and for every host name of
the exchanges, so that a client that is sent here by its resolver finds the name it asked for. Only
the authority's certificate is left in a file, for clients to trust; its key is forgotten at once.
"""

import ipaddress
import ssl
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, GeneralName, Name

_DAYS: Final = 30
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")
CA_FILE: Final = "simulator-ca.pem"


def load_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the server's side of TLS with a given certificate.

    Raises:
        ValueError: the files are not a certificate and its key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"{certificate}, {key}: no certificate with its key: {error}") from None
    return context


def make_context(folder: Path, host: str, names: Collection[str]) -> tuple[ssl.SSLContext, Path]:
    """Make an authority and a certificate for `host`, the local names and `names`.

    Returns:
        The server's side of TLS, and the authority's certificate in `folder`, which clients trust.

    Raises:
        ValueError: the package that makes certificates is not installed.
    """
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - optional
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    except ImportError:
        raise ValueError(
            "--tls makes a certificate with the package cryptography, which is not installed: "
            "install it, or give --tls-cert and --tls-key"
        ) from None
    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _make_authority(authority_key)
    wanted = list(dict.fromkeys((*_LOCAL, host, *sorted(names))))
    certificate = _make_certificate(authority, authority_key, key, wanted)
    encoding = serialization.Encoding.PEM
    trusted, chain, private = folder / CA_FILE, folder / "certificate.pem", folder / "key.pem"
    trusted.write_bytes(authority.public_bytes(encoding))
    chain.write_bytes(certificate.public_bytes(encoding))
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = load_context(chain, private)
    private.unlink()
    chain.unlink()
    return context, trusted


def _name(text: str) -> "Name":
    from cryptography import x509  # noqa: PLC0415 - optional
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _make_authority(key: "EllipticCurvePrivateKey") -> "Certificate":
    from cryptography import x509  # noqa: PLC0415 - optional
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415

    name, now = _name("zvt-crypto simulator authority"), datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _make_certificate(
    authority: "Certificate",
    authority_key: "EllipticCurvePrivateKey",
    key: "EllipticCurvePrivateKey",
    names: Collection[str],
) -> "Certificate":
    from cryptography import x509  # noqa: PLC0415 - optional
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: PLC0415

    now = datetime.now(UTC)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(_name("zvt-crypto simulator"))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(
            x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _alternative(name: str) -> "GeneralName":
    from cryptography import x509  # noqa: PLC0415 - optional

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
