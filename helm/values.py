"""Every value of the chart, with its default and what it is for.

`values.yaml`, `values.schema.json` and the table in the chart's README are written from these models, so that the three
cannot disagree, and so that a value that nobody has heard of is refused by its name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

CLOSED = ConfigDict(extra="forbid")

Count = Annotated[int, Field(ge=0, le=5)]
DnsName = Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", max_length=253)]
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Interval = Annotated[str, Field(pattern=r"^([0-9]+(ms|s|m|h))+$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Quantity = str | int | float
Texts = dict[str, str]


class Part(BaseModel):
    """Some of the chart's values; camelCase outside."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", use_attribute_docstrings=True)


class Variable(TypedDict, total=False):
    """A variable of the operator's environment."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    name: str
    value: str
    valueFrom: dict[str, Any]


class Toleration(TypedDict, total=False):
    """Kubernetes' toleration."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    key: str
    operator: Literal["Exists", "Equal", "Lt", "Gt"]
    value: str
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
    tolerationSeconds: int


class Spread(TypedDict, total=False):
    """Kubernetes' topology spread constraint; without a selector, the operator's own pods are counted."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    maxSkew: int
    minDomains: int
    topologyKey: str
    whenUnsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    labelSelector: dict[str, Any]
    matchLabelKeys: list[str]
    nodeAffinityPolicy: Literal["Honor", "Ignore"]
    nodeTaintsPolicy: Literal["Honor", "Ignore"]


class Affinity(TypedDict, total=False):
    """Kubernetes' affinity."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    nodeAffinity: dict[str, Any]
    podAffinity: dict[str, Any]
    podAntiAffinity: dict[str, Any]


class Resources(TypedDict, total=False):
    """Kubernetes' resources of a container."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    requests: dict[str, Quantity]
    limits: dict[str, Quantity]


class Peer(TypedDict, total=False):
    """Kubernetes' peer of a network policy."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    namespaceSelector: dict[str, Any]
    podSelector: dict[str, Any]
    ipBlock: dict[str, Any]


class Image(Part):
    """Where the operator's image comes from."""

    registry: str = ""
    """Registry, and a path in it if need be: `registry.example.com/mirror`. Set this alone for an image that was
    copied to a registry of your own."""
    repository: str = "tuning-operator"
    """Name of the image."""
    tag: str = Field("", max_length=128)
    """Its tag; empty for the version of the chart."""
    digest: str = Field("", pattern=r"^(sha256:[0-9a-f]{64})?$")
    """`sha256:...` pins the image to its content, whatever the tag says."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the kubelet fetches it."""
    pull_secrets: list[DnsName] = []
    """Names of Secrets of the release's namespace that open the registry."""


class SigningKey(Part):
    """The Ed25519 key that control messages to trials are signed with. Trials get its public half only."""

    existing_secret: DnsName = ""
    """A Secret of your own in the release's namespace; empty: the chart makes one at the first installation and keeps
    it. Set it where manifests are rendered without access to the cluster: every rendering would make a new key."""
    key: str = Field("key.pem", pattern=r"^[-._a-zA-Z0-9]+$")
    """Under which key of that Secret the private key lies, in PEM."""


class Crds(Part):
    """The CustomResourceDefinitions of TuningJob and Trial."""

    install: bool = True
    """Install and upgrade them with the chart. They stay when the chart is uninstalled, and with them every job. false
    where an administrator installs them, or where another release of this chart in the cluster does."""
    annotations: Texts = {}
    """Annotations of both."""


class Rbac(Part):
    """The operator's rights."""

    create: bool = True
    """Make the roles: a ClusterRole, or with `namespaces` a Role in each, and a Role for the Lease."""
    aggregate_roles: bool | None = None
    """ClusterRoles that let everybody with Kubernetes' role view see TuningJobs and Trials, and everybody with edit or
    admin change them. Unset: yes, but not with `namespaces`, because they apply to the whole cluster."""


class ServiceAccount(Part):
    """As whom the operator speaks to the API server."""

    create: bool = True
    """Make it."""
    name: DnsName = ""
    """Its name; empty for the name of the release."""
    annotations: Texts = {}
    """Its annotations."""


class Metadata(Part):
    """Annotations and labels beside the chart's own."""

    annotations: Texts = {}
    """Annotations."""
    labels: Texts = {}
    """Labels."""


class PodDisruptionBudget(Part):
    """Protection from too many evictions at once; of use with two replicas."""

    create: bool = False
    """Make one."""
    max_unavailable: int | str = 1
    """How many pods, or what share of them, may be evicted at once."""


class CaBundle(Part):
    """Certificates of your own authority, for what the operator reads by HTTPS. The API server's is known anyway."""

    config_map: DnsName = ""
    """A ConfigMap of the release's namespace; empty for the certificates of the image."""
    key: str = Field("ca.crt", pattern=r"^[-._a-zA-Z0-9]+$")
    """Its key that holds the certificates, in PEM. They take the place of those of the image."""


