{{- /* The objects beside the Deployment: culvert.objects is all of them. */ -}}

{{- define "culvert.objects" -}}
{{- if .Values.culvert.enabled -}}
{{- range list "configMap" "serviceAccount" "networkPolicy" "pdb" "podMonitor" "prometheusRule" }}
{{- with include (printf "culvert.%s" .) $ }}
---
{{ . }}
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "culvert.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "culvert.name" . }}
  labels:
    {{- include "culvert.labels" . | nindent 4 }}
data:
  culvert.ini: |
    {{- tpl (include "culvert.ini" .) . | nindent 4 }}
{{- end -}}

{{- define "culvert.serviceAccount" -}}
{{- if .Values.culvert.serviceAccount.create -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "culvert.name" . }}
  labels:
    {{- include "culvert.labels" . | nindent 4 }}
automountServiceAccountToken: false
{{- end -}}
{{- end -}}

{{- define "culvert.pdb" -}}
{{- with .Values.culvert.podDisruptionBudget -}}
{{- if .enabled -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "culvert.name" $ }}
  labels:
    {{- include "culvert.labels" $ | nindent 4 }}
spec:
  maxUnavailable: {{ .maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "culvert.selector" $ | nindent 6 }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* A policy holds for the whole pod, so the router's own ways in and out stand here too. */ -}}
{{- define "culvert.networkPolicy" -}}
{{- $port := .Values.culvert.metricsPort -}}
{{- with .Values.culvert.networkPolicy -}}
{{- if .enabled -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "culvert.name" $ }}
  labels:
    {{- include "culvert.labels" $ | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "culvert.selector" $ | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- with .metricsFrom }}
    - from:
        {{- toYaml . | nindent 8 }}
      ports:
        - port: {{ $port }}
          protocol: TCP
    {{- end }}
    {{- with .extraIngress }}
    {{- tpl (toYaml .) $ | nindent 4 }}
    {{- end }}
  egress:
    {{- with .dns }}
    - to:
        {{- toYaml . | nindent 8 }}
      ports:
        - port: 53
          protocol: UDP
        - port: 53
          protocol: TCP
    {{- end }}
    {{- with .edge }}
    - to:
        {{- range . }}
        - ipBlock:
            cidr: {{ . }}
        {{- end }}
      ports:
        - port: 7844
          protocol: UDP
        - port: 7844
          protocol: TCP
    {{- end }}
    {{- with .accessKeys }}
    - to:
        {{- range . }}
        - ipBlock:
            cidr: {{ . }}
        {{- end }}
      ports:
        - port: 443
          protocol: TCP
    {{- end }}
    {{- range .services }}
    - to:
        - podSelector:
            matchLabels:
              app.kubernetes.io/instance: {{ $.Release.Name }}
              {{- toYaml .labels | nindent 14 }}
      ports:
        - port: {{ .port }}
          protocol: TCP
    {{- end }}
    {{- with .extraEgress }}
    {{- tpl (toYaml .) $ | nindent 4 }}
    {{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "culvert.podMonitor" -}}
{{- with .Values.culvert.podMonitor -}}
{{- if .enabled -}}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ include "culvert.name" $ }}
  labels:
    {{- include "culvert.labels" $ | nindent 4 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "culvert.selector" $ | nindent 6 }}
  podMetricsEndpoints:
    - port: metrics
      path: /metrics
      interval: {{ .interval }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "culvert.prometheusRule" -}}
{{- with .Values.culvert.prometheusRule -}}
{{- if .enabled -}}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {{ include "culvert.name" $ }}
  labels:
    {{- include "culvert.labels" $ | nindent 4 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "culvert.alertGroups" $ | nindent 2 }}
{{- end -}}
{{- end -}}
{{- end -}}
