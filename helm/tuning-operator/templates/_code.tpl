{{- /* Generated from the operator's code by `make generate`; do not edit. */}}

{{- define "tuning-operator.rules" -}}
# what users ask for
- apiGroups: ["tuning-operator.io"]
  resources: ["tuningjobs"]
  verbs: ["get", "list", "watch"]
# how it is doing
- apiGroups: ["tuning-operator.io"]
  resources: ["tuningjobs/status"]
  verbs: ["patch"]
# proposals and decisions are written into Trials
- apiGroups: ["tuning-operator.io"]
  resources: ["trials"]
  verbs: ["get", "list", "watch", "create", "patch"]
# curves, and how pods are doing
- apiGroups: ["tuning-operator.io"]
  resources: ["trials/status"]
  verbs: ["patch"]
# a trial's pods
- apiGroups: ["batch"]
  resources: ["jobs"]
  verbs: ["get", "list", "watch", "create", "delete"]
# where to scrape, and how a trial ended
- apiGroups: [""]
  resources: ["pods"]
  verbs: ["list", "watch"]
# the last lines of a pod that failed
- apiGroups: [""]
  resources: ["pods/log"]
  verbs: ["get"]
# by which the nodes of a trial over several find each other
- apiGroups: [""]
  resources: ["services"]
  verbs: ["list", "watch", "create", "patch"]
# decisions in kubectl describe
- apiGroups: ["events.k8s.io"]
  resources: ["events"]
  verbs: ["create"]
# owner references that block deletion, where OwnerReferencesPermissionEnforcement is on
- apiGroups: ["tuning-operator.io"]
  resources: ["tuningjobs/finalizers"]
  verbs: ["update"]
# owner references that block deletion, where OwnerReferencesPermissionEnforcement is on
- apiGroups: ["tuning-operator.io"]
  resources: ["trials/finalizers"]
  verbs: ["update"]
{{- end }}

{{- define "tuning-operator.ownRules" -}}
# one operator leads at a time
- apiGroups: ["coordination.k8s.io"]
  resources: ["leases"]
  verbs: ["get", "create", "update"]
{{- end }}

{{- define "tuning-operator.trialLabels" -}}
app.kubernetes.io/name: tuning-trial
app.kubernetes.io/managed-by: tuning-operator
{{- end }}

{{- define "tuning-operator.trialPort" -}}
9464
{{- end }}

{{- define "tuning-operator.trialPortName" -}}
tuning
{{- end }}

{{- define "tuning-operator.group" -}}
tuning-operator.io
{{- end }}
