"""An Orthanc of a test's own, on loopback: a real archive to send to."""

import contextlib
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import need

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
TITLE = "ARCHIVE"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Archive:
    """Addresses of a running Orthanc, and its REST interface."""

    def __init__(self, dicom_port: int, http_port: int):
        self._http = f"http://127.0.0.1:{http_port}"
        self.dicom = f"dicom://{TITLE}@127.0.0.1:{dicom_port}"
        self.dicomweb = f"dicomweb://127.0.0.1:{http_port}/dicom-web"

    def get(self, path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(
            self._http + path, headers={"Accept": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def query(self, level: str, **keys: str) -> list[dict]:
        """Search by QIDO-RS (PS3.18 10.6)."""
        terms = "&".join(f"{key}={value}" for key, value in keys.items())
        return json.loads(self.get(f"/dicom-web/{level}?{terms}"))

    def files(self) -> list[bytes]:
        """Return the content of all instances."""
        names = json.loads(self.get("/instances"))
        return [self.get(f"/instances/{name}/file") for name in names]

    def clear(self) -> None:
        """Remove all patients."""
        for name in json.loads(self.get("/patients")):
            self.get(f"/patients/{name}", method="DELETE")


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[Archive]:
    """Start Orthanc with its files in FOLDER/db; skip the test without it."""
    need("Orthanc")
    if not PLUGIN.exists():
        need("orthanc-dicomweb")
    folder.mkdir()
    dicom_port, http_port = free_port(), free_port()
    config = {
        "StorageDirectory": str(folder / "db"),
        "Plugins": [str(PLUGIN)],
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        "DicomAet": TITLE,
        "DicomCheckCalledAet": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
    }
    (folder / "orthanc.json").write_text(json.dumps(config))
    program = "/usr/sbin/Orthanc"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [program, folder / "orthanc.json"], stdout=log, stderr=subprocess.STDOUT
        )
    archive = Archive(dicom_port, http_port)
    try:
        for _ in range(300):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                archive.get("/system")
                break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        else:
            pytest.fail("Orthanc did not start: " + (folder / "log").read_text())
        yield archive
    finally:
        process.terminate()
        process.wait(30)
