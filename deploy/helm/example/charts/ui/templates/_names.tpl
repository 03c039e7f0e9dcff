{{- define "ui.selector" -}}
app.kubernetes.io/name: ui
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ui.labels" -}}
{{ include "ui.selector" . }}
app.kubernetes.io/component: ui
app.kubernetes.io/part-of: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
