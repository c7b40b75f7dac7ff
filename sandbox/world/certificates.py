"""Write a certificate authority and a certificate for each server of the sandbox.

The authority's key is not kept: the certificates are those of one world, and a new world gets new ones.

    python -m sandbox.world.certificates /certificates carrier amop
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sandbox.http_server import CERTIFICATE_FILE, KEY_FILE, LOOPBACK

AUTHORITY_FILE = "ca.pem"
VALIDITY = timedelta(days=3650)
CLOCK_DIFFERENCE = timedelta(days=1)
"""A certificate is valid this long before it is written: a client's clock may be slow."""


def write_certificates(folder: Path, names: list[str]) -> None:
    """Write ``ca.pem`` and, in a folder of each name, its certificate and key; do nothing where they exist.

    Args:
        folder: folder to write to.
        names: host names of the servers; each certificate is valid for 127.0.0.1 as well.
    """
    if (folder / AUTHORITY_FILE).exists() and all((folder / name / KEY_FILE).exists() for name in names):
        return
    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox certificate authority")])
    root = (
        _certificate(issuer, issuer, authority.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), critical=False)
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternatives = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address(LOOPBACK))]
        certificate = (
            _certificate(subject, issuer, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        )
        (folder / name).mkdir(exist_ok=True)
        (folder / name / CERTIFICATE_FILE).write_bytes(_signed(certificate, authority))
        plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / name / KEY_FILE).write_bytes(key.private_bytes(*plain))
    (folder / AUTHORITY_FILE).write_bytes(_signed(root, authority))


def _certificate(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    begin = datetime.now(UTC) - CLOCK_DIFFERENCE
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + VALIDITY)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(certificate: x509.CertificateBuilder, authority: ec.EllipticCurvePrivateKey) -> bytes:
    return certificate.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def main(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
    names: Annotated[list[str], typer.Argument(help="Host names of the servers.")],
) -> None:
    """Write a certificate authority and the certificates of the sandbox's servers, unless they exist."""
    write_certificates(folder, names)
    typer.echo(f"certificates in {folder}: {', '.join(names)}")


if __name__ == "__main__":
    typer.run(main)
