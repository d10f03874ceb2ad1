"""What the measurements share: a built `tide`, a platform in a temporary folder, its API."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def build() -> pathlib.Path:
    """Builds the release program and returns its path."""
    return cargo_build("tide", "tide")


def build_example(package: str, name: str) -> pathlib.Path:
    """Builds a program that only measurements need, an example of a package, and returns its path."""
    return cargo_build(package, name, "--example", name)


def cargo_build(package: str, name: str, *options: str) -> pathlib.Path:
    command = ["cargo", "build", "--release", "--package", package, *options, "--message-format", "json"]
    output = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in output.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == name:
            return pathlib.Path(message["executable"])
    sys.exit(f"cargo built no program {name}")


def kubectl() -> str:
    """The kubectl to measure with: SPRINGTIDE_KUBECTL, or the one on the PATH."""
    return os.environ.get("SPRINGTIDE_KUBECTL", "kubectl")


def rounds_given(usage: str, default: int) -> int:
    """How often to measure: the program's one argument."""
    if len(sys.argv) == 1:
        return default
    if len(sys.argv) > 2 or not sys.argv[1].isdigit():
        sys.exit(usage.strip())
    return int(sys.argv[1])


def machine() -> str:
    """One line about this machine."""
    cores = len(os.sched_getaffinity(0))
    busy = os.getloadavg()[0]
    return f"{cores} cores, load {busy:.1f} before the measurement, Linux {os.uname().release}"


class Platform:
    """`tide up` in a temporary folder, on a free port. Use it with `with`."""

    def __init__(self, tide: pathlib.Path, *options: str):
        self.folder = tempfile.TemporaryDirectory(prefix="springtide-bench-")
        data = pathlib.Path(self.folder.name) / "data"
        command = [tide, "up", "--data-dir", data, "--api-listen", "127.0.0.1:0", *options]
        started = time.monotonic()
        self.keeper = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.said_ready = None
        for line in self.keeper.stdout:
            if found := re.match(r"ready in (\d+) ms", line):
                self.said_ready = int(found[1]) / 1000
            if found := re.match(r"export KUBECONFIG=(.*)", line):
                self.kubeconfig = found[1].strip("'\"")
                break
        else:
            sys.exit(f"tide up ended with status {self.keeper.wait()}")
        self.seconds_to_ready = time.monotonic() - started
        self._connect()

    def _connect(self):
        text = pathlib.Path(self.kubeconfig).read_text()
        value = lambda key: re.search(rf"{key}: *\"?([^\s\"]+)", text)[1]
        context = ssl.create_default_context(cadata=base64.b64decode(value("certificate-authority-data")).decode())
        pair = pathlib.Path(self.folder.name) / "client.pem"
        pair.write_bytes(
            base64.b64decode(value("client-certificate-data")) + b"\n" + base64.b64decode(value("client-key-data"))
        )
        context.load_cert_chain(pair)
        host, port = value("server").removeprefix("https://").split(":")
        self.connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=30)

    def call(self, method: str, path: str, body=None, content_type="application/json"):
        """Sends one request to the API and returns the decoded answer."""
        text = None if body is None else json.dumps(body)
        self.connection.request(method, path, text, {"Content-Type": content_type, "Accept": "application/json"})
        response = self.connection.getresponse()
        answer = json.loads(response.read())
        if response.status >= 300:
            sys.exit(f"{method} {path}: {answer.get('message', answer)}")
        return answer

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Runs kubectl against this platform."""
        environment = {**os.environ, "KUBECONFIG": self.kubeconfig, "HOME": self.folder.name}
        return subprocess.run(
            [kubectl(), *arguments], env=environment, check=True, stdout=subprocess.PIPE, input=given, text=True
        ).stdout

    def wait_for_replicas(self, deployment: str, ready: int, limit: float = 120) -> None:
        """Returns as soon as a Deployment has exactly `ready` ready replicas and no other pod."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            status = self.call("GET", f"/apis/apps/v1/namespaces/default/deployments/{deployment}")["status"]
            if status.get("readyReplicas", 0) == ready and status.get("replicas", 0) == ready:
                return
            time.sleep(0.01)
        sys.exit(f"deployment {deployment} has no {ready} ready replicas after {limit} s: {status}")

    def memory(self) -> tuple[float, float]:
        """Resident and proportional memory of all of Springtide's own processes (no pods), in MB."""
        own = [self.keeper.pid, *(pid for pid, command in children(self.keeper.pid) if "brain" in command[1:2])]
        fields = [
            dict(re.findall(r"^(Rss|Pss): +(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M))
            for pid in own
        ]
        total = lambda name: sum(int(field[name]) for field in fields) * 1024 / 1e6
        return total("Rss"), total("Pss")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self.connection.close()
        self.keeper.send_signal(signal.SIGTERM)
        self.keeper.wait(60)
        self.folder.cleanup()


def children(parent: int) -> list[tuple[int, list[str]]]:
    """The children of a process, with their arguments."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) == parent:
                found.append((int(folder.name), (folder / "cmdline").read_bytes().decode().split("\0")))
    return found


def web(replicas: int, program: str, port: int, health: str, cpu: str, work: int = 5, limit: str = "") -> str:
    """A Deployment `web` of one of the example's programs, and a NodePort Service for it."""
    limits = f", limits: {{cpu: {limit}}}" if limit else ""
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      runtimeClassName: host
      terminationGracePeriodSeconds: 5
      containers:
        - name: web
          image: web
          command: [tide, sample, {program}]
          env:
            - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
            - {{name: WORK_MILLISECONDS, value: '{work}'}}
          ports: [{{name: http, containerPort: {port}}}]
          resources: {{requests: {{cpu: {cpu}, memory: 16Mi}}{limits}}}
          readinessProbe: {{httpGet: {{path: {health}, port: http}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  type: NodePort
  selector: {{app: web}}
  ports: [{{name: http, port: 80, targetPort: http}}]
"""


def report(name: str, values: list[float], unit: str, goal: float) -> None:
    """Prints the middle of some measurements, their range, and how it stands to its goal."""
    middle = statistics.median(values)
    verdict = "met" if middle < goal else "NOT met"
    print(
        f"{name:<34} {middle:8.2f} {unit}   ({min(values):.2f} to {max(values):.2f}, {len(values)} rounds)"
        f"   goal < {goal:g} {unit}: {verdict}"
    )