class PrometheusSource(Part):
    """The Prometheus server that gets the operator's token, where a job reads its trials through that server."""

    url: str = Field("", pattern=r"^(https?://.+)?$")
    """Its address, as jobs write it in `spec.metrics.prometheus.url`. One that wants no token need not be named."""
    token_secret: DnsName = ""
    """A Secret of the release's namespace that holds the bearer token."""
    token_key: str = Field("token", pattern=r"^[-._a-zA-Z0-9]+$")
    """Its key."""


class PodMonitor(Part):
    """What Prometheus Operator is asked to scrape."""

    create: bool = False
    """Make PodMonitors. The cluster needs Prometheus Operator's CRDs."""
    trials: bool = True
    """Scrape the trials too: their loss, gradient norm, throughput and memory."""
    interval: Interval = "15s"
    """How often the operator is scraped."""
    trials_interval: Interval = "15s"
    """How often each trial is scraped. This has nothing to do with how often the operator looks at them."""
    sample_limit: int = Field(5000, ge=0)
    """Most samples of one scrape of a trial; 0 for no limit."""
    labels: Texts = {}
    """Labels by which your Prometheus finds its PodMonitors."""


class PrometheusRule(Part):
    """The alerts."""

    create: bool = False
    """Make a PrometheusRule. The cluster needs Prometheus Operator's CRDs."""
    labels: Texts = {}
    """Labels by which your Prometheus finds its rules."""


class Dashboards(Part):
    """Grafana's dashboards as ConfigMaps, which Grafana's sidecar finds by their label."""

    create: bool = False
    """Make them."""
    namespace: DnsName = ""
    """Where; empty for the release's namespace."""
    labels: Texts = {"grafana_dashboard": "1"}
    """The label that the sidecar looks for."""
    annotations: Texts = {}
    """Such as the folder: `grafana_folder: Tuning`."""


class NetworkPolicy(Part):
    """Who may speak to whom: the operator and Prometheus to trials, Prometheus to the operator, nobody else to either;
    and the operator itself to trials, the API server and DNS alone.
    """

    create: bool = False
    """Make them. They do something only where the cluster's network enforces them."""
    prometheus: list[Peer] = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    """Where Prometheus runs."""
    trial_namespaces: list[Namespace] = []
    """Namespaces whose trials are protected; empty for those in `namespaces`. A cluster-wide installation has to name
    them, because a network policy counts in its own namespace only."""
    api_server_cidrs: list[str] = ["0.0.0.0/0", "::/0"]
    """Where the API server is; pods and names cannot select it."""
    api_server_ports: list[Port] = [443, 6443]
    """Its ports: of the Service, and behind it."""
    dns_ports: list[Port] = [53]
    """Ports of the cluster's DNS."""
    extra_egress: list[dict[str, Any]] = []
    """More rules for what the operator may reach, such as a Prometheus server that a job reads from."""


class Values(Part):
    """Values of the chart."""

    namespaces: list[Namespace] = []
    """Serve only these namespaces, with a Role in each and no right elsewhere; empty for the whole cluster. They must
    exist."""
    replicas: Count = 1
    """How many pods; one leads, the others stand by and take over when it goes."""
    image: Image = Image()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """What the operator logs."""
    log_format: Literal["text", "json"] = "text"
    """How: a line for people, or an object for a log store."""
    extra_args: list[str] = []
    """More arguments of the operator; `tuning-operator --help` lists them."""
    extra_env: list[Variable] = []
    """More variables of its environment, such as those of a proxy."""
    ca_bundle: CaBundle = CaBundle()
    signing_key: SigningKey = SigningKey()
    crds: Crds = Crds()
    rbac: Rbac = Rbac()
    service_account: ServiceAccount = ServiceAccount()
    fullname_override: str = Field("", pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", max_length=40)
    """Name of everything; empty for a name from that of the release."""
    labels: Texts = {}
    """Labels on everything."""
    deployment: Metadata = Metadata()
    """Annotations and labels of the Deployment."""
    pod: Metadata = Metadata()
    """Annotations and labels of its pods."""
    run_as_user: Annotated[int, Field(ge=1)] | None = 65532
    """User and group of the process; null where the platform chooses them, as OpenShift does."""
    resources: Resources = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
    """What the pod asks for, and may use."""
    priority_class_name: str = ""
    """Priority class of the pods; `system-cluster-critical` keeps trials from driving the operator out."""
    node_selector: Texts = {}
    """Labels that a node must have."""
    tolerations: list[Toleration] = []
    """Taints that the pods stand."""
    affinity: Affinity = {}
    """Where the pods rather run."""
    topology_spread_constraints: list[Spread] = []
    """How the pods are spread; empty: over nodes where that is possible."""
    termination_grace_period_seconds: int = Field(30, ge=5)
    """Seconds for an orderly end, in which leadership is handed over."""
    pod_disruption_budget: PodDisruptionBudget = PodDisruptionBudget()
    prometheus_source: PrometheusSource = PrometheusSource()
    pod_monitor: PodMonitor = PodMonitor()
    prometheus_rule: PrometheusRule = PrometheusRule()
    dashboards: Dashboards = Dashboards()
    network_policy: NetworkPolicy = NetworkPolicy()
