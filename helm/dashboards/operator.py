"""Operator health: whether the operator keeps up, and what the API server says to it."""

from __future__ import annotations

from typing import Final

from helm.dashboards.panel import Dashboard, Row, lines, number

from tuning_operator.backends.kubernetes import metrics


def _rate(metric: metrics.Metric, suffix: str = "") -> str:
    return f"rate({metric.name}{suffix}[$__rate_interval])"


def _slowest(metric: metrics.Metric, *labels: str) -> str:
    return f"histogram_quantile(0.99, sum by ({', '.join(('le', *labels))}) ({_rate(metric, '_bucket')}))"


OPERATOR: Final = Dashboard(
    uid="tuning-operator",
    title="Operator health",
    description="Leadership, queues, the API server, scrapes, and what the process itself uses.",
    rows=(
        Row(
            title="Now",
            panels=(
                number(
                    "Leaders",
                    "Exactly 1. 0: no job is driven; look at the operator's pods and at the Lease.",
                    f"sum({metrics.LEADER.name})",
                    width=6,
                ),
                number(
                    "Replicas",
                    "Processes that Prometheus sees. Fewer than replicas: a pod does not start, or is not scraped.",
                    f"count({metrics.BUILD_INFO.name})",
                    width=6,
                ),
                number(
                    "Trials in the cache",
                    "More than about 10,000: split over namespaces with an operator each (docs/sizing.md).",
                    f'sum({metrics.CACHE_OBJECTS.name}{{resource="trials"}})',
                    width=6,
                ),
                number(
                    "Waiting in the queue",
                    "Objects to be looked at. It should return to 0 within seconds.",
                    f"sum({metrics.QUEUE_DEPTH.name})",
                    width=6,
                ),
            ),
        ),
        Row(
            title="Work",
            panels=(
                lines(
                    "Event-loop lag",
                    "How late the loop is, 99th percentile. Above 0.2 s: something blocks, or the CPU limit throttles.",
                    (_slowest(metrics.LOOP_LAG), "p99"),
                    unit="s",
                ),
                lines(
                    "Reconciles",
                    "By controller and result. Errors that stay: the logs name the object and the reason.",
                    (f"sum by (controller, result) ({_rate(metrics.RECONCILES)})", "{{controller}} {{result}}"),
                    unit="ops",
                ),
                lines(
                    "Reconcile duration",
                    "99th percentile. Long with a short queue: the API server is slow.",
                    (_slowest(metrics.RECONCILE_DURATION, "controller"), "{{controller}}"),
                    unit="s",
                ),
                lines(
                    "Queue",
                    "Depth, and how long the first has waited. Rising: raise CPU, or fewer trials at once.",
                    (metrics.QUEUE_DEPTH.name, "{{queue}} depth"),
                    (metrics.QUEUE_AGE.name, "{{queue}} seconds"),
                ),
            ),
        ),
        Row(
            title="API server",
            panels=(
                lines(
                    "Requests",
                    "By verb and answer. 403: the role lacks a right (upgrade the chart). 429: throttled. 409: normal "
                    "now and then.",
                    (f"sum by (verb, code) ({_rate(metrics.REQUESTS)})", "{{verb}} {{code}}"),
                    unit="reqps",
                ),
                lines(
                    "Request duration",
                    "99th percentile by verb.",
                    (_slowest(metrics.REQUEST_DURATION, "verb"), "{{verb}}"),
                    unit="s",
                ),
                lines(
                    "Watches that ended by an error",
                    "Now and then is normal. Gone again and again: the operator is slower than the events.",
                    (
                        f"sum by (resource, reason) ({metrics.WATCH_RESTARTS.name}) or vector(0)",
                        "{{resource}} {{reason}}",
                    ),
                ),
                lines(
                    "Age of the caches",
                    "Seconds since the API server last said anything. Above 5 minutes: the watch is dead.",
                    (f"max by (resource) ({metrics.CACHE_AGE.name})", "{{resource}}"),
                    unit="s",
                ),
            ),
        ),
        Row(
            title="Trials",
            panels=(
                lines(
                    "Looks at trials",
                    "By result. Errors are usual while programs start; all the time: is a NetworkPolicy in the way?",
                    (f"sum by (result) ({_rate(metrics.SCRAPES)})", "{{result}}"),
                    unit="ops",
                ),
                lines(
                    "Duration of a look",
                    "99th percentile. Near spec.metrics.interval: raise the interval.",
                    (_slowest(metrics.SCRAPE_DURATION), "p99"),
                    unit="s",
                ),
                lines(
                    "Control messages",
                    "Refused: the trial's public key is of another installation, or its clock is wrong. Unreached is "
                    "usual while programs start and end; all the time: is a NetworkPolicy in the way?",
                    (f"sum by (result) ({metrics.CONTROL_MESSAGES.name}) or vector(0)", "{{result}}"),
                ),
                lines(
                    "Memory and CPU of the operator",
                    "Memory grows with the trials and their marks. Killed at its limit, the operator goes on after it.",
                    (f"process_resident_memory_bytes and on (instance) {metrics.BUILD_INFO.name}", "{{instance}}"),
                    unit="bytes",
                ),
            ),
        ),
    ),
)
