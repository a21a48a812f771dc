"""Starts a real Kubernetes API server, and where the machine allows it a real node, for tests and for a person.

Two sizes: the *control plane* (etcd, API server, controller manager, scheduler) and the *cluster* (that, and one node
whose pods are real containers). Nothing is installed into the system. `python -m tests.testbed --help` is the way in
for a person; the fixtures of `pytest_plugin` are the way in for tests.
"""
