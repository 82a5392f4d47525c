"""Certificates for tests, made by the openssl command."""

import datetime
import os
import subprocess

# Subject alternative names of a server on this machine.
LOCALHOST = "DNS:localhost,IP:127.0.0.1"

_CONFIGURATION = """
[ca]
default_ca = authority
[authority]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = anything
copy_extensions = copy
unique_subject = no
[anything]
commonName = supplied
"""


class Issued:
    """A certificate and its key, as files."""

    def __init__(self, stem):
        self.cert, self.key = stem + ".pem", stem + ".key"

    def texts(self):
        """(certificate, key) as bytes, for grpc."""
        return _read(self.cert), _read(self.key)


class Authority:
    """A certificate authority with its files in a folder of its own."""

    def __init__(self, folder, name="ca"):
        self._folder = os.path.join(folder, name)
        os.makedirs(self._folder)
        self.cert = self._path("ca.pem")
        _openssl("req", "-x509", *_NEW_KEY, "-keyout", self._path("ca.key"), "-out", self.cert, "-subj", f"/CN={name}")
        for file, text in [
            ("index.txt", ""),
            ("serial", "01\n"),
            ("ca.cnf", _CONFIGURATION.format(folder=self._folder)),
        ]:
            with open(self._path(file), "w", encoding="utf-8") as out:
                out.write(text)

    def text(self):
        return _read(self.cert)

    def issue(self, name, names="", days=(-1, 1)):
        """A certificate for `name`, valid from so many days from now to so many."""
        issued = Issued(self._path(name.replace("/", "_")))
        request = self._path("request.csr")
        extension = ["-addext", f"subjectAltName={names}"] if names else []
        _openssl("req", *_NEW_KEY, "-keyout", issued.key, "-out", request, "-subj", f"/CN={name}", *extension)
        begin, end = (_time(offset) for offset in days)
        _openssl(
            "ca", "-batch", "-notext", "-config", self._path("ca.cnf"), "-cert", self.cert,
            "-keyfile", self._path("ca.key"), "-in", request, "-out", issued.cert, "-startdate", begin, "-enddate", end,
        )  # fmt: skip
        return issued

    def _path(self, file):
        return os.path.join(self._folder, file)


_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def _openssl(*arguments):
    ended = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise AssertionError(f"openssl {arguments}: {ended.stderr}")


def _time(days):
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return when.strftime("%Y%m%d%H%M%SZ")


def _read(path):
    with open(path, "rb") as file:
        return file.read()
