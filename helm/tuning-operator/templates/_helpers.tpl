{{- /* Name of everything that belongs to this release; at most 40 characters, so that suffixes fit behind it. */}}
{{- define "tuning-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- /* What tells this release's pods from all others; it can never change. */}}
{{- define "tuning-operator.selector" -}}
app.kubernetes.io/name: tuning-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tuning-operator.labels" -}}
{{ include "tuning-operator.podLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* Without the version of the chart: a pod is replaced for what it runs, not for how it was packaged. */}}
{{- define "tuning-operator.podLabels" -}}
{{ include "tuning-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: tuning-operator
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tuning-operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "tuning-operator.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end }}

{{- define "tuning-operator.keySecret" -}}
{{- .Values.signingKey.existingSecret | default (printf "%s-signing-key" (include "tuning-operator.fullname" .)) -}}
{{- end }}

{{- /* With a digest the tag is only for the reader, and only if somebody wrote one. */}}
{{- define "tuning-operator.image" -}}
{{- with .Values.image -}}
{{- if .registry }}{{ trimSuffix "/" .registry }}/{{ end -}}
{{- .repository -}}
{{- if .digest -}}
{{- if .tag }}:{{ .tag }}{{ end }}@{{ .digest -}}
{{- else -}}
:{{ .tag | default $.Chart.AppVersion -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* One process of the operator's image needs this of its pod, in the Deployment and in the test. */}}
{{- define "tuning-operator.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ int64 . }}
runAsGroup: {{ int64 . }}
fsGroup: {{ int64 . }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tuning-operator.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "tuning-operator.environment" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: TUNING_KEY_FILE
  value: /var/run/tuning-operator/key.pem
{{- if .Values.caBundle.configMap }}
- name: SSL_CERT_FILE
  value: /etc/tuning-operator/ca/ca.crt
- name: REQUESTS_CA_BUNDLE
  value: /etc/tuning-operator/ca/ca.crt
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tuning-operator.mounts" -}}
- name: signing-key
  mountPath: /var/run/tuning-operator
  readOnly: true
- name: temporary
  mountPath: /tmp
{{- if .Values.caBundle.configMap }}
- name: ca-bundle
  mountPath: /etc/tuning-operator/ca
  readOnly: true
{{- end }}
{{- end }}

{{- define "tuning-operator.volumes" -}}
- name: signing-key
  secret:
    secretName: {{ include "tuning-operator.keySecret" . }}
    defaultMode: 0440
    items:
      - key: {{ .Values.signingKey.key }}
        path: key.pem
- name: temporary
  emptyDir:
    sizeLimit: 64Mi
{{- if .Values.caBundle.configMap }}
- name: ca-bundle
  configMap:
    name: {{ .Values.caBundle.configMap }}
    items:
      - key: {{ .Values.caBundle.key }}
        path: ca.crt
{{- end }}
{{- end }}

{{- /* As a JSON list: the namespaces whose trials get a network policy. */}}
{{- define "tuning-operator.trialNamespaces" -}}
{{- .Values.networkPolicy.trialNamespaces | default .Values.namespaces | toJson -}}
{{- end }}
