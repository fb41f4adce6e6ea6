"""Several hosts on one machine: network namespaces on a switch, joined by veth pairs. Not a simulator of latency (toxiproxy is).

Needs root and iproute2; `unavailable()` says why it cannot work here. Names carry the process id, so runs do not meet; everything is
removed by close(), also after a failure.
"""
import os
import shutil
import subprocess

SUBNET = "10.77.0"


def unavailable():
    """None, or the reason why namespaces cannot be made here."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "the command ip (package iproute2) is missing"
    probe = f"llprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode != 0:
        return "ip netns add failed: " + made.stderr.strip()
    subprocess.run(["ip", "netns", "del", probe], check=False)
    return None


class Hosts:
    """`Hosts("c", "a", "b")`: one namespace per name, host i at 10.77.0.(i+1), all links on one switch."""

    def __init__(self, *names):
        self.names = names
        self.prefix = f"ll{os.getpid()}"
        self.switch = self.namespace("sw")
        try:
            self._ip("netns", "add", self.switch)
            self._in(self.switch, "ip", "link", "add", "br0", "type", "bridge")
            self._in(self.switch, "ip", "link", "set", "br0", "up")
            for i, name in enumerate(names):
                self._add_host(name, f"{SUBNET}.{i + 1}")
        except BaseException:
            self.close()
            raise

    def namespace(self, name):
        return f"{self.prefix}{name}"

    def address(self, name):
        return f"{SUBNET}.{self.names.index(name) + 1}"

    def _add_host(self, name, address):
        ns = self.namespace(name)
        self._ip("netns", "add", ns)
        self._ip("link", "add", "eth0", "netns", ns, "type", "veth", "peer", "name", f"port-{name}", "netns", self.switch)
        self._in(ns, "ip", "address", "add", f"{address}/24", "dev", "eth0")
        self._in(ns, "ip", "link", "set", "eth0", "up")
        self._in(ns, "ip", "link", "set", "lo", "up")
        self._in(self.switch, "ip", "link", "set", f"port-{name}", "master", "br0")
        self._in(self.switch, "ip", "link", "set", f"port-{name}", "up")

    def command(self, name, argv):
        """argv, run on host `name`."""
        return ["ip", "netns", "exec", self.namespace(name), *argv]

    def limit(self, name, rate):
        """Both directions of the host's link at `rate` (tc's words, as "10mbit"); None removes the limit."""
        for where, device in ((self.namespace(name), "eth0"), (self.switch, f"port-{name}")):
            subprocess.run(["ip", "netns", "exec", where, "tc", "qdisc", "del", "dev", device, "root"], capture_output=True)
            if rate is not None:
                self._in(where, "tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", rate, "burst", "32kbit",
                         "latency", "400ms")

    def cut(self, name):
        self._in(self.switch, "ip", "link", "set", f"port-{name}", "down")

    def join(self, name):
        self._in(self.switch, "ip", "link", "set", f"port-{name}", "up")

    def write_rsh_agent(self, path):
        """A script for Open MPI's plm_rsh_agent: `agent ADDRESS command...` runs the command on that host."""
        cases = "\n".join(f"  {self.address(n)}) ns={self.namespace(n)} ;;" for n in self.names)
        with open(path, "w") as f:
            f.write(f'#!/bin/sh\nhost=$1\nshift\ncase "$host" in\n{cases}\n  *) echo "no host $host" >&2; exit 1 ;;\nesac\n'
                    'exec ip netns exec "$ns" bash -c "$*"\n')
        os.chmod(path, 0o755)

    def close(self):
        for name in (*self.names, "sw"):
            subprocess.run(["ip", "netns", "del", self.namespace(name)], capture_output=True)

    @staticmethod
    def _ip(*argv):
        subprocess.run(["ip", *argv], check=True)

    @staticmethod
    def _in(namespace, *argv):
        subprocess.run(["ip", "netns", "exec", namespace, *argv], check=True)
